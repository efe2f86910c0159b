package stream_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestRequeuedMessageComesBackAtTheEndAtItsTime(t *testing.T) {
	for _, q := range []frames.QoS{atMost, atLeast, exactly} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			ch := subscribed(t, s, c, "a", exactly).Deliveries()
			c.Send(inboundRun("a", q, 1, 3)...)
			first := takeFrom(t, ch)
			first.Requeue(time.Second)
			first.Ack() // no effect
			for range 2 {
				takeFrom(t, ch).Ack()
			}
			synctest.Wait()
			c.ExpectNone()
			wantStat(t, s, "Inbox", func(st stream.Stats) int { return st.Inbox }, 1)
			elapse(time.Second - 1)
			wantIdle(t, ch)
			elapse(1)
			again := takeFrom(t, ch)
			if string(again.Payload) != "1" || again.ID != first.ID {
				t.Fatalf("got %q with ID %d", again.Payload, again.ID)
			}
			again.Ack()
			again.Requeue(0) // no effect at QoS 1 and 2
			if q == atMost {
				takeFrom(t, ch)
			} else {
				c.Expect(ackRun(map[frames.QoS]frames.Type{atLeast: puback, exactly: pubrec}[q], 1, 3)...)
			}
			wantIdle(t, ch)
			wantStat(t, s, "InboxBytes", func(st stream.Stats) int { return st.InboxBytes }, 0)
		})
	}
}

func TestRequeueReplacesTheAckOfARangeLoop(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: -1})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		got := ""
		for d := range sub.All(t.Context()) {
			if got += string(d.Payload); got == "1" {
				d.Requeue(time.Minute)
			}
			if len(got) == 3 {
				c.ExpectNone()
			}
			if len(got) == 4 {
				d.Ack()
				break
			}
		}
		if got != "1231" {
			t.Fatalf("got %s", got)
		}
		c.Expect(ackRun(puback, 1, 3)...)
	})
}

// Unsubscribe drops a requeued message, Drain waits for it, and Shutdown leaves it to the broker.
func TestRequeuedMessageAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := keepingSession()
		o.KeepAlive = -1
		s, c := connected(t, b, o)
		one, two, three := subscribed(t, s, c, "a", atLeast), subscribed(t, s, c, "b", atLeast), subscribed(t, s, c, "c", atLeast)
		c.Send(publish("a", "1", atLeast, 1, false), publish("b", "2", atLeast, 2, false), publish("c", "3", atLeast, 3, false))
		for _, sub := range []*stream.Subscription{one, two, three} {
			takeFrom(t, sub.Deliveries()).Requeue(time.Minute)
		}
		left := inBackground(func() error { return one.Unsubscribe(t.Context()) })
		c.Expect(ack(puback, 1))
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		if err := takeFrom(t, left); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, one.Deliveries())

		drained := inBackground(func() error { return two.Drain(t.Context()) })
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		wantIdle(t, two.Deliveries())
		d := <-two.Deliveries()
		d.Ack()
		wantEnd(t, two.Deliveries())
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
		c.Expect(ack(puback, 2))
		(<-three.Deliveries()).Requeue(time.Hour)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		c.ExpectDisconnect()
	})
}

// Requeue has no effect after Ack, even if the ack could not be sent and whatever the broker has.
func TestRequeueAfterAckHasNoEffectAfterAReconnect(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		for _, present := range []bool{true, false} {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, keepingSession())
				ch := subscribed(t, s, c, "a", exactly).Deliveries()
				c.Send(inboundRun("a", q, 1, 3)...)
				var ds []stream.Delivery
				for range 3 {
					ds = append(ds, takeFrom(t, ch))
				}
				ds[1].Ack()
				c = droppedAndBack(t, s, b, c, present)
				c.Grant(streamtest.Next[frames.Subscribe](c))
				ds[1].Requeue(0)
				ds[2].Ack()
				synctest.Wait()
				ds[2].Requeue(0)
				wantIdle(t, ch)
				ds[0].Requeue(0) // was not acknowledged
				if d := takeFrom(t, ch); string(d.Payload) != "1" {
					t.Fatalf("QoS %d: got %q", q, d.Payload)
				}
				wantIdle(t, ch)
			})
		}
	}
}

func TestACopyTakesThePlaceOfARequeuedMessage(t *testing.T) {
	for _, due := range []time.Duration{time.Minute, 0} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			o := keepingSession()
			o.KeepAlive = -1
			s, c := connected(t, b, o)
			sub := subscribed(t, s, c, "a", atLeast)
			c.Send(inboundRun("a", atLeast, 1, 2)...)
			for d := range sub.All(t.Context()) {
				d.Requeue(due)
				break
			}
			wantStat(t, s, "Inbox", inbox, 2)
			c = droppedAndBack(t, s, b, c, true)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			c.Send(againRun("a", atLeast, 1, 2)...)
			wantStat(t, s, "Inbox", inbox, 2)
			ch := sub.Deliveries()
			for _, want := range []string{"2", "1"} {
				d := <-ch
				if string(d.Payload) != want || !d.Duplicate {
					t.Fatalf("got %q, duplicate %v", d.Payload, d.Duplicate)
				}
				d.Ack()
			}
			c.Expect(ackRun(puback, 1, 2)...)
			wantIdle(t, ch)
		})
	}
}

func TestRequeuedQoS0IsDroppedOldestFirst(t *testing.T) {
	const room = 4
	cost := costOfMessage(t, "a", 1)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		sub := subscribed(t, s, c, "a", atMost)
		c.Send(inboundRun("a", atMost, 1, 3)...)
		n := 0
		for d := range sub.All(t.Context()) {
			d.Requeue(time.Duration(4-n) * time.Second) // the first one comes last
			if n++; n == 3 {
				break
			}
		}
		wantStat(t, s, "Inbox", inbox, 3)
		c.Send(inboundRun("a", atMost, 4, 3)...)
		synctest.Wait()
		if st := s.Stats(); st.Dropped != 2 || st.Inbox != room || st.InboxBytes != room*cost {
			t.Fatalf("%+v", st)
		}
		elapse(10 * time.Second)
		wantPayloads(t, sub.Messages(), "4", "5", "6", "3")
		wantIdle(t, sub.Messages())
		wantStat(t, s, "InboxBytes", func(st stream.Stats) int { return st.InboxBytes }, 0)
	})
}

func TestRequeuedMessageIsHandedOverBeforeNoReconnectEndsTheSession(t *testing.T) {
	for _, q := range []frames.QoS{atMost, atLeast, exactly} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{NoReconnect: true})
			sub := subscribed(t, s, c, "a", exactly)
			c.Send(inboundRun("a", q, 1, 2)...)
			got := ""
			for d := range sub.All(t.Context()) {
				if d.Topic == "" {
					break // the error of the end
				}
				got += string(d.Payload)
				if len(got) == 2 {
					c.Drop()
					synctest.Wait()
					d.Requeue(time.Minute)
				}
			}
			if got != "122" {
				t.Errorf("QoS %d: got %s", q, got)
			}
			<-s.Done()
		})
	}
}
