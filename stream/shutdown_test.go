package stream_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestShutdownOfAnIdleSessionIsImmediate(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		if err := callShutdown(t.Context(), t, s).after(0); err != nil {
			t.Fatal(err)
		}
		wantRaw(t, c, "e000")
		wantEnded(t, s)
	})
}

// Shutdown closes the receive channels at once. It waits until consumers have acknowledged the
// deliveries that they received, and sends the acks before DISCONNECT.
func TestShutdownWaitsForDeliveriesThatWereHandedOut(t *testing.T) {
	for _, q := range []frames.QoS{1, 2} {
		t.Run(q.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
				sub := subscribed(t, s, c, "f", q)
				in := sub.Deliveries()
				c.Send(inboundRun("f", q, 1, 3)...)
				one, two := takeFrom(t, in), takeFrom(t, in)
				down := callShutdown(t.Context(), t, s)
				down.pending()
				wantEnd(t, in) // the delivery in the channel's buffer is taken back
				if err := sub.Err(); err != nil {
					t.Fatal(err)
				}
				c.ExpectQuiet(time.Hour)
				two.Ack()
				c.ExpectQuiet(time.Hour)
				down.pending()
				one.Ack()
				kind := puback
				if q == 2 {
					kind = pubrec
				}
				c.Expect(ack(kind, 1), ack(kind, 2))
				c.ExpectDisconnect()
				if err := down.after(2 * time.Hour); err != nil {
					t.Fatal(err)
				}
				wantEnded(t, s)
			})
		})
	}
}

// Shutdown first closes all receive channels, whatever their kind.
func TestShutdownClosesReceiveChannelsFirst(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "f", 1)
		c.Send(inboundRun("held", 1, 1, 1)...)
		held := takeFrom(t, s.Deliveries())
		typed, err := typedSubscribe(t, s, c)
		if err != nil {
			t.Fatal(err)
		}
		iterated := inBackground(func() error {
			for _, err := range sub.All(t.Context()) {
				return errors.Join(errors.New("received a delivery"), err)
			}
			return nil
		})
		down := callShutdown(t.Context(), t, s)
		synctest.Wait()
		wantEnd(t, s.Messages())
		wantEnd(t, s.Deliveries())
		wantEnd(t, sub.Messages())
		wantEnd(t, sub.Deliveries())
		wantEnd(t, typed)
		if err := takeFrom(t, iterated); err != nil {
			t.Fatal(err)
		}
		down.pending()
		select {
		case <-s.Online():
		default:
			t.Fatal("the session is no longer online")
		}
		held.Ack()
		c.Expect(ack(puback, 1))
		c.ExpectDisconnect()
		if err := down.after(0); err != nil {
			t.Fatal(err)
		}
	})
}

func typedSubscribe(t *testing.T, s *stream.Session, c *streamtest.Conn) (<-chan stream.Event[int], error) {
	t.Helper()
	var ch <-chan stream.Event[int]
	asked := inBackground(func() (err error) {
		ch, err = decoded(t.Context(), s, func(m frames.Message) (int, error) { return strconv.Atoi(string(m.Payload)) }, filterOf("typed", 1))
		return err
	})
	c.Grant(streamtest.Next[frames.Subscribe](c))
	err := <-asked
	return ch, err
}

// A consumer publishes each message that it receives, and then acknowledges it. During Shutdown the
// last message still completes both steps.
func TestShutdownDrainsAPipeline(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 4})
		sub := subscribed(t, s, c, "in", 1)
		var pipeline sync.WaitGroup
		for range 3 {
			pipeline.Go(func() {
				for d := range sub.Deliveries() {
					elapse(time.Second)
					m := d.Message
					m.Topic = "out"
					if err := s.Publish(t.Context(), m); err != nil {
						t.Error(err)
						continue
					}
					d.Ack()
				}
			})
		}
		c.Send(inboundRun("in", 1, 1, 9)...)
		synctest.Wait()
		down := callShutdown(t.Context(), t, s)
		var published, acked []string
		for len(acked) < 3 { // the workers hold one each
			switch p := streamtest.Next[frames.Packet](c).(type) {
			case frames.Publish:
				published = append(published, string(p.Payload))
				c.Send(ack(puback, p.ID))
			case frames.Ack:
				acked = append(acked, strconv.Itoa(int(p.ID)))
				if !slices.Contains(published, acked[len(acked)-1]) {
					t.Fatalf("%v acknowledged, %v published", acked, published)
				}
			}
		}
		pipeline.Wait()
		c.ExpectDisconnect()
		if err := down.after(time.Second); err != nil {
			t.Fatal(err)
		}
		if len(published) != 3 || !slices.Equal(acked, countUp(1, 3)) {
			t.Fatalf("published %v, acknowledged %v", published, acked)
		}
	})
}

func TestShutdownCompletesEveryExchange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 2, Queue: 100, KeepAlive: noPing})
		acks := make(chan stream.Receipt, 10)
		offer(s, 0, 2, 2, acks)
		offer(s, 2, 5, 1, acks)
		offer(s, 5, 6, 0, acks)
		packets := nextPublishes(t, c, 2)
		down := callShutdown(t.Context(), t, s)
		down.pending()
		// The session accepts no more publications.
		if accepts(s, publishing(9, 0, acks)) {
			t.Fatal("a publishing was accepted")
		}
		wantError(t, s.Publish(t.Context(), message("t", "", 0)), stream.ErrNotSent, stream.ErrClosed)
		c.ExpectQuiet(time.Hour)
		for i, p := range packets {
			c.Complete(p)
			packets[i] = streamtest.Next[frames.Publish](c)
		}
		c.ExpectQuiet(time.Hour)
		c.Complete(packets[1])
		packets[1] = nextPublishes(t, c, 1)[0]
		c.Expect(publish("n", "5", 0, 0, false))
		c.Complete(packets[1])
		down.pending()
		c.Complete(packets[0])
		c.ExpectDisconnect()
		if err := down.after(2 * time.Hour); err != nil {
			t.Fatal(err)
		}
		seen := map[any]bool{}
		for _, r := range wantReceipts(t, acks, 6) {
			if seen[r.Tag] || r.Err != nil {
				t.Errorf("Receipt %+v", r)
			}
			seen[r.Tag] = true
		}
		wantEnded(t, s)
	})
}

// A stage stops receiving from its channel. Shutdown waits for the messages that the stage has
// already received.
func TestShutdownEndsStages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 2})
		in := make(chan frames.Message)
		out := s.PublishFrom(t.Context(), in)
		for n := range 5 {
			in <- numbered(n, 1)
		}
		synctest.Wait()
		down := callShutdown(t.Context(), t, s)
		down.pending()
		select {
		case in <- numbered(9, 1):
			t.Error("the stage takes messages")
		default:
		}
		for range 5 {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		for n := range 5 {
			if r := takeFrom(t, out); r.Err != nil || string(r.Payload) != strconv.Itoa(n) {
				t.Errorf("Receipt %+v", r)
			}
		}
		wantEnd(t, out)
		c.ExpectDisconnect()
		if err := down.after(0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShutdownErrorCountsUnfinishedExchanges(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 2, KeepAlive: noPing})
		acks := make(chan stream.Receipt, 10)
		offer(s, 0, 2, 2, acks)
		offer(s, 2, 5, 1, acks)
		packets := nextPublishes(t, c, 2)
		c.Complete(packets[0])
		wantReceipt(t, acks, 0)
		nextPublishes(t, c, 1)
		in := s.Deliveries()
		c.Send(inboundRun("f", 1, 1, 5)...)
		for range 2 {
			takeFrom(t, in).Ack()
		}
		c.Expect(ack(puback, 1), ack(puback, 2))
		for range 3 {
			takeFrom(t, in)
		}
		reason := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, reason)
		defer cancel()
		err := callShutdown(ctx, t, s).after(5 * time.Second)
		wantError(t, err, reason)
		wantText(t, err, "4 publications")
		wantText(t, err, "3 deliveries")
		c.ExpectDisconnect()
		wantEnded(t, s)
		wantReceipt(t, acks, 1, stream.ErrUnconfirmed, stream.ErrClosed)
		wantReceipt(t, acks, 2, stream.ErrUnconfirmed, stream.ErrClosed)
		wantReceipt(t, acks, 3, stream.ErrNotSent, stream.ErrClosed)
		wantReceipt(t, acks, 4, stream.ErrNotSent, stream.ErrClosed)
		wantReceipts(t, acks, 0)
	})
	t.Run("and how many Receipts nobody received", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, nil)
			offer(s, 0, 2, 1, make(chan stream.Receipt))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := callShutdown(ctx, t, s).after(5*time.Second + time.Second)
			wantError(t, err, context.DeadlineExceeded)
			wantText(t, err, "2 publications and 0 deliveries")
			wantText(t, err, "2 Receipts")
		})
	})
	t.Run("which a context that has ended does at once", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, nil)
			acks := make(chan stream.Receipt, 2)
			offer(s, 0, 2, 1, acks)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := callShutdown(ctx, t, s).after(0)
			wantError(t, err, context.Canceled)
			wantText(t, err, "2 publications and 0 deliveries")
			wantReceipts(t, acks, 2)
		})
	})
}

func TestShutdownOffline(t *testing.T) {
	t.Run("with nothing to do is immediate", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, nil)
			synctest.Wait()
			if err := callShutdown(t.Context(), t, s).after(0); err != nil {
				t.Fatal(err)
			}
			wantEnded(t, s)
		})
	})
	t.Run("waits for a connection that takes the queue", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(5, nil)
			s := open(t, b, &stream.Options{Reconnect: every(time.Minute)})
			acks := make(chan stream.Receipt, 2)
			offer(s, 0, 1, 2, acks)
			offer(s, 1, 2, 0, acks)
			down := callShutdown(t.Context(), t, s)
			down.pending()
			c := b.Handshake(false)
			p := streamtest.Next[frames.Publish](c)
			c.Expect(publish("n", "1", 0, 0, false))
			c.Complete(p)
			c.ExpectDisconnect()
			if err := down.after(5 * time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, r := range wantReceipts(t, acks, 2) {
				if r.Err != nil {
					t.Errorf("Receipt %+v", r)
				}
			}
		})
	})
	t.Run("ends by its context", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1000, nil)
			s := open(t, b, nil)
			acks := make(chan stream.Receipt, 2)
			offer(s, 0, 2, 1, acks)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := callShutdown(ctx, t, s).after(5 * time.Second)
			wantError(t, err, context.DeadlineExceeded)
			wantText(t, err, "2 publications and 0 deliveries")
			for _, r := range wantReceipts(t, acks, 2) {
				wantError(t, r.Err, stream.ErrNotSent, stream.ErrClosed)
			}
		})
	})
	t.Run("does not wait for deliveries whose connection is gone", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Reconnect: never()})
			c.Send(inboundRun("f", 2, 1, 2)...)
			takeFrom(t, s.Deliveries())
			c.Drop()
			lost(t, s)
			if err := callShutdown(t.Context(), t, s).after(0); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("ends when the connection is lost that it waited on", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			acks := make(chan stream.Receipt, 2)
			offer(s, 0, 1, 1, acks)
			c.Send(inboundRun("f", 1, 1, 1)...)
			takeFrom(t, s.Deliveries())
			down := callShutdown(t.Context(), t, s)
			down.pending()
			c.Drop()
			if err := down.after(0); err != nil {
				t.Fatal(err)
			}
			wantReceipt(t, acks, 0, stream.ErrUnconfirmed)
			b.ExpectNoDial(time.Hour)
		})
	})
	t.Run("goes on after the connection was lost, with a kept session", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Reconnect: every(time.Second)})
			acks := make(chan stream.Receipt, 2)
			offer(s, 0, 2, 1, acks)
			nextPublishes(t, c, 1)
			down := callShutdown(t.Context(), t, s)
			down.pending()
			c.Drop()
			c = b.Handshake(true)
			c.Expect(publish("n", "0", 1, 1, true))
			c.Send(ack(puback, 1))
			c.Complete(streamtest.Next[frames.Publish](c))
			c.ExpectDisconnect()
			if err := down.after(time.Second); err != nil {
				t.Fatal(err)
			}
			wantReceipt(t, acks, 0)
			wantReceipt(t, acks, 1)
		})
	})
}

// paho.mqtt.golang #327. Shutdown does not acknowledge a message that no consumer received. The
// broker keeps that message, and sends it again if the session is kept.
func TestShutdownDoesNotAckUndeliveredMessages(t *testing.T) {
	for _, q := range []frames.QoS{1, 2} {
		t.Run(q.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := &stream.Options{ClientID: "k", KeepSession: true}
				s, c := connected(t, b, o)
				sub := subscribed(t, s, c, "f", q)
				c.Send(inboundRun("f", q, 1, 3)...)
				c.Send(inboundRun("u", q, 4, 3)...)
				wantPayloads(t, sub.Messages(), "1")
				wantPayloads(t, s.Messages(), "4")
				synctest.Wait()
				down := callShutdown(t.Context(), t, s)
				synctest.Wait()
				c.Send(inboundRun("f", q, 7, 2)...) // arrives after Shutdown has begun
				var acked []uint16
				for _, p := range wantOnlyDisconnectLast(t, c) {
					acked = append(acked, p.(frames.Ack).ID)
				}
				if !slices.Equal(acked, []uint16{1}) { // 2 was not delivered, and its ack precedes that of 4
					t.Fatalf("acknowledged %v", acked)
				}
				if err := down.after(0); err != nil {
					t.Fatal(err)
				}

				again, c := connected(t, b, o)
				c.Send(inboundRun("f", q, 2, 5)...)
				wantPayloads(t, again.Deliveries(), "2", "3", "4", "5", "6")
			})
		})
	}
	t.Run("nor messages that arrive while it waits", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, DiscardUnclaimed: true})
			sub := subscribed(t, s, c, "f", 1)
			c.Send(inboundRun("f", 1, 1, 1)...)
			held := takeFrom(t, sub.Deliveries())
			down := callShutdown(t.Context(), t, s)
			synctest.Wait()
			c.Send(inboundRun("unclaimed", 1, 2, 5)...) // discarded, except during Shutdown
			c.Send(inboundRun("unclaimed", 2, 7, 5)...)
			c.Send(inboundRun("f", 1, 12, 5)...)
			c.ExpectQuiet(time.Second)
			held.Ack()
			c.Expect(ack(puback, 1))
			c.ExpectDisconnect()
			if err := down.after(time.Second); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// When Shutdown begins, the body of a loop over All may be running. Shutdown waits until it has
// finished. Other messages of the batch go back to the inbox.
func TestShutdownWaitsForTheBodyOfALoop(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Send(inboundRun("f", 1, 1, 10)...)
		synctest.Wait()
		var got []string
		looped := inBackground(func() error {
			for d, err := range s.All(t.Context()) {
				if err != nil {
					return err
				}
				got = append(got, string(d.Payload))
				elapse(10 * time.Second)
			}
			return nil
		})
		elapse(15 * time.Second)
		down := callShutdown(t.Context(), t, s)
		if err := down.after(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := takeFrom(t, looped); err != nil || !slices.Equal(got, countUp(1, 2)) {
			t.Fatalf("%v, %v", got, err)
		}
		c.Expect(ack(puback, 1), ack(puback, 2))
		c.ExpectDisconnect()
	})
}

// Close ends a Shutdown in progress.
func TestCloseEndsShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		acks := make(chan stream.Receipt, 1)
		offer(s, 0, 1, 1, acks)
		down := callShutdown(t.Context(), t, s)
		other := callShutdown(t.Context(), t, s)
		elapse(time.Second)
		if err := callClose(t, s).after(0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(down.after(time.Second), other.after(time.Second)); err != nil {
			t.Fatal(err)
		}
		wantReceipt(t, acks, 0, stream.ErrUnconfirmed)
		wantOnlyDisconnectLast(t, c)
	})
}

// The client answers PUBREL of inbound QoS 2 messages while Shutdown waits.
func TestShutdownAnswersPubrel(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		in := s.Deliveries()
		c.Send(inboundRun("f", 2, 1, 2)...)
		takeFrom(t, in).Ack()
		last := takeFrom(t, in)
		c.Expect(ack(pubrec, 1))
		down := callShutdown(t.Context(), t, s)
		down.pending()
		c.Send(ack(pubrel, 1))
		c.Expect(ack(pubcomp, 1))
		last.Ack()
		c.Expect(ack(pubrec, 2))
		c.ExpectDisconnect()
		if err := down.after(0); err != nil {
			t.Fatal(err)
		}
	})
}
