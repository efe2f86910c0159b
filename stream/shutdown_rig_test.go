package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// noPing turns off keep alive, for scripts in which hours pass.
const noPing = -1 * time.Second

// bubbleOf runs a script in a bubble, with a broker made with the given options.
func bubbleOf(t *testing.T, script func(t *testing.T, b *streamtest.Broker), opts ...streamtest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { script(t, streamtest.New(t, opts...)) })
}

// The function every returns a backoff whose intervals are all d.
func every(d time.Duration) *backoff.Backoff { return &backoff.Backoff{Min: d, Max: d} }

// The function never returns a backoff with an interval so long that a session does not reconnect
// during a test.
func never() *backoff.Backoff { return every(1000 * time.Hour) }

// numbered returns a message whose payload is the number n.
func numbered(n int, q frames.QoS) frames.Message { return message("n", strconv.Itoa(n), q) }

// publishing returns a Publishing whose payload and tag are the number n.
func publishing(n int, q frames.QoS, ack chan<- stream.Receipt) stream.Publishing {
	return stream.Publishing{Message: numbered(n, q), Tag: n, Ack: ack}
}

// offer sends publishings to the session. Their numbers start with from and end before to.
func offer(s *stream.Session, from, to int, q frames.QoS, ack chan<- stream.Receipt) {
	for n := from; n < to; n++ {
		s.Publishes() <- publishing(n, q, ack)
	}
}

// accepts reports whether the session accepts p before the clock advances.
func accepts(s *stream.Session, p stream.Publishing) bool {
	synctest.Wait()
	select {
	case s.Publishes() <- p:
		return true
	default:
		return false
	}
}

// nextPublishes receives n PUBLISH packets.
func nextPublishes(t *testing.T, c *streamtest.Conn, n int) []frames.Publish {
	t.Helper()
	packets := make([]frames.Publish, n)
	for i := range packets {
		packets[i] = streamtest.Next[frames.Publish](c)
	}
	return packets
}

// wantReceipt receives the next Receipt, which must have this tag. Its error must wrap all targets,
// or be nil if there are no targets.
func wantReceipt(t *testing.T, acks <-chan stream.Receipt, tag any, targets ...error) stream.Receipt {
	t.Helper()
	r := takeFrom(t, acks)
	if r.Tag != tag {
		t.Fatalf("Receipt of %v, want %v: %+v", r.Tag, tag, r)
	}
	if len(targets) == 0 && r.Err != nil {
		t.Fatalf("Receipt of %v: %v", r.Tag, r.Err)
	}
	wantError(t, r.Err, targets...)
	return r
}

// wantNoErrorIn requires that err wraps no target.
func wantNoErrorIn(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			t.Fatalf("error is %v, with %v in it", err, target)
		}
	}
}

// closing is a call of Close or Shutdown in progress.
type closing struct {
	t     *testing.T
	start time.Time
	done  chan struct{}
	err   error
	took  time.Duration
}

func callClose(t *testing.T, s *stream.Session) *closing { return callEnd(t, s.Close) }

func callShutdown(ctx context.Context, t *testing.T, s *stream.Session) *closing {
	return callEnd(t, func() error { return s.Shutdown(ctx) })
}

func callEnd(t *testing.T, end func() error) *closing {
	c := &closing{t: t, start: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = end()
		c.took = time.Since(c.start)
	}()
	return c
}

// pending requires that the call is still in progress.
func (c *closing) pending() {
	c.t.Helper()
	synctest.Wait()
	select {
	case <-c.done:
		c.t.Fatalf("the call returned after %v: %v", c.took, c.err)
	default:
	}
}

// The method after requires that the call takes exactly d, and returns the error of the call.
func (c *closing) after(d time.Duration) error {
	c.t.Helper()
	return c.within(d, d)
}

func (c *closing) within(shortest, longest time.Duration) error {
	c.t.Helper()
	<-c.done
	if c.took < shortest || c.took > longest {
		c.t.Fatalf("the call took %v, want %v to %v (error: %v)", c.took, shortest, longest, c.err)
	}
	return c.err
}

// wantEnded requires that Close has ended the session completely.
func wantEnded(t *testing.T, s *stream.Session) {
	t.Helper()
	select {
	case <-s.Done():
	default:
		t.Fatal("Done is not closed")
	}
	if err := s.Err(); err != nil {
		t.Fatalf("Err is %v", err)
	}
	select {
	case <-s.Online():
		t.Fatal("the session is online")
	default:
	}
	synctest.Wait()
	stacks := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "synctest bubble") && strings.Contains(stack, "millrace/mqtt/stream.") {
			t.Fatalf("a goroutine is left:\n%s", stack)
		}
	}
}

// wantOnlyDisconnectLast requires that the last packet is DISCONNECT, and that no earlier packet
// is. It returns the packets before DISCONNECT.
func wantOnlyDisconnectLast(t *testing.T, c *streamtest.Conn) (before []frames.Packet) {
	t.Helper()
	rest := c.Rest()
	if len(rest) == 0 {
		t.Fatal("the connection ended without DISCONNECT")
	}
	for i, p := range rest {
		if _, is := p.(frames.Disconnect); is != (i == len(rest)-1) {
			t.Fatalf("packet %d of %d is %v", i+1, len(rest), p.Type())
		}
	}
	return rest[:len(rest)-1]
}

// wantRaw requires that the client sends exactly the bytes want before the connection ends.
func wantRaw(t *testing.T, c *streamtest.Conn, want string) {
	t.Helper()
	got, err := io.ReadAll(c.Raw())
	if err != nil || fmt.Sprintf("%x", got) != want {
		t.Fatalf("bytes %x, %v; want %s", got, err, want)
	}
}

// dialTimes returns the time of each dial, counted from the first dial.
func dialTimes(b *streamtest.Broker) []time.Duration {
	var times []time.Duration
	dials := b.Dials()
	for _, d := range dials {
		times = append(times, d.At.Sub(dials[0].At))
	}
	return times
}

// gaps returns the differences between consecutive times.
func gaps(times []time.Duration) []time.Duration {
	var between []time.Duration
	for i := 1; i < len(times); i++ {
		between = append(between, times[i]-times[i-1])
	}
	return between
}
