package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// expiring returns a message that expires after d.
func expiring(payload string, q frames.QoS, d time.Duration) frames.Message {
	m := message("a", payload, q)
	m.Properties = &frames.Properties{Expiry: d}
	return m
}

// wantExpired waits until the publication with a payload has expired.
func wantExpired(t *testing.T, acks <-chan stream.Receipt, payload string) {
	t.Helper()
	r := <-acks
	if string(r.Payload) != payload {
		t.Fatalf("the Receipt is of %q, want %q: %v", r.Payload, payload, r.Err)
	}
	wantError(t, r.Err, stream.ErrNotSent, stream.ErrExpired)
}

// nextExpiry expects a PUBLISH with a payload, and returns its message expiry interval.
func nextExpiry(t *testing.T, c *streamtest.Conn, payload string) time.Duration {
	t.Helper()
	p := streamtest.Next[frames.Publish](c)
	if string(p.Payload) != payload {
		t.Fatalf("sent %q, want %q", p.Payload, payload)
	}
	if p.Properties == nil {
		return 0
	}
	return p.Properties.Expiry
}

// V59. A publication that waits for a connection ends when it expires, at that moment, at each QoS
// and in each version. The others stay.
func TestAQueuedPublicationEndsWhenItExpires(t *testing.T) {
	for _, v := range []frames.Version{frames.V311, frames.V5} {
		for q := range frames.QoS(3) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 4)
				store := flow.NewMemoryStore()
				s := open(t, b, &stream.Options{Version: v, KeepSession: true, ClientID: "k", Store: store, Ack: acks})
				elapse(time.Second)
				start := time.Now()
				sendAll(s, expiring("late", q, time.Minute), expiring("soon", q, 2*time.Second), message("a", "never", q))
				flushed := inBackground(func() error { return s.Flush(t.Context()) })
				wantExpired(t, acks, "soon")
				wantElapsed(t, start, 2*time.Second)
				if st := s.Stats(); st.Queued != 2 {
					t.Errorf("%d queued", st.Queued)
				}
				wantPending(t, flushed)
				wantError(t, s.Sync(t.Context()), nil)
				go s.Close()
				<-s.Done()
				if snap, _ := store.Attach("k"); q > 0 && len(snap.Publications) != 2 {
					t.Errorf("the Store has %+v", snap.Publications)
				}
			})
		}
	}
}

// V59. A publication in flight does not expire, since the broker may have it: it is sent again with
// the rest of its interval, at least a second. The window is not touched.
func TestAPublicationInFlightIsSentAgainWithTheRestOfItsInterval(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 4)
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Window: 2, Ack: acks}, nil)
		sendAll(s, expiring("2", 1, 2*time.Second), expiring("10", 2, 10*time.Second), expiring("3", 1, 3*time.Second))
		if one, two := nextExpiry(t, c, "2"), nextExpiry(t, c, "10"); one != 2*time.Second || two != 10*time.Second {
			t.Errorf("sent with %v and %v", one, two)
		}
		elapse(3400 * time.Millisecond)
		wantExpired(t, acks, "3") // it waited for the window
		wantStat(t, s, "InFlight", func(st stream.Stats) int { return st.InFlight }, 2)
		c.Drop()
		c = b.Accept()
		c.ExpectConnect()
		elapse(time.Second)
		c.Send(frames.Connack{SessionPresent: true})
		if one, two := nextExpiry(t, c, "2"), nextExpiry(t, c, "10"); one != time.Second || two != 6*time.Second {
			t.Errorf("sent again with %v and %v", one, two)
		}
		c.Send(ack(puback, 1))
		wantReceipt(t, acks, nil)
	})
}

// V59, V62. A stored publication expires by the time of day in the next process, also where a
// queued one waits again. A clock that was set back lengthens no interval.
func TestAStoredPublicationExpiresByTheTimeOfDay(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 8)
		store := flow.NewMemoryStore()
		store.Attach("k")
		now := time.Now()
		accepted := func(seq uint64, m frames.Message, left time.Duration) flow.Change {
			return flow.Change{Kind: flow.Accepted, Seq: seq, Message: m, Deadline: now.Add(left)}
		}
		store.Commit([]flow.Change{
			accepted(1, expiring("flies", 1, 10*time.Second), -5*time.Second), {Kind: flow.Assigned, Seq: 1, ID: 1},
			accepted(2, expiring("is over", 1, 10*time.Second), -5*time.Second),
			accepted(3, expiring("ends", 1, 10*time.Second), 3*time.Second),
			accepted(4, expiring("set back", 1, 10*time.Second), 1000*time.Hour),
			accepted(5, message("a", "by the options", 1), 1000*time.Hour),
		})
		store.Detach()
		s := open(t, b, five(stream.Options{
			KeepSession: true, ClientID: "k", Store: store, Ack: acks, Window: 9, V5: stream.OptionsV5{Expiry: time.Minute},
		}))
		for _, want := range []struct {
			payload string
			after   time.Duration
		}{{"is over", 0}, {"ends", 3 * time.Second}} {
			wantExpired(t, acks, want.payload)
			if took := time.Since(now).Round(time.Millisecond); took != want.after {
				t.Errorf("%q ended after %v", want.payload, took)
			}
		}
		c, _ := greeted(t, b, s, true, nil)
		if got := nextExpiry(t, c, "flies"); got != time.Second {
			t.Errorf("sent again with %v", got)
		}
		if got := nextExpiry(t, c, "set back"); got != 7*time.Second {
			t.Errorf("sent with %v", got)
		}
		if got := nextExpiry(t, c, "by the options"); got != 57*time.Second {
			t.Errorf("sent with %v", got)
		}
	})
}

// V60, V61. The interval on the wire is the rest of it, rounded up. A received message that is
// passed on keeps its deadline, and has expired if nothing is left.
func TestTheIntervalOnTheWireIsTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, five(stream.Options{}))
		c := b.Accept()
		c.ExpectConnect()
		sendAll(s, expiring("10", 0, 10*time.Second), expiring("9.5", 0, 9500*time.Millisecond))
		elapse(1400 * time.Millisecond)
		c.Send(frames.Connack{})
		if one, two := nextExpiry(t, c, "10"), nextExpiry(t, c, "9.5"); one != 9*time.Second || two != 9*time.Second {
			t.Errorf("sent with %v and %v", one, two)
		}
		c.Send(frames.Publish{Message: expiring("in", 0, 30*time.Second)})
		d := wantDelivery(t, s.Deliveries(), "a", "in")
		elapse(10 * time.Second)
		if left, ok := d.Properties.Left(time.Now()); left != 20*time.Second || !ok {
			t.Errorf("%v left", left)
		}
		for _, again := range []time.Duration{20 * time.Second, 15 * time.Second} {
			wantError(t, s.Publish(t.Context(), d.Message), nil)
			if got := nextExpiry(t, c, "in"); got != again {
				t.Errorf("passed on with %v, want %v", got, again)
			}
			elapse(5 * time.Second)
		}
		elapse(10 * time.Second)
		wantError(t, s.Publish(t.Context(), d.Message), stream.ErrNotSent, stream.ErrExpired)
	})
}

// V63. A message that comes with an interval of 0 is delivered, and nothing is left of it.
func TestAMessageThatComesExpiredIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		elapse(time.Second)
		c.SendBytes([]byte{0x30, 9, 0, 1, 'a', 5, 0x02, 0, 0, 0, 0})
		d := wantDelivery(t, s.Deliveries(), "a", "")
		if left, ok := d.Properties.Left(time.Now()); left != 0 || !ok {
			t.Errorf("%v left, %t", left, ok)
		}
		wantError(t, s.Publish(t.Context(), d.Message), stream.ErrNotSent, stream.ErrExpired)
	})
}

// The expiry of the options is for messages that have none, on each way to publish.
func TestTheExpiryOfTheOptionsIsForMessagesWithoutOne(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{Window: 100, V5: stream.OptionsV5{Expiry: time.Minute}}, nil)
		sendAll(s, message("a", "x", 0), expiring("x", 0, 5*time.Second))
		wantError(t, s.Publish(t.Context(), message("a", "x", 0)), nil)
		in := make(chan frames.Message, 40)
		for range cap(in) {
			in <- message("a", "x", 0)
		}
		close(in)
		for r := range s.PublishFrom(t.Context(), in) {
			wantError(t, r.Err, nil)
		}
		for n := range 43 {
			want := time.Minute
			if n == 1 {
				want = 5 * time.Second
			}
			if got := nextExpiry(t, c, "x"); got != want {
				t.Errorf("number %d: sent with %v", n, got)
			}
		}
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) { // on 3.1.1 nothing is sent of it
		acks := make(chan stream.Receipt, 1)
		o := &stream.Options{Version: frames.V311, Ack: acks, Reconnect: never(), V5: stream.OptionsV5{Expiry: time.Minute}}
		s, c := connected(t, b, o)
		sendAll(s, message("a", "x", 0))
		wantReceipt(t, acks, nil)
		c.Expect(publish("a", "x", 0, 0, false))
		c.Drop()
		lost(t, s)
		start := time.Now()
		sendAll(s, message("a", "x", 0))
		wantExpired(t, acks, "x")
		wantElapsed(t, start, time.Minute)
	})
}

// Messages of PublishFrom that expire while they wait end at their places, and end no run of
// others.
func TestMessagesOfARunExpireAtTheirPlaces(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, five(stream.Options{Window: 100}))
		c := b.Accept()
		c.ExpectConnect()
		elapse(time.Second)
		in := make(chan frames.Message, 90)
		for n := range cap(in) {
			m := numbered(n, 0)
			if n%30 == 29 {
				m.Properties = &frames.Properties{Expiry: time.Second}
			}
			in <- m
		}
		close(in)
		out := s.PublishFrom(t.Context(), in)
		elapse(2 * time.Second)
		c.Send(frames.Connack{})
		for n := range cap(in) {
			if n%30 == 29 {
				wantStagedError(t, out, n, stream.ErrNotSent, stream.ErrExpired)
				continue
			}
			c.Expect(frames.Publish{Message: numbered(n, 0)})
			wantStaged(t, out, n, n+1)
		}
		wantEnd(t, out)
	})
}

// The end of the context of a call, and Flush, go together with expiry: each publication ends once.
func TestAWithdrawnPublicationDoesNotExpire(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, five(stream.Options{Ack: make(chan stream.Receipt)}))
		c := b.Accept()
		c.ExpectConnect()
		elapse(time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		given := inBackground(func() error { return s.Publish(ctx, expiring("given up", 1, 2*time.Second)) })
		waits := inBackground(func() error { return s.Publish(t.Context(), expiring("waits", 1, 4*time.Second)) })
		synctest.Wait()
		flushed := inBackground(func() error { return s.Flush(t.Context()) })
		err := <-given
		wantError(t, err, stream.ErrNotSent, context.DeadlineExceeded)
		if errors.Is(err, stream.ErrExpired) {
			t.Errorf("%v", err)
		}
		wantError(t, <-waits, stream.ErrNotSent, stream.ErrExpired)
		wantError(t, <-flushed, nil)
		wantElapsed(t, start, 4*time.Second)
		wantStat(t, s, "Queued", func(st stream.Stats) int { return st.Queued }, 0)
		c.Send(frames.Connack{})
		<-s.Online()
		synctest.Wait()
		c.ExpectNone()
	})
}

// A QoS 0 message whose batch never reached the writer waits again after the connection is lost,
// and then expires too.
func TestAnUnwrittenMessageExpiresAfterTheConnectionIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 4)
		s, c := welcomed(t, b, stream.Options{Ack: acks, Reconnect: never()}, nil)
		c.Stall()
		start := time.Now()
		sendAll(s, message("a", strings.Repeat("x", 100), 0))
		synctest.Wait() // this one is with the writer
		sendAll(s, expiring("unwritten", 0, 8*time.Second), expiring("offered", 1, 5*time.Second), expiring("behind", 1, time.Second))
		wantExpired(t, acks, "behind") // it waited for the window
		wantElapsed(t, start, time.Second)
		c.Abort()
		lost(t, s)
		wantReceipt(t, acks, nil, stream.ErrUnconfirmed)
		wantExpired(t, acks, "offered")
		wantElapsed(t, start, 5*time.Second)
		wantExpired(t, acks, "unwritten")
		wantElapsed(t, start, 8*time.Second)
	})
}
