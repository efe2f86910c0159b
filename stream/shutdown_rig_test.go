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

// noPing is for scripts in which hours pass and that are not about keep alive.
const noPing = -1 * time.Second

// bubbleOf is bubble with a broker that has options.
func bubbleOf(t *testing.T, script func(t *testing.T, b *streamtest.Broker), opts ...streamtest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { script(t, streamtest.New(t, opts...)) })
}

// every is a policy of one interval.
func every(d time.Duration) *backoff.Backoff { return &backoff.Backoff{Min: d, Max: d} }

// never keeps a session that has lost its connection offline.
func never() *backoff.Backoff { return every(1000 * time.Hour) }

// numbered is the n-th message of a run.
func numbered(n int, q frames.QoS) frames.Message { return message("n", strconv.Itoa(n), q) }

// publishing is the n-th publishing of a run. Its tag is n.
func publishing(n int, q frames.QoS, ack chan<- stream.Receipt) stream.Publishing {
	return stream.Publishing{Message: numbered(n, q), Tag: n, Ack: ack}
}

// offer has the session accept publishings from to to-1.
func offer(s *stream.Session, from, to int, q frames.QoS, ack chan<- stream.Receipt) {
	for n := from; n < to; n++ {
		s.Publishes() <- publishing(n, q, ack)
	}
}

// accepts reports whether the session takes p without the clock moving on.
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

// wantReceipt asks for the next Receipt, which has this tag and all of these
// errors; no error at all when none is given.
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

// wantNoErrorIn asks that err is none of these.
func wantNoErrorIn(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			t.Fatalf("error is %v, with %v in it", err, target)
		}
	}
}

// closing is a Close or a Shutdown under way.
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

// pending fails if it has returned.
func (c *closing) pending() {
	c.t.Helper()
	synctest.Wait()
	select {
	case <-c.done:
		c.t.Fatalf("it has returned after %v: %v", c.took, c.err)
	default:
	}
}

// after asks that it returns after exactly d, and returns its error.
func (c *closing) after(d time.Duration) error {
	c.t.Helper()
	return c.within(d, d)
}

func (c *closing) within(shortest, longest time.Duration) error {
	c.t.Helper()
	<-c.done
	if c.took < shortest || c.took > longest {
		c.t.Fatalf("it took %v, want %v to %v (error: %v)", c.took, shortest, longest, c.err)
	}
	return c.err
}

// wantEnded asks for all the signs of a session that Close has ended.
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
		t.Fatal("it is online")
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

// wantOnlyDisconnectLast asks that DISCONNECT is the last packet, that it is
// the only one of its kind, and that no byte comes after it.
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

// wantRaw asks that exactly these bytes are left on the connection, and its end.
func wantRaw(t *testing.T, c *streamtest.Conn, want string) {
	t.Helper()
	got, err := io.ReadAll(c.Raw())
	if err != nil || fmt.Sprintf("%x", got) != want {
		t.Fatalf("bytes %x, %v; want %s", got, err, want)
	}
}

// dialTimes are the times of all dials, since the first.
func dialTimes(b *streamtest.Broker) []time.Duration {
	var times []time.Duration
	dials := b.Dials()
	for _, d := range dials {
		times = append(times, d.At.Sub(dials[0].At))
	}
	return times
}

// gaps are the differences of times.
func gaps(times []time.Duration) []time.Duration {
	var between []time.Duration
	for i := 1; i < len(times); i++ {
		between = append(between, times[i]-times[i-1])
	}
	return between
}
