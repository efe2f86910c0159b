package stream_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// faultPause is the interval before a reconnection in the tests of faults.
const faultPause = 3 * time.Second

// faultOptions returns Options for version v, with a fixed interval between connections.
func faultOptions(v frames.Version) *stream.Options {
	return &stream.Options{
		Version:   v,
		ClientID:  "c",
		Reconnect: &backoff.Backoff{Min: faultPause, Max: faultPause},
	}
}

// inEachVersion runs a script once for each of the versions, each time in a new bubble.
func inEachVersion(t *testing.T, script func(t *testing.T, b *streamtest.Broker, v frames.Version)) {
	t.Helper()
	inVersions(t, versions(), script)
}

// inVersions runs a script once for each of the given versions that belongs to this run of all
// tests.
func inVersions(t *testing.T, wanted []frames.Version, script func(t *testing.T, b *streamtest.Broker, v frames.Version)) {
	t.Helper()
	for _, v := range versions() {
		if !slices.Contains(wanted, v) {
			continue
		}
		t.Run(v.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) { script(t, b, v) })
		})
	}
}

// goDial runs Dial in another goroutine. The session is closed at the end of the test.
func goDial(ctx context.Context, t *testing.T, b *streamtest.Broker, url string, o *stream.Options) <-chan error {
	t.Helper()
	o = with(b, o)
	done := make(chan error, 1)
	var s *stream.Session
	var running sync.WaitGroup
	running.Go(func() {
		var err error
		s, err = stream.Dial(ctx, url, o)
		done <- err
	})
	t.Cleanup(func() {
		running.Wait()
		if s != nil {
			s.Close()
		}
	})
	return done
}

// goPublish runs Publish in another goroutine.
func goPublish(s *stream.Session, m frames.Message) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Publish(context.Background(), m) }()
	return done
}

// goSubscribe runs Subscribe in another goroutine.
func goSubscribe(s *stream.Session, filters ...frames.Filter) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Subscribe(context.Background(), filters...)
		done <- err
	}()
	return done
}

// aMinute returns a context of one minute for a call that should return at once, so that the test
// fails instead of hanging.
func aMinute(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// outcome waits for a call in another goroutine and returns its error. If the call does not return
// in time, the test fails.
func outcome(t *testing.T, call <-chan error) error {
	t.Helper()
	select {
	case err := <-call:
		return err
	case <-time.After(time.Hour):
		t.Fatal("the call does not return")
		return nil
	}
}

// The function up waits until the session is online.
func up(t *testing.T, s *stream.Session) {
	t.Helper()
	select {
	case <-s.Online():
	case <-time.After(time.Hour):
		t.Fatal("the session is not online")
	}
}

// offline waits for a State with an error and returns it.
func offline(t *testing.T, s *stream.Session) stream.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for st := range s.States(ctx) {
		if !st.Online && st.Err != nil {
			return st
		}
	}
	t.Fatal("the session shows no error")
	return stream.State{}
}

// wantViolation requires a *frames.ProtocolError whose text contains the string what.
func wantViolation(t *testing.T, err error, what string) {
	t.Helper()
	var violation *frames.ProtocolError
	if !errors.As(err, &violation) {
		t.Fatalf("error is %v, want a violation", err)
	}
	wantText(t, err, what)
}

// wantText requires an error whose text contains the string what.
func wantText(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), what) {
		t.Fatalf("error is %v, want %q in it", err, what)
	}
}

// wantElapsed requires that exactly d of the bubble's time has passed since start.
func wantElapsed(t *testing.T, start time.Time, d time.Duration) {
	t.Helper()
	if got := time.Since(start); got != d {
		t.Fatalf("after %v, want exactly %v", got, d)
	}
}

// wantPending requires that a call still waits when all goroutines are idle.
func wantPending(t *testing.T, call <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-call:
		t.Fatalf("the call returned early: %v", err)
	default:
	}
}

// wantReceipts waits until all goroutines are idle, then requires that acks holds exactly the
// wanted number of Receipts.
func wantReceipts(t *testing.T, acks <-chan stream.Receipt, want int) []stream.Receipt {
	t.Helper()
	synctest.Wait()
	var got []stream.Receipt
	for len(acks) > 0 {
		got = append(got, <-acks)
	}
	if len(got) != want {
		t.Fatalf("%d Receipts, want %d: %+v", len(got), want, got)
	}
	return got
}

// wantDelivery receives the next delivery, which must have the given topic and payload.
func wantDelivery(t *testing.T, in <-chan stream.Delivery, topic, payload string) stream.Delivery {
	t.Helper()
	select {
	case d, ok := <-in:
		if !ok || d.Topic != topic || string(d.Payload) != payload {
			t.Fatalf("delivered %.100q %.100q (open: %v), want %.100q %.100q", d.Topic, d.Payload, ok, topic, payload)
		}
		return d
	case <-time.After(time.Minute):
		t.Fatalf("nothing was delivered, want %.100q %.100q", topic, payload)
		return stream.Delivery{}
	}
}

// wantNoDelivery requires that no delivery is ready when all goroutines are idle.
func wantNoDelivery(t *testing.T, in <-chan stream.Delivery) {
	t.Helper()
	synctest.Wait()
	select {
	case d, ok := <-in:
		t.Fatalf("delivered %q %q (open: %v), want nothing", d.Topic, d.Payload, ok)
	default:
	}
}

// The function returns checks a session after a fault. The session must reconnect exactly
// faultPause after the time since, deliver a message and send its ack.
func returns(t *testing.T, b *streamtest.Broker, s *stream.Session, in <-chan stream.Delivery, since time.Time) *streamtest.Conn {
	t.Helper()
	c := b.Accept()
	wantElapsed(t, since, faultPause)
	c.Handshake(false)
	if in == nil {
		in = s.Deliveries()
	} else {
		c.Grant(streamtest.Next[frames.Subscribe](c))
	}
	c.Send(publish("sound", "as a bell", frames.AtLeastOnce, 77, false))
	wantDelivery(t, in, "sound", "as a bell").Ack()
	c.Expect(ack(puback, 77))
	return c
}

// encoded returns the encoding of packets.
func encoded(t *testing.T, v frames.Version, packets ...frames.Packet) []byte {
	t.Helper()
	var b []byte
	for _, p := range packets {
		var err error
		if b, err = p.Append(b, v); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// wantHidden requires that no secret occurs in the text.
func wantHidden(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown in:\n%s", secret, text)
		}
	}
}

// record is a buffer for log records. Several goroutines may write to it.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}
