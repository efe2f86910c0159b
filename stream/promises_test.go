package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// The changes of a failed commit are stored with a later commit. The only exceptions are accepted
// publications, because they have already failed.
func TestChangesOfAFailedCommitReachTheStoreLater(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := &fullDisk{Store: flow.NewMemoryStore()}
		acks := make(chan stream.Receipt, 10)
		o := kept(10, acks)
		o.Store = store
		s := open(t, b, o)
		b.Hold(100)
		sendAll(s, message("out", "0", 1))
		synctest.Wait()
		store.full.Store(true)
		sendAll(s, message("out", "1", 1))
		synctest.Wait()
		sendAll(s, message("out", "2", 2))
		store.full.Store(false)
		sendAll(s, message("out", "3", 1))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wantReceipt(t, acks, nil, stream.ErrNotSent, errFull)
		var held string
		snap, err := store.Attach("kept")
		for _, p := range snap.Publications {
			held += string(p.Message.Payload)
		}
		if err != nil || held != "023" {
			t.Errorf("the store holds %q, %v; want all but 1, which was in the failed commit", held, err)
		}
	})
}

// If a QoS 0 publication was not written, its Receipt after Close has an error.
func TestCloseDoesNotReportQoS0ThatWasNotWritten(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 10)
		o := kept(10, acks)
		o.Store = flow.NewMemoryStore()
		s, c := connected(t, b, o)
		c.Stall()
		sendAll(s, message("a", "its write blocks", 1))
		synctest.Wait()
		sendAll(s, message("zero", "behind it", 0), message("b", "behind it", 1))
		synctest.Wait()
		s.Close()
		for range 3 {
			if r := <-acks; r.Topic == "zero" {
				wantError(t, r.Err, stream.ErrNotSent)
			} else {
				wantError(t, r.Err, stream.ErrKept)
			}
		}
	})
}

// Messages that arrived before Drain are delivered, even if the connection is lost.
func TestADrainedInboxOutlivesItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, kept(10, nil))
		sub := subscribed(t, s, c, "a", 1)
		c.Send(publish("a", "x", 1, 1, false))
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- sub.Drain(t.Context()) }()
		u := streamtest.Next[frames.Unsubscribe](c)
		c.Unsuback(u)
		synctest.Wait()
		c.Drop()
		c = b.Handshake(true)
		c.Send(publish("a", "x", 1, 1, true))
		synctest.Wait()
		if m, ok := <-sub.Messages(); !ok || string(m.Payload) != "x" {
			t.Errorf("delivered %q, %v", m.Payload, ok)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// A message that matches a rejected filter is not treated as a late message of an unsubscribed
// filter: it is not discarded.
func TestARefusedFilterDropsNoMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, kept(10, nil))
		c := b.Handshake(true)
		<-s.Online()
		refused := make(chan error, 1)
		go func() {
			_, err := s.Subscribe(t.Context(), frames.Filter{Topic: "#", QoS: 1})
			refused <- err
		}()
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{frames.UnspecifiedError}})
		if err := <-refused; err == nil {
			t.Fatal("not refused")
		}
		c.Send(publish("a/b", "x", 1, 1, false))
		synctest.Wait()
		if st := s.Stats(); st.Discarded != 0 || st.Unclaimed != 1 {
			t.Errorf("discarded %d, unclaimed %d", st.Discarded, st.Unclaimed)
		}
	})
}

// Messages for a canceled Subscribe do not hold back the acks of other deliveries.
func TestMessagesOfAFailedSubscribeWithholdNoAcks(t *testing.T) {
	for _, discard := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{DiscardUnclaimed: discard})
			other := subscribed(t, s, c, "other", 1)
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := s.Subscribe(ctx, frames.Filter{Topic: "a", QoS: 1})
				failed <- err
			}()
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(publish("a", "early", 1, 1, false))
			synctest.Wait()
			cancel()
			wantError(t, <-failed, context.Canceled)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1}}, publish("a", "late", 1, 2, false), publish("other", "x", 1, 3, false))
			<-other.Messages()
			synctest.Wait()
			if st := s.Stats(); st.Unacked != 0 || st.Discarded != 2 {
				t.Errorf("discard %v: unacked %d, discarded %d", discard, st.Unacked, st.Discarded)
			}
		})
	}
}

// A broker may have a message in flight for every packet identifier. The session must still read on
// to receive the ack of a publish.
func TestAConsumerOfAllIdentifiersCanPublish(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: -1})
		sub := subscribed(t, s, c, "a", 1)
		var all []byte
		for id := 1; id <= flow.MaxUnacked; id++ {
			all, _ = publish("a", "", 1, uint16(id), false).Append(all, version)
		}
		c.SendBytes(all)
		synctest.Wait()
		done := make(chan error, 1)
		go func() {
			for range sub.All(t.Context()) {
				done <- s.Publish(t.Context(), message("out", "x", 1))
				return
			}
		}()
		c.Send(ack(puback, streamtest.Next[frames.Publish](c).ID))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A keep alive shorter than a second becomes one second. Such a value is a number without a unit,
// which means nanoseconds.
func TestKeepAliveIsRoundedUpToSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{KeepAlive: 30})
		c := b.Accept()
		if got := c.ExpectConnect().KeepAlive; got != 1 {
			t.Errorf("announced %d s", got)
		}
		c.Connack(false, frames.Success)
		<-s.Online()
		c.ExpectQuiet(900*time.Millisecond - 1)
		c.Expect(frames.Pingreq{})
	})
}

// A log handler may call methods of the Subscription that the record is about.
func TestALogHandlerMayLookAtTheSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var present atomic.Pointer[stream.Subscription] // atomic, because the handler has a goroutine of its own
		var looks atomic.Int64
		s, c := connected(t, b, &stream.Options{Logger: slog.New(observer{slog.DiscardHandler, func() {
			if sub := present.Load(); sub != nil {
				sub.Granted()
				looks.Add(1)
			}
		}})})
		sub := subscribed(t, s, c, "a", 1)
		present.Store(sub)
		c.Send(publish("a", "x", 1, 1, false), publish("nobody", "x", 1, 2, false))
		<-sub.Messages()
		synctest.Wait()
		if looks.Load() == 0 {
			t.Error("nothing was logged")
		}
	})
}

type observer struct {
	slog.Handler
	look func()
}

func (observer) Enabled(context.Context, slog.Level) bool { return true }

func (o observer) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "received" || r.Level == slog.LevelInfo {
		o.look()
	}
	return nil
}

// A nil decoder or encoder causes an error, not a panic.
func TestNilDecoderAndEncoderAreErrors(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		events := stream.Decode[int](subscribed(t, s, c, "a", 1), nil)
		c.Send(publish("a", "x", 1, 1, false))
		var bad *stream.OptionError
		if e := <-events; !errors.As(e.Err, &bad) {
			t.Errorf("the event is %+v", e)
		}
		in := make(chan int, 1)
		in <- 5
		close(in)
		for r := range stream.PublishFrom(t.Context(), s, nil, in) {
			wantError(t, r.Err, stream.ErrNotSent)
			if r.Tag != 5 {
				t.Errorf("tag %v", r.Tag)
			}
		}
	})
}
