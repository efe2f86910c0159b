package stream_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// smallUnread is a MaxUnread for the messages of fill.
const smallUnread = 10 << 10

// fill sends n messages of 1,000 bytes at QoS 1 to topic.
func fill(c *streamtest.Conn, topic string, n int) {
	for i := range n {
		c.Send(publish(topic, strings.Repeat("x", 1000), atLeast, uint16(i%65_535+1), false))
	}
}

// paused returns a session whose reading has just paused, since nobody takes the messages of sub.
func paused(t *testing.T, b *streamtest.Broker, o *stream.Options) (*stream.Session, *streamtest.Conn, *stream.Subscription) {
	t.Helper()
	o.MaxUnread = smallUnread
	s, c := connected(t, b, o)
	sub := subscribed(t, s, c, "full", atLeast)
	fill(c, "full", 20)
	wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
	return s, c, sub
}

// U7. Each call that waits for the broker ends one second after reading has paused.
func TestCallsEndWhenNothingWasReadForASecond(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c, sub := paused(t, b, &stream.Options{Queue: 1})
		began := time.Now()
		call := func(f func() error) <-chan error {
			done := inBackground(f)
			synctest.Wait()
			return done
		}
		publishing := func() error { return s.Publish(context.Background(), message("out", "x", atLeast)) }
		sent, queued, noRoom := call(publishing), call(publishing), call(publishing)
		flush := call(func() error { return s.Flush(context.Background()) })
		subscribe := callSubscribe(context.Background(), t, s, filterOf("other", atLeast))
		p := streamtest.Next[frames.Publish](c)
		c.ExpectType(frames.TypeSubscribe)
		elapse(time.Second - time.Nanosecond)
		for _, ch := range []<-chan error{sent, queued, noRoom, flush} {
			wantIdle(t, ch)
		}
		subscribe.pending()

		elapse(time.Nanosecond)
		synctest.Wait()
		if waited := time.Since(began); waited != time.Second {
			t.Fatalf("%v have passed", waited)
		}
		wantError(t, takeFrom(t, sent), stream.ErrUnconfirmed, stream.ErrBehind)
		wantError(t, takeFrom(t, queued), stream.ErrNotSent, stream.ErrBehind)
		wantError(t, takeFrom(t, noRoom), stream.ErrNotSent, stream.ErrBehind)
		wantError(t, takeFrom(t, flush), stream.ErrBehind)
		wantError(t, subscribe.ended(), stream.ErrBehind)
		if st := s.Stats(); !st.Behind || st.PausedFor != time.Second {
			t.Errorf("behind %t, paused for %v", st.Behind, st.PausedFor)
		}

		// A call that begins now ends at once.
		wantError(t, takeFrom(t, call(publishing)), stream.ErrNotSent, stream.ErrBehind)
		if err := takeFrom(t, call(func() error { return s.Publish(context.Background(), message("out", "0", atMost)) })); err != nil {
			t.Errorf("QoS 0, which awaits nothing: %v", err)
		}
		late := callSubscribe(context.Background(), t, s, filterOf("late", atLeast))
		wantError(t, late.ended(), stream.ErrBehind)

		// Reading starts again, and the exchanges go on.
		c.Complete(p)
		sub.Deliveries() // takes all that waits
		wantStat(t, s, "Behind", func(st stream.Stats) bool { return st.Behind || st.Paused || st.InFlight > 0 }, false)
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestUnsubscribeEndsWhenNothingWasReadForASecond(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: smallUnread})
		subscribed(t, s, c, "full", atLeast)
		other := subscribed(t, s, c, "other", atLeast)
		fill(c, "full", 20)
		synctest.Wait()
		began := time.Now()
		if err := other.Unsubscribe(context.Background()); !errors.Is(err, stream.ErrBehind) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// U7. A session that is behind takes publications on its channels, up to Queue; the others end.
func TestNoSendBlocksWhileTheSessionIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		const window, queue = 2, 4
		receipts := make(chan stream.Receipt, 100)
		s, c, sub := paused(t, b, &stream.Options{Window: window, Queue: queue, Ack: receipts})
		elapse(time.Second)
		for range window + queue + 3 {
			s.Publishes() <- stream.Publishing{Message: message("out", "x", atLeast)}
		}
		for range 3 {
			wantError(t, takeFrom(t, receipts).Err, stream.ErrNotSent, stream.ErrBehind)
		}
		wantIdle(t, receipts)

		in := make(chan frames.Message)
		out := s.PublishFrom(t.Context(), in)
		const staged = 3 * (window + queue)
		for range staged {
			in <- message("out", "y", atLeast)
		}
		for range staged {
			wantError(t, takeFrom(t, out).Err, stream.ErrNotSent, stream.ErrBehind)
		}

		sub.Deliveries() // takes all that waits
		for range window + queue {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		for range window + queue {
			if r := takeFrom(t, receipts); r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

// U7. A stage that has as many messages without a Receipt as it may have goes on taking.
func TestAStageTakesBeyondItsLimitWhileTheSessionIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c, sub := paused(t, b, &stream.Options{Queue: 2})
		in := make(chan frames.Message)
		out := s.PublishFrom(t.Context(), in)
		began := time.Now()
		for range 10 { // window and queue hold three
			in <- message("out", "x", atLeast)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("the sends took %v", took)
		}
		synctest.Wait()
		sub.Deliveries() // takes all that waits
		for range 3 {
			p := streamtest.Next[frames.Publish](c)
			c.Complete(p)
			if r := takeFrom(t, out); r.Err != nil {
				t.Error(r.Err)
			}
		}
		for range 7 {
			wantError(t, takeFrom(t, out).Err, stream.ErrNotSent, stream.ErrBehind)
		}
	})
}

// U7. A consumer that publishes in its loop gets all of a backlog larger than MaxUnread.
func TestAConsumerThatPublishesTakesAnyBacklog(t *testing.T) {
	const n = 12_000
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
		sub := subscribed(t, s, c, "in", atLeast)
		payload := strings.Repeat("x", 8000)
		for i := range n {
			c.Send(publish("in", payload, atLeast, uint16(i+1), false))
		}
		go confirm(c.Raw()) // its PUBACKs lie behind the backlog
		got, behind := 0, 0
		for _, err := range sub.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Publish(context.Background(), message("out", "x", atLeast)); err != nil {
				if behind++; !errors.Is(err, stream.ErrBehind) {
					t.Fatal(err)
				}
			}
			if got++; got == n {
				break
			}
		}
		t.Logf("%d calls ended with ErrBehind", behind)
	})
}

// confirm answers each PUBLISH that a client sends at QoS 1.
func confirm(conn net.Conn) {
	for r := frames.NewReader(conn, 0); ; {
		f, err := frames.ReadFrame(r)
		if err != nil {
			return
		}
		if f.Type() != frames.TypePublish {
			continue
		}
		p, err := frames.ParsePublish(f, frames.V311, nil, nil)
		if err != nil {
			return
		}
		if _, err := conn.Write([]byte{0x40, 2, byte(p.ID >> 8), byte(p.ID)}); err != nil {
			return
		}
	}
}

// U6. A kept session begins with a backlog larger than MaxUnread, and the SUBACK lies behind it.
func TestSubscribeReturnsWhenItsOwnMessagesFillTheInbox(t *testing.T) {
	for name, answer := range map[string]frames.ReasonCode{"granted": frames.ReasonCode(atLeast), "refused": frames.UnspecifiedError} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				const n = 100
				s := open(t, b, &stream.Options{ClientID: "k", KeepSession: true, MaxUnread: smallUnread})
				c := b.Handshake(true)
				<-s.Online()
				fill(c, "a", n)
				synctest.Wait()
				call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
				request := streamtest.Next[frames.Subscribe](c)
				sub := call.granted()
				c.Send(frames.Suback{ID: request.ID, Codes: []frames.ReasonCode{answer}})
				for range n {
					takeFrom(t, sub.Messages())
				}
				if answer == frames.ReasonCode(atLeast) {
					wantIdle(t, sub.Messages())
					return
				}
				wantEnd(t, sub.Messages())
				var refused *stream.RefusedError
				if !errors.As(sub.Err(), &refused) {
					t.Errorf("the Subscription ended with %v", sub.Err())
				}
			})
		})
	}
}

// A Warn names the Subscription that holds most, once until half of MaxUnread is free.
func TestAPauseIsLoggedWithTheSubscriptionThatSleeps(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := new(logBook)
		const n = 400
		s, c := connected(t, b, &stream.Options{MaxUnread: n / 2 << 10, Logger: book.logger()})
		quick := subscribed(t, s, c, "quick", atLeast)
		slow := subscribed(t, s, c, "asleep", atLeast)
		c.Send(publish("quick", "x", atLeast, 1, false))
		takeFrom(t, quick.Messages())
		fill(c, "asleep", n)
		if book.count("reading pauses") != 1 || book.count("filters=[asleep]") != 1 {
			t.Fatal(book.text.String())
		}
		for range n / 2 { // reading starts and pauses again and again
			takeFrom(t, slow.Messages())
		}
		if n := book.count("reading pauses"); n != 1 {
			t.Errorf("%d records", n)
		}
		for range n / 2 {
			takeFrom(t, slow.Messages())
		}
		fill(c, "asleep", n)
		if n := book.count("reading pauses"); n != 2 {
			t.Errorf("%d records", n)
		}
	})
}
