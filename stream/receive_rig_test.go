package stream_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

const (
	atMost  = frames.AtMostOnce
	atLeast = frames.AtLeastOnce
	exactly = frames.ExactlyOnce
)

func filterOf(topic string, q frames.QoS) frames.Filter { return frames.Filter{Topic: topic, QoS: q} }

// subscribeCall is a call of Subscribe in another goroutine, while the script answers it.
type subscribeCall struct {
	t    *testing.T
	done chan struct{}
	sub  *stream.Subscription
	err  error
}

func callSubscribe(ctx context.Context, t *testing.T, s *stream.Session, filters ...frames.Filter) *subscribeCall {
	call := &subscribeCall{t: t, done: make(chan struct{})}
	go func() {
		defer close(call.done)
		call.sub, call.err = s.Subscribe(ctx, filters...)
	}()
	return call
}

// granted returns the Subscription. The call must have succeeded.
func (call *subscribeCall) granted() *stream.Subscription {
	call.t.Helper()
	if err := call.ended(); err != nil {
		call.t.Fatalf("Subscribe: %v", err)
	}
	return call.sub
}

// ended returns the error of the call. The call must have returned.
func (call *subscribeCall) ended() error {
	call.t.Helper()
	wantLevel(call.t, call.done)
	if (call.sub == nil) == (call.err == nil) {
		call.t.Fatalf("Subscribe returned %v and %v", call.sub, call.err)
	}
	return call.err
}

// pending fails if the call has returned.
func (call *subscribeCall) pending() {
	call.t.Helper()
	synctest.Wait()
	select {
	case <-call.done:
		call.t.Fatalf("Subscribe has returned: %v", call.err)
	default:
	}
}

// inBackground runs f and returns a channel that receives its error.
func inBackground(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// wantLevel waits until the bubble is idle. It fails unless done is closed then.
func wantLevel(t *testing.T, done <-chan struct{}) {
	t.Helper()
	synctest.Wait()
	select {
	case <-done:
	default:
		t.Fatal("it has not happened")
	}
}

// inboundRun returns n PUBLISH packets with consecutive identifiers. The payload of each is its
// identifier in digits, also at QoS 0.
func inboundRun(topic string, q frames.QoS, first, n int) []frames.Packet {
	packets := make([]frames.Packet, n)
	for i := range packets {
		packets[i] = publish(topic, strconv.Itoa(first+i), q, uint16(first+i), false)
	}
	return packets
}

// againRun returns the packets of inboundRun with DUP.
func againRun(topic string, q frames.QoS, first, n int) []frames.Packet {
	packets := inboundRun(topic, q, first, n)
	for i, p := range packets {
		again := p.(frames.Publish)
		again.DUP = true
		packets[i] = again
	}
	return packets
}

// ackRun returns n consecutive acknowledgments.
func ackRun(kind frames.Type, first, n int) []frames.Packet {
	packets := make([]frames.Packet, n)
	for i := range packets {
		packets[i] = ack(kind, uint16(first+i))
	}
	return packets
}

// countUp returns first, first+1, ..., the payloads of inboundRun.
func countUp(first, n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = strconv.Itoa(first + i)
	}
	return texts
}

// takeFrom receives one value, which must be available before the clock advances.
func takeFrom[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	synctest.Wait()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return v
	default:
		t.Fatal("nothing comes")
	}
	panic("not reached")
}

// payloadsOf receives n messages or deliveries and returns their payloads.
func payloadsOf[T any](t *testing.T, ch <-chan T, n int) []string {
	t.Helper()
	got := make([]string, n)
	for i := range got {
		got[i] = payloadOf(takeFrom(t, ch))
	}
	return got
}

func payloadOf(v any) string {
	switch v := v.(type) {
	case frames.Message:
		return string(v.Payload)
	case stream.Delivery:
		return string(v.Payload)
	case string:
		return v
	}
	panic("no payload")
}

// wantPayloads receives messages, which must have the given payloads.
func wantPayloads[T any](t *testing.T, ch <-chan T, want ...string) {
	t.Helper()
	if got := payloadsOf(t, ch, len(want)); !slices.Equal(got, want) {
		t.Fatalf("received %q, want %q", got, want)
	}
}

// wantIdle waits until the bubble is idle. It fails if ch then has a value or is closed.
func wantIdle[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v, ok := <-ch:
		if ok {
			t.Fatalf("received %v, want nothing", v)
		}
		t.Fatal("the channel is closed")
	default:
	}
}

// wantEnd fails unless ch is closed and empty.
func wantEnd[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v, ok := <-ch:
		if ok {
			t.Fatalf("received %v, want the end of the channel", v)
		}
	default:
		t.Fatal("the channel is not closed")
	}
}

// wantStat requires that one value of the Stats equals want.
func wantStat[T comparable](t *testing.T, s *stream.Session, what string, part func(stream.Stats) T, want T) {
	t.Helper()
	synctest.Wait()
	if got := part(s.Stats()); got != want {
		t.Fatalf("Stats.%s is %v, want %v", what, got, want)
	}
}

// droppedAndBack drops the connection, and answers the CONNECT of the next.
func droppedAndBack(t *testing.T, s *stream.Session, b *streamtest.Broker, c *streamtest.Conn, present bool) *streamtest.Conn {
	t.Helper()
	c.Drop()
	c = b.Handshake(present)
	wantLevel(t, s.Online())
	return c
}

// keepingSession returns the options of a kept session.
func keepingSession() *stream.Options { return &stream.Options{ClientID: "k", KeepSession: true} }

// logBook keeps the text of a logger. Read it only while the bubble is idle.
type logBook struct{ text record }

func (r *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&r.text, nil)) }

func (r *logBook) count(part string) int {
	synctest.Wait()
	return strings.Count(r.text.String(), part)
}
