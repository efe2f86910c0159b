package stream_test

import (
	"context"
	"errors"
	"io"
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
				t.Fatalf("delivery %d has payload %q", n, d.Payload)
			}
			synctest.Wait()
			c.ExpectNone()
			if n == 3 {
				break
			}
		}
		synctest.Wait()
		c.ExpectNone() // the end of the loop acknowledges no delivery
	})
}

func TestLeavingAllReturnsTheRestInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 100)...)
		synctest.Wait()
		var got []string
		for want := 1; want < 100; want += 10 { // each loop consumes ten messages of its batch
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

func TestALoopReturnsMessagesToAWaitingConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 5)...)
		synctest.Wait()
		var ch <-chan frames.Message
		for d := range sub.All(t.Context()) {
			ch = sub.Messages() // returns an empty channel, because the inbox is empty
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
					t.Error("the panic did not reach the caller")
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
				t.Fatalf("the loop yielded errors %v, want only %v", errs, cause)
			}
			if err := sub.Err(); err != nil {
				t.Fatalf("Err is %v, want nil: the Subscription goes on", err)
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
				t.Fatalf("the loop yielded %q, want %q", got, want)
			}
			c.Expect(ackRun(puback, 1, 2)...) // asking for the next delivery acknowledges the one before
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
					t.Fatalf("the loop yielded %v and %v, want %v", d, err, cause)
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
			t.Fatalf("the loop yielded errors %v, want one", errs)
		}
		wantError(t, errs[0], io.EOF)
		wantEnd(t, ch)
		wantError(t, sub.Err(), io.EOF)
		<-s.Done()
		wantError(t, s.Err(), io.EOF)
		for d, err := range s.All(t.Context()) { // a later loop yields the same error
			wantError(t, err, io.EOF)
			if d.Topic != "" {
				t.Fatalf("the error came with a delivery: %v", d)
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
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		if got := takeFrom(t, loops); got != "unsubscribed" {
			t.Fatalf("the loop ended with %q", got)
		}
		s.Close()
		if got := takeFrom(t, loops); got != "closed" {
			t.Fatalf("the loop ended with %q", got)
		}
		run("again", two)
		if got := takeFrom(t, loops); got != "again" {
			t.Fatalf("a loop begun after Close ended with %q", got)
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
				for left >= 0 { // each pass of this loop ends the loop over All after some messages
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
				t.Errorf("message %s was delivered %d times", text, seen[text])
			}
		}
	})
}

// A message wakes one consumer. If this consumer leaves messages in the inbox, it wakes the next
// consumer.
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
		first := payloadsOf(t, got, 2)              // a consumer receives 64 messages at once
		if slices.Sort(first); !slices.Equal(first, []string{"1", "65"}) {
			t.Errorf("received %v", first)
		}
		wantIdle(t, got)
		close(hold)
		c.Expect(ackRun(puback, 1, 100)...)
	})
}
