//go:build unix && !aix

package stream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// alone publishes messages with the payloads 0, 1, 2, ... until their caller has written n of them
// itself, and returns the number of messages.
func alone(t *testing.T, s *stream.Session, n int64) (messages int) {
	t.Helper()
	var written atomic.Int64
	s.WatchLone(func(r stream.LoneResult) {
		if r == stream.LoneWritten {
			written.Add(1)
		}
	})
	for ; written.Load() < n; messages++ {
		if messages > 1000*int(n) {
			t.Fatalf("of %d messages their caller wrote only %d", messages, written.Load())
		}
		if err := s.Publish(t.Context(), message("t", strconv.Itoa(messages), 0)); err != nil {
			t.Fatal(err)
		}
	}
	return messages
}

func TestALonePublishIsWrittenByItsCaller(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, c := connected(t, b, nil)
	before, due := s.Stats(), s.PingDue()
	n := alone(t, s, 100)
	if at := s.PingDue(); at <= due {
		t.Error("a message written by its caller does not postpone PINGREQ")
	}
	size := 0
	for i := range n {
		p := publish("t", strconv.Itoa(i), 0, 0, false)
		c.Expect(p)
		size += frames.PublishSize(&p.Message, version)
	}
	st := s.Stats()
	if st.Sent-before.Sent != uint64(n) || st.Writes-before.Writes != uint64(n) {
		t.Errorf("%d packets in %d writes, want %d", st.Sent-before.Sent, st.Writes-before.Writes, n)
	}
	if got := int(st.BytesOut - before.BytesOut); got != size {
		t.Errorf("%d bytes, want %d", got, size)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestALonePublishAllocatesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		c, err := greet(l)
		if err == nil {
			_, err = io.Copy(io.Discard, c)
			c.Close()
		}
		ended <- err
	}()
	s, err := stream.Dial(t.Context(), "mqtt://"+l.Addr().String(), &stream.Options{Version: frames.V311})
	if err != nil {
		t.Fatal(err)
	}
	m := message("t", "x", 0)
	if n := testing.AllocsPerRun(1000, func() { s.Publish(t.Context(), m) }); n >= 1 {
		t.Errorf("%.0f allocations", n)
	}
	s.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A send on Publishes returns when the session has accepted the message, perhaps before the session
// has woken. Publish must not overtake that message.
func TestALonePublishKeepsTheOrderOfOneGoroutine(t *testing.T) {
	const rounds = 200
	b := streamtest.New(t, streamtest.TCP())
	s, c := connected(t, b, nil)
	next := alone(t, s, 1)
	payload := func() frames.Message { next++; return message("t", strconv.Itoa(next-1), 0) }
	in := make(chan frames.Message)
	receipts := s.PublishFrom(t.Context(), in)
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range rounds {
		check(s.Publish(t.Context(), payload()))
		in <- payload()
		check((<-receipts).Err)
		check(s.Publish(t.Context(), payload()))
	}
	acks := make(chan stream.Receipt, rounds)
	for range rounds {
		s.Publishes() <- stream.Publishing{Message: payload(), Ack: acks}
		check(s.Publish(t.Context(), payload()))
	}
	for range rounds {
		check((<-acks).Err)
	}
	close(in)
	for range receipts {
	}
	for i := range next {
		c.Expect(publish("t", strconv.Itoa(i), 0, 0, false))
	}
}

// The socket accepts only a part of a publication. The publication ends with ctx, and its packet is
// completed when the broker reads on.
func TestALonePublishToABrokerThatStopsReading(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, c := connected(t, b, nil)
	c.Stall()
	payload := make([]byte, 15_000)
	ended := 0
	for err := error(nil); err == nil; ended++ {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err = s.Publish(ctx, frames.Message{Topic: "t", Payload: binary.BigEndian.AppendUint32(payload[:0], uint32(ended))[:len(payload)]})
		cancel()
		if err != nil && (!errors.Is(err, stream.ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded)) {
			t.Fatalf("the publication ended with %v", err)
		}
	}
	if st := s.Stats(); st.Queued != 0 || st.Sent != uint64(ended) {
		t.Errorf("%d queued, %d sent, want 0 and %d", st.Queued, st.Sent, ended)
	}
	c.Resume()
	for i := range ended {
		p := streamtest.Next[frames.Publish](c)
		if len(p.Payload) != len(payload) || binary.BigEndian.Uint32(p.Payload) != uint32(i) {
			t.Fatalf("packet %d is out of place", i)
		}
	}
	for i := range alone(t, s, 10) {
		c.Expect(publish("t", strconv.Itoa(i), 0, 0, false))
	}
}

func TestALonePublishOnAConnectionThatIsCut(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, c := connected(t, b, &stream.Options{Reconnect: &backoff.Backoff{Min: time.Millisecond, Max: time.Millisecond}})
	alone(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for ctx.Err() == nil {
			err := s.Publish(ctx, frames.Message{Topic: "t", Payload: make([]byte, 15_000)})
			if err != nil && ctx.Err() == nil && !errors.Is(err, stream.ErrUnconfirmed) {
				t.Errorf("a publication ended with %v", err)
			}
		}
	})
	for range 20 {
		for range 10 {
			streamtest.Next[frames.Publish](c)
		}
		c.Abort()
		c = b.Handshake(false)
	}
	cancel()
	publisher.Wait()
}

func TestLonePublishesEndWithTheSession(t *testing.T) {
	for range 20 {
		b := streamtest.New(t, streamtest.TCP())
		s, _ := connected(t, b, nil)
		alone(t, s, 1)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				var err error
				for err == nil {
					err = s.Publish(t.Context(), message("t", "x", 0))
				}
				if !errors.Is(err, stream.ErrClosed) {
					t.Errorf("a publication ended with %v", err)
				}
			})
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	}
}

// A levelHandler keeps the topics of the PUBLISH packets in its records.
type levelHandler struct {
	level  *slog.LevelVar
	topics chan string
}

func (h levelHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }
func (h levelHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h levelHandler) WithGroup(string) slog.Handler                { return h }
func (h levelHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "topic" {
			h.topics <- a.Value.String()
		}
		return true
	})
	return nil
}

func TestALonePublishIsLoggedAtDebug(t *testing.T) {
	h := levelHandler{new(slog.LevelVar), make(chan string, 10)}
	b := streamtest.New(t, streamtest.TCP())
	s, _ := connected(t, b, &stream.Options{Logger: slog.New(h)})
	alone(t, s, 1)
	h.level.Set(slog.LevelDebug)
	if err := s.Publish(t.Context(), message("logged", "x", 0)); err != nil {
		t.Fatal(err)
	}
	if topic := <-h.topics; topic != "logged" {
		t.Errorf("logged %q", topic)
	}
}

// A message that its caller writes counts in Stats and Timings, with the time of the write.
func TestALonePublishIsTimed(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, _ := connected(t, b, nil)
	var before, after stream.Timings
	s.Timings(&before)
	n := alone(t, s, 10)
	s.Timings(&after)
	if h := &after.Published[0]; h.Count != uint64(n) || h.Sum <= 0 {
		t.Errorf("%d publications of %v in sum, want %d", h.Count, h.Sum, n)
	}
}

// An Observer of publications sees each message, so the loop writes it.
func TestALonePublishIsObserved(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	var seen atomic.Int64
	s, _ := connected(t, b, &stream.Options{Observer: &stream.Observer{
		Published: func(row []stream.Published) { seen.Add(int64(len(row))) },
	}})
	for range 10 {
		if err := s.Publish(t.Context(), message("t", "x", 0)); err != nil {
			t.Fatal(err)
		}
	}
	if n := seen.Load(); n != 10 {
		t.Errorf("the Observer saw %d publications, want 10", n)
	}
}

func TestALonePublishAboveQueueBytesIsRefused(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, _ := connected(t, b, &stream.Options{Full: flow.Refuse, QueueBytes: 1000})
	alone(t, s, 1)
	for range 10 {
		err := s.Publish(t.Context(), frames.Message{Topic: "t", Payload: make([]byte, 1000)})
		if !errors.Is(err, stream.ErrFull) {
			t.Fatalf("the publication ended with %v", err)
		}
	}
}
