package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestHandOffOverMessagesIsWhatSettles(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		t.Run(fmt.Sprintf("QoS %d", q), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", q)
				kind := puback
				if q == exactly {
					kind = pubrec
				}

				c.Send(inboundRun("a", q, 7, 2)...)
				ch := sub.Messages()
				if cap(ch) != 0 {
					t.Fatalf("Messages has a buffer of %d: what lies in it would count as settled", cap(ch))
				}
				synctest.Wait()
				c.ExpectNone() // a goroutine offers it: that is not yet a hand-off

				wantPayloads(t, ch, "7")
				c.Expect(ack(kind, 7))
				synctest.Wait()
				c.ExpectNone()
				wantPayloads(t, ch, "8")
				c.Expect(ack(kind, 8))
			})
		})
	}
}

func TestQoS2MessageIsReleasedWithPubcomp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		c.Send(publish("a", "x", exactly, 9, false))
		wantPayloads(t, sub.Messages(), "x")
		c.Expect(ack(pubrec, 9))
		c.Send(publish("a", "x", exactly, 9, true)) // until PUBREL it is the same message
		c.Expect(ack(pubrec, 9))
		wantIdle(t, sub.Messages())
		c.Send(ack(pubrel, 9))
		c.Expect(ack(pubcomp, 9))
	})
}

func TestChannelsAreTheSameAtEveryCall(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		m, d, rest, others := sub.Messages(), sub.Deliveries(), s.Messages(), s.Deliveries()
		if sub.Messages() != m || sub.Deliveries() != d || s.Messages() != rest || s.Deliveries() != others {
			t.Fatal("a second call returned another channel")
		}
		if m == rest || d == others {
			t.Fatal("a Subscription shares the channel of its session")
		}
	})
}

func TestReceiveChannelsCloseOnceAfterTheirLastValue(t *testing.T) {
	for _, end := range []struct {
		name   string
		left   int // messages that still come
		how    func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription)
		client bool // the client ends too
	}{
		// What waits in the inbox has been paid for by the broker only at QoS 0; the rest it sends again.
		{"Close", 0, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) { s.Close() }, true},
		{"Shutdown", 0, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) {
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"Unsubscribe", 3, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) {
			done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			c.Send(ack(frames.TypeUnsuback, streamtest.Next[frames.Unsubscribe](c).ID))
			if err := takeFrom(t, done); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(end.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Messages()
				c.Send(inboundRun("a", atLeast, 1, 4)...)
				wantPayloads(t, ch, "1")
				c.Expect(ack(puback, 1))
				end.how(t, s, c, sub)
				wantPayloads(t, ch, countUp(2, end.left)...)
				wantEnd(t, ch)
				wantEnd(t, ch)
				wantEnd(t, sub.Messages())
				wantEnd(t, sub.Deliveries()) // opened after the end
				if err := sub.Err(); err != nil {
					t.Fatalf("Err is %v, want nil after %s", err, end.name)
				}
				if end.client {
					wantEnd(t, s.Messages())
					wantEnd(t, s.Deliveries())
				} else {
					wantIdle(t, s.Messages())
				}
			})
		})
	}
}

func TestDeliveriesHandsOverWhatItsBufferHoldsAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		c.Send(inboundRun("a", atLeast, 1, 5)...)
		synctest.Wait()
		s.Close()
		wantPayloads(t, ch, countUp(1, 5)...)
		wantEnd(t, ch)
		c.ExpectDisconnect() // and no ack
	})
}

func TestDeliveriesAreBufferedAndNotSettledByIt(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		if cap(ch) != 256 {
			t.Fatalf("the buffer is %d, want 256", cap(ch))
		}
		c.Send(inboundRun("a", atLeast, 1, 300)...)
		synctest.Wait()
		if len(ch) != 256 {
			t.Fatalf("%d deliveries wait in the buffer, want 256", len(ch))
		}
		wantPayloads(t, ch, countUp(1, 300)...)
		synctest.Wait()
		c.ExpectNone()
		wantStat(t, s, "Unacked", func(st stream.Stats) int { return st.Unacked }, 300)
	})
}

func TestAcksLeaveInOrderOfArrivalWhateverTheOrderOfSettling(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		ch := sub.Deliveries()
		c.Send(publish("a", "1", atLeast, 5, false), publish("a", "2", exactly, 3, false),
			publish("a", "3", atMost, 0, false), publish("a", "4", atLeast, 4, false), publish("a", "5", exactly, 9, false))
		first, second, zero, fourth, fifth := takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch)
		for _, d := range []stream.Delivery{fifth, zero, second, fourth} {
			d.Ack()
			synctest.Wait()
			c.ExpectNone()
		}
		first.Ack()
		c.Expect(ack(puback, 5), ack(pubrec, 3), ack(puback, 4), ack(pubrec, 9))
	})
}

func TestAcksFromManyGoroutinesLeaveInOrderOfArrival(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for d := range sub.Deliveries() {
					d.Ack()
				}
			})
		}
		for first := 1; first <= 2000; first += 100 {
			c.Send(inboundRun("a", atLeast, first, 100)...)
		}
		c.Expect(ackRun(puback, 1, 2000)...)
		s.Close()
		workers.Wait()
	})
}

func TestAckIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		var held []stream.Delivery
		for i := 1; i <= 100; i++ {
			c.Send(inboundRun("a", atLeast, i, 1)...)
			held = append(held, takeFrom(t, ch))
			for _, d := range held[:i-1] { // long gone
				d.Ack()
			}
			synctest.Wait()
			c.ExpectNone()
			held[i-1].Ack()
			held[i-1].Ack()
			c.Expect(ack(puback, uint16(i)))
		}
	})
}

func TestAckAfterItsConnectionIsGoneIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		c.Send(publish("a", "old", atLeast, 1, false))
		old := takeFrom(t, ch)

		c = droppedAndBack(t, s, b, c, true)
		c.Send(publish("a", "other", atLeast, 1, false)) // the same identifier
		other := takeFrom(t, ch)
		old.Ack()
		synctest.Wait()
		c.ExpectNone()
		other.Ack()
		c.Expect(ack(puback, 1))
	})
}

func TestQoS2SettledAfterItsConnectionIsGoneIsNotDeliveredAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", exactly)
		ch := sub.Deliveries()
		c.Send(publish("a", "x", exactly, 4, false))
		d := takeFrom(t, ch)

		c = droppedAndBack(t, s, b, c, true)
		c.Send(publish("a", "x", exactly, 4, true))
		synctest.Wait()
		c.ExpectNone() // it waits for the one that is held
		d.Ack()
		c.Expect(ack(pubrec, 4))
		wantIdle(t, ch)
	})
}

func TestAckAfterCloseIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(publish("a", "x", atLeast, 1, false))
		d := takeFrom(t, sub.Deliveries())
		s.Close()
		d.Ack()
		d.Ack()
		c.ExpectDisconnect()
		stream.Delivery{}.Ack() // nothing is owed for one that nobody received
	})
}

func TestAllSettlesWhenTheNextIsAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		n := 0
		for d, err := range sub.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > 1 {
				c.Expect(ack(puback, uint16(n-1)))
			}
			if string(d.Payload) != strconv.Itoa(n) {
				t.Fatalf("delivery %d is %q", n, d.Payload)
			}
			synctest.Wait()
			c.ExpectNone()
			if n == 3 {
				break
			}
		}
		synctest.Wait()
		c.ExpectNone() // leaving does not settle
	})
}

func TestAckBeforeBreakSettles(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		for d := range sub.All(t.Context()) {
			d.Ack()
			break
		}
		c.Expect(ack(puback, 1))
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestLeavingAllReturnsTheRestInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 100)...)
		synctest.Wait()
		var got []string
		for want := 1; want < 100; want += 10 { // each loop takes ten of what it took in one go
			for d := range sub.All(t.Context()) {
				got = append(got, string(d.Payload))
				d.Ack()
				if len(got) == want+9 {
					break
				}
			}
			wantStat(t, s, "Inbox", func(st stream.Stats) int { return st.Inbox }, 100-len(got))
		}
		if want := countUp(1, 100); !slices.Equal(got, want) {
			t.Fatalf("received %q, want %q", got, want)
		}
		c.Expect(ackRun(puback, 1, 100)...)
	})
}

func TestWhatALoopLeavesGoesToAConsumerThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 5)...)
		synctest.Wait()
		var ch <-chan frames.Message
		for d := range sub.All(t.Context()) {
			ch = sub.Messages() // finds the inbox empty
			wantIdle(t, ch)
			d.Ack()
			break
		}
		wantPayloads(t, ch, "2", "3", "4", "5")
		c.Expect(ackRun(puback, 1, 5)...)
	})
}

func TestPanicInALoopLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		synctest.Wait()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not come through")
				}
			}()
			for d := range sub.All(t.Context()) {
				d.Ack()
				panic("handler")
			}
		}()
		wantPayloads(t, sub.Messages(), "2", "3")
		c.Expect(ackRun(puback, 1, 3)...)
	})
}

func TestAllEndsWithTheCauseOfItsContext(t *testing.T) {
	cause := errors.New("enough")
	t.Run("while it waits", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			sub := subscribed(t, s, c, "a", atLeast)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			time.AfterFunc(time.Minute, func() { cancel(cause) })
			var errs []error
			for _, err := range sub.All(ctx) {
				errs = append(errs, err)
			}
			if len(errs) != 1 || errs[0] != cause {
				t.Fatalf("the loop brought %v, want one %v", errs, cause)
			}
			if err := sub.Err(); err != nil {
				t.Fatalf("Err is %v: the Subscription goes on", err)
			}
		})
	})
	t.Run("between messages", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			sub := subscribed(t, s, c, "a", atLeast)
			c.Send(inboundRun("a", atLeast, 1, 5)...)
			synctest.Wait()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var got []string
			for d, err := range sub.All(ctx) {
				if err != nil {
					got = append(got, err.Error())
					continue
				}
				got = append(got, string(d.Payload))
				if len(got) == 2 {
					cancel(cause)
				}
			}
			if want := []string{"1", "2", "enough"}; !slices.Equal(got, want) {
				t.Fatalf("the loop brought %q, want %q", got, want)
			}
			c.Expect(ackRun(puback, 1, 2)...) // the next was asked for
			synctest.Wait()
			c.ExpectNone()
			wantPayloads(t, sub.Messages(), "3", "4", "5")
		})
	})
	t.Run("before it begins", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			sub := subscribed(t, s, c, "a", atLeast)
			c.Send(inboundRun("a", atLeast, 1, 1)...)
			synctest.Wait()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			cancel(cause)
			n := 0
			for d, err := range sub.All(ctx) {
				if n++; err != cause || d.Topic != "" {
					t.Fatalf("the loop brought %v and %v, want %v", d, err, cause)
				}
			}
			if n != 1 {
				t.Fatalf("the loop ran %d times, want once with the error", n)
			}
		})
	})
}

func TestConsumersLearnWhyTheSessionEnded(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{NoReconnect: true})
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		time.AfterFunc(time.Minute, c.Drop)
		var errs []error
		for _, err := range sub.All(t.Context()) {
			errs = append(errs, err)
		}
		if len(errs) != 1 {
			t.Fatalf("the loop brought %v, want one error", errs)
		}
		wantError(t, errs[0], io.EOF)
		wantEnd(t, ch)
		wantError(t, sub.Err(), io.EOF)
		<-s.Done()
		wantError(t, s.Err(), io.EOF)
		for d, err := range s.All(t.Context()) { // and so does who comes late
			wantError(t, err, io.EOF)
			if d.Topic != "" {
				t.Fatalf("a delivery came with the error: %v", d)
			}
		}
	})
}

func TestAllEndsWithoutErrorAfterCloseAndUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		one, two := subscribed(t, s, c, "a", atLeast), subscribed(t, s, c, "b", atLeast)
		loops := make(chan string, 3)
		run := func(name string, sub *stream.Subscription) {
			for _, err := range sub.All(context.Background()) {
				name += " " + err.Error()
			}
			loops <- name
		}
		go run("unsubscribed", one)
		go run("closed", two)
		synctest.Wait()
		done := inBackground(func() error { return one.Unsubscribe(t.Context()) })
		c.Send(ack(frames.TypeUnsuback, streamtest.Next[frames.Unsubscribe](c).ID))
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		if got := takeFrom(t, loops); got != "unsubscribed" {
			t.Fatalf("the loop ended as %q", got)
		}
		s.Close()
		if got := takeFrom(t, loops); got != "closed" {
			t.Fatalf("the loop ended as %q", got)
		}
		run("again", two)
		if got := takeFrom(t, loops); got != "again" {
			t.Fatalf("a loop begun after Close ended as %q", got)
		}
	})
}

// Consumers of one inbox share its messages.
func TestConsumersOfOneInboxGetEachMessageOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		const n = 5000
		var (
			mu      sync.Mutex
			seen    = make(map[string]int)
			workers sync.WaitGroup
		)
		note := func(payload []byte) {
			mu.Lock()
			defer mu.Unlock()
			seen[string(payload)]++
		}
		workers.Go(func() {
			for m := range sub.Messages() {
				note(m.Payload)
			}
		})
		workers.Go(func() {
			for d := range sub.Deliveries() {
				note(d.Payload)
				d.Ack()
			}
		})
		for range 2 {
			workers.Go(func() {
				left := 0
				for left >= 0 { // leaves the loop now and then
					left--
					for d, err := range sub.All(t.Context()) {
						if err != nil {
							return
						}
						note(d.Payload)
						d.Ack()
						if len(d.Payload) == 4 && d.Payload[3] == '7' {
							left = 1
							break
						}
					}
				}
			})
		}
		for first := 1; first <= n; first += 125 {
			c.Send(inboundRun("a", atLeast, first, 125)...)
		}
		c.Expect(ackRun(puback, 1, n)...)
		s.Close()
		workers.Wait()
		for _, text := range countUp(1, n) {
			if seen[text] != 1 {
				t.Errorf("message %s came %d times", text, seen[text])
			}
		}
	})
}

// One wake-up is for one consumer; what it leaves is for the next.
func TestConsumersThatWaitAreAllWokenForABacklog(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		got, hold := make(chan string, 100), make(chan struct{})
		for range 3 {
			go func() {
				for d := range sub.All(context.Background()) {
					got <- string(d.Payload)
					select {
					case <-hold:
					case <-s.Done():
						return
					}
				}
			}()
		}
		synctest.Wait()
		c.Send(inboundRun("a", atLeast, 1, 100)...) // one read
		wantPayloads(t, got, "1", "65")             // 64 are taken at once
		wantIdle(t, got)
		close(hold)
		c.Expect(ackRun(puback, 1, 100)...)
	})
}

// costOfMessage reads from Stats what one message takes of ReceiveBytes.
func costOfMessage(t *testing.T, topic string, payload int) int {
	var cost int
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Send(publish(topic, strings.Repeat("x", payload), atMost, 0, false))
		synctest.Wait()
		cost = s.Stats().InboxBytes
	})
	if cost < payload {
		t.Fatalf("a message of %d bytes counts as %d", payload, cost)
	}
	return cost
}

func TestQoS0IsDroppedOldestFirstAndCounted(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 100)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room*cost + cost - 1})
		sub := subscribed(t, s, c, "a", atMost)
		for i := range 35 {
			c.Send(publish("a", fmt.Sprintf("%0100d", i), atMost, 0, false))
		}
		synctest.Wait()
		st := s.Stats()
		if st.Dropped != 35-room || st.Inbox != room || st.InboxBytes != room*cost || st.Received != 35 || st.Paused {
			t.Fatalf("of 35 messages into room for %d: %+v", room, st)
		}
		ch := sub.Messages()
		for i := range room {
			wantPayloads(t, ch, fmt.Sprintf("%0100d", 35-room+i))
		}
		wantIdle(t, ch)
		c.Send(publish("a", "there is room again", atMost, 0, false))
		wantPayloads(t, ch, "there is room again")
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 35-room)
	})
}

func TestWhatALoopLeavesIsTheOldestAgain(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 3)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		sub := subscribed(t, s, c, "a", atMost)
		c.Send(inboundRun("a", atMost, 101, room)...)
		synctest.Wait()
		for range sub.All(t.Context()) { // takes them all, and leaves all but one
			c.Send(inboundRun("a", atMost, 201, 3)...)
			synctest.Wait()
			break
		}
		// They are 12 now, two too many, which is no reason to pause.
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 2)
		c.Send(inboundRun("a", atMost, 301, 1)...)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 3)
		want := append(append(countUp(105, 6), countUp(201, 3)...), "301")
		wantPayloads(t, sub.Messages(), want...)
	})
}

func TestSlowConsumerOfQoS0CostsOnlyItsOwnOldest(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 10)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		slow := subscribed(t, s, c, "a", atMost)
		quick := subscribed(t, s, c, "b", atMost)
		ch := quick.Deliveries()
		for i := range 50 {
			c.Send(publish("a", fmt.Sprintf("%010d", i), atMost, 0, false), publish("b", fmt.Sprintf("%010d", i), atMost, 0, false))
			wantPayloads(t, ch, fmt.Sprintf("%010d", i))
		}
		// The quick one's messages needed room too, each for a moment.
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 50-(room-1))
		for i := range room - 1 {
			wantPayloads(t, slow.Messages(), fmt.Sprintf("%010d", 50-(room-1)+i))
		}
	})
}

func TestQoS0MakesRoomForQoS1(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 3)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atMost, 100, room)...)
		c.Send(inboundRun("a", atLeast, 201, 4)...)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 4)
		c.Send(inboundRun("a", atLeast, 205, 6)...)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, room)
		c.Send(inboundRun("a", atMost, 300, 1)...) // no older one can make room for it
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, room+1)
		wantPayloads(t, sub.Deliveries(), countUp(201, 10)...)
		wantIdle(t, sub.Deliveries())
	})
}

// T6 of the fault table, and the reports of slow handlers that kill their own
// connection.
func TestReadingPausesWhenQoS1FillsTheInbox(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 8 * cost, KeepAlive: time.Minute})
		sub := subscribed(t, s, c, "a", atLeast)
		other := subscribed(t, s, c, "b", atLeast)
		c.Send(publish("b", "early", atLeast, 500, false))
		const n = 100
		payload := func(i int) string { return fmt.Sprintf("%01000d", i) }
		unread := 0
		for i := range n {
			c.Send(publish("a", payload(i), atLeast, uint16(i+1), false))
			synctest.Wait()
			if was := unread; c.Unread() < was {
				t.Fatalf("message %d: %d bytes are unread, %d before", i, c.Unread(), was)
			}
			unread = c.Unread()
		}
		if unread < (n-20)*1000 {
			t.Fatalf("only %d bytes of %d messages are unread: reading did not pause", unread, n)
		}
		st := s.Stats()
		if !st.Paused || st.Dropped != 0 || st.InboxBytes <= 8*cost || st.InboxBytes > 16*cost {
			t.Fatalf("with room for 8 messages: %+v", st)
		}
		// PINGREQ go on. Their PINGRESP lie behind what is not read, and that is
		// no fault of the broker.
		for range 10 {
			began := time.Now()
			c.Expect(frames.Pingreq{})
			if took := time.Since(began); took != 54*time.Second {
				t.Fatalf("PINGREQ after %v of silence, want 54 s", took)
			}
			c.Send(frames.Pingresp{})
		}
		// What has arrived for others is theirs to take.
		d := takeFrom(t, other.Deliveries())
		d.Ack()
		c.Expect(ack(puback, 500))
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)

		ch := sub.Messages()
		for i := range n {
			wantPayloads(t, ch, payload(i))
			c.Expect(ack(puback, uint16(i+1)))
		}
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, false)
		if c.Unread() != 0 {
			t.Fatalf("%d bytes are unread", c.Unread())
		}
		for range 3 { // from here on the broker's silence counts again
			c.Expect(frames.Pingreq{})
			c.Send(frames.Pingresp{})
		}
		c.Expect(frames.Pingreq{})
		c.ExpectClosed()
	})
}

func TestPauseOfOurOwnIsNotHeldAgainstTheBroker(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: cost, KeepAlive: 20 * time.Second})
		sub := subscribed(t, s, c, "a", atLeast)
		for i := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
		}
		for range 17 { // five minutes of them, not answered
			c.Expect(frames.Pingreq{})
		}
		for range 10 {
			takeFrom(t, sub.Messages())
		}
		c.Expect(ackRun(puback, 1, 10)...)
		resumed := time.Now()
		c.Send(frames.Pingresp{})
		c.Expect(frames.Pingreq{})
		if took := time.Since(resumed); took > 18*time.Second {
			t.Fatalf("PINGREQ %v after the last ack", took)
		}
	})
}

func TestReadingGoesOnWhenRoomIsMadeWithoutAnAck(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: cost})
		sub := subscribed(t, s, c, "a", atLeast)
		for i := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
		}
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
		ch := sub.Deliveries() // takes them all into its buffer
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, false)
		if len(ch) != 10 || c.Unread() != 0 {
			t.Fatalf("%d messages in the channel and %d bytes unread, want all 10", len(ch), c.Unread())
		}
		c.ExpectNone()
	})
}

func TestBrokerHasItsTimeAfterAPauseOfOurOwn(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: cost, KeepAlive: 20 * time.Second})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(publish("a", strings.Repeat("x", 1000), atLeast, 1, false), publish("a", strings.Repeat("x", 1000), atLeast, 2, false))
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
		c.Expect(frames.Pingreq{})
		c.ExpectQuiet(15 * time.Second) // longer than a broker has that is listened to
		next := time.AfterFunc(5*time.Second, func() { c.Send(frames.Pingresp{}) })
		defer next.Stop()
		takeFrom(t, sub.Messages())
		takeFrom(t, sub.Messages())
		c.Expect(ackRun(puback, 1, 2)...)
		c.Expect(frames.Pingreq{})
		wantStat(t, s, "Connections", func(st stream.Stats) uint64 { return st.Connections }, 1)
	})
}

func TestMessageLargerThanReceiveBytesGetsThrough(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 1000})
		sub := subscribed(t, s, c, "a", atLeast)
		large := strings.Repeat("x", 5000)
		for i := range 3 {
			c.Send(publish("a", large, atLeast, uint16(i+1), false))
		}
		for range 3 {
			wantPayloads(t, sub.Messages(), large)
		}
		c.Expect(ackRun(puback, 1, 3)...)
	})
}

// A consumer that sleeps through a reconnect does not keep the session offline.
func TestSessionReconnectsWhileItsInboxIsFull(t *testing.T) {
	for _, o := range []*stream.Options{{}, keepingSession()} {
		t.Run(fmt.Sprintf("KeepSession %v", o.KeepSession), func(t *testing.T) {
			cost := costOfMessage(t, "a", 1000)
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o.ReceiveBytes = cost
				s, c := connected(t, b, o)
				subscribed(t, s, c, "a", exactly)
				for i := range 10 {
					c.Send(publish("a", strings.Repeat("x", 1000), exactly, uint16(i+1), false))
				}
				wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
				c.Abort() // shows at the next PINGREQ
				c = b.Handshake(o.KeepSession)
				if !o.KeepSession {
					c.Grant(streamtest.Next[frames.Subscribe](c))
				}
				published := inBackground(func() error { return s.Publish(t.Context(), message("b", "out", atMost)) })
				c.Expect(publish("b", "out", atMost, 0, false))
				if err := takeFrom(t, published); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestShutdownReadsOnWhenTheInboxIsFull(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: cost})
		subscribed(t, s, c, "a", atLeast)
		for i := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
		}
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
		published := inBackground(func() error { return s.Publish(t.Context(), message("b", "out", atLeast)) })
		c.Complete(streamtest.Next[frames.Publish](c))
		// Its PUBACK lies behind messages that nobody will take any more.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if err := takeFrom(t, published); err != nil {
			t.Fatal(err)
		}
		c.ExpectDisconnect()
	})
}

func TestOverlappingSubscriptionsGetACopyEach(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		one, two, three := subscribed(t, s, c, "#", exactly), subscribed(t, s, c, "a/+", exactly), subscribed(t, s, c, "$share/g/a/b", exactly)
		c.Send(publish("a/b", "1", atLeast, 1, false), publish("a/b", "2", exactly, 2, false),
			publish("a/c", "3", atMost, 0, false), publish("$SYS/x", "4", atLeast, 4, false))
		// Acked when all of them have settled it, in order of arrival.
		first := []stream.Delivery{takeFrom(t, one.Deliveries()), takeFrom(t, two.Deliveries()), takeFrom(t, three.Deliveries())}
		second := []stream.Delivery{takeFrom(t, one.Deliveries()), takeFrom(t, two.Deliveries()), takeFrom(t, three.Deliveries())}
		for i := range 3 {
			if string(first[i].Payload) != "1" || string(second[i].Payload) != "2" {
				t.Fatalf("Subscription %d received %q and %q", i, first[i].Payload, second[i].Payload)
			}
		}
		wantPayloads(t, one.Deliveries(), "3")
		wantPayloads(t, two.Deliveries(), "3")
		wantIdle(t, one.Deliveries()) // no leading wildcard takes in $SYS [MQTT-4.7.2-1]
		wantIdle(t, three.Deliveries())
		wantPayloads(t, s.Messages(), "4")
		for _, d := range second {
			d.Ack()
		}
		first[2].Ack()
		first[0].Ack()
		first[0].Ack()
		synctest.Wait()
		c.ExpectNone()
		first[1].Ack()
		c.Expect(ack(puback, 1), ack(pubrec, 2), ack(puback, 4))
	})
}

func TestLeftoverCopiesHoldNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		quick, slow := subscribed(t, s, c, "a", atLeast), subscribed(t, s, c, "#", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 200)...)
		wantPayloads(t, quick.Messages(), countUp(1, 200)...)
		synctest.Wait()
		c.ExpectNone()
		wantStat(t, s, "Unacked", func(st stream.Stats) int { return st.Unacked }, 200)
		wantPayloads(t, slow.Messages(), countUp(1, 100)...)
		c.Expect(ackRun(puback, 1, 100)...)
	})
}

func TestFlagsOfTheBrokerAreShown(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		ch := sub.Deliveries()
		for i, flags := range []struct{ retain, dup bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			p := publish("a", "x", atLeast, uint16(i+1), flags.dup)
			p.Retain = flags.retain
			c.Send(p)
			d := takeFrom(t, ch)
			if d.Retain != flags.retain || d.Duplicate != flags.dup || d.QoS != atLeast || d.Topic != "a" {
				t.Errorf("received %+v of %+v", d, p)
			}
		}
		m := publish("a", "x", atMost, 0, false)
		m.Retain = true
		c.Send(m)
		if d := takeFrom(t, ch); !d.Retain || d.Duplicate {
			t.Errorf("received %+v of %+v", d, m)
		}
	})
}

func TestEmptyPayloadIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(publish("a", "", atLeast, 1, false))
		if m := takeFrom(t, sub.Messages()); len(m.Payload) != 0 {
			t.Fatalf("payload is %q", m.Payload)
		}
		c.Expect(ack(puback, 1))
	})
}

func TestReceivedPayloadsStayAsTheyCame(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "#", atLeast)
		ch := sub.Messages()
		const n = 1000
		payload := func(i int) string { return strings.Repeat(fmt.Sprintf("<%d>", i), 1+i*7%50) }
		topic := func(i int) string { return fmt.Sprintf("t/%d", i%300) }
		var kept []frames.Message
		for i := 0; i < n; { // segments that cut packets everywhere
			var packets []frames.Packet
			for range 1 + i%40 {
				if i == n {
					break
				}
				packets = append(packets, publish(topic(i), payload(i), atLeast, uint16(i+1), false))
				i++
			}
			c.SendSplit(97, packets...)
			for range packets {
				kept = append(kept, takeFrom(t, ch))
			}
		}
		c.Expect(ackRun(puback, 1, n)...)
		for i, m := range kept {
			if m.Topic != topic(i) || string(m.Payload) != payload(i) {
				t.Fatalf("message %d has become %s: %.40q", i, m.Topic, m.Payload)
			}
			if i > 0 && cap(m.Payload) > len(m.Payload) {
				t.Fatalf("an append to message %d would write into its neighbour", i)
			}
		}
	})
}
