package stream_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// payloadsIn returns the payloads of a Batch.
func payloadsIn(b stream.Batch) (texts []string) {
	for _, d := range b {
		texts = append(texts, string(d.Payload))
	}
	return texts
}

func wantBatch(t *testing.T, b stream.Batch, want ...string) {
	t.Helper()
	if got := payloadsIn(b); !slices.Equal(got, want) {
		t.Fatalf("the Batch has %q, want %q", got, want)
	}
}

func TestABatchIsHandedOverWhenItIsFull(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(3, time.Hour)
		c.Send(inboundRun("a", atLeast, 1, 8)...)
		first := takeFrom(t, ch)
		wantBatch(t, first, "1", "2", "3")
		wantBatch(t, takeFrom(t, ch), "4", "5", "6")
		wantIdle(t, ch)
		c.Send(inboundRun("a", atLeast, 9, 1)...)
		wantBatch(t, takeFrom(t, ch), "7", "8", "9")
		wantBatch(t, first, "1", "2", "3") // a Batch may be kept
	})
}

func TestABatchIsHandedOverAfterItsWait(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(10, time.Second)
		elapse(10 * time.Second)
		c.Send(inboundRun("a", atLeast, 1, 2)...)
		elapse(time.Second / 2)
		c.Send(inboundRun("a", atLeast, 3, 1)...) // the time counts from the first message
		elapse(time.Second/2 - 1)
		wantIdle(t, ch)
		elapse(1)
		batch := takeFrom(t, ch)
		wantBatch(t, batch, "1", "2", "3")
		synctest.Wait()
		c.ExpectNone()
		batch.Ack()
		batch.Ack()
		c.Expect(ackRun(puback, 1, 3)...)
		wantIdle(t, ch) // no Batch is empty
	})
}

func TestABatchWithoutWaitHasTheMessagesThatAreThere(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atMost)
		c.Send(inboundRun("a", atMost, 1, 200)...)
		synctest.Wait()
		ch := sub.Batches(150, 0)
		wantBatch(t, takeFrom(t, ch), countUp(1, 150)...)
		wantBatch(t, takeFrom(t, ch), countUp(151, 50)...)
		wantIdle(t, ch)
	})
}

func TestABatchThatNobodyReceivesGrows(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(5, time.Second)
		c.Send(inboundRun("a", atLeast, 1, 1)...)
		elapse(10 * time.Second)
		c.Send(inboundRun("a", atLeast, 2, 7)...)
		wantBatch(t, takeFrom(t, ch), countUp(1, 5)...)
		elapse(time.Second)
		wantBatch(t, takeFrom(t, ch), "6", "7", "8")
	})
}

// The bytes of a Batch are not counted for ReceiveBytes and MaxUnread.
func TestABatchOfLargeMessagesIsHandedOverBeforeItIsFull(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(1000, time.Hour)
		payload := string(make([]byte, 1<<19))
		for i := range 10 {
			c.Send(publish("a", payload, atLeast, uint16(i+1), false))
		}
		if n := len(takeFrom(t, ch)); n != 8 {
			t.Errorf("the Batch has %d messages of 512 KiB, want 8", n)
		}
		wantIdle(t, ch)
	})
}

func TestBatchesIsTheSameChannelForTheSameArguments(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(3, time.Second)
		if sub.Batches(3, time.Second) != ch || sub.Batches(4, time.Second) == ch || sub.Batches(3, 0) == ch {
			t.Error("the arguments do not decide which channel it is")
		}
	})
}

func TestBatchesNamesTheArgumentThatIsWrong(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		for _, wrong := range []struct {
			max   int
			wait  time.Duration
			field string
			text  string
		}{{0, 0, "max", "mqtt: max 0 is below 1"}, {-5, 0, "max", "mqtt: max -5 is below 1"}, {1, -1, "wait", "mqtt: wait -1ns is below 0"}} {
			sub := subscribed(t, s, c, "a", atLeast)
			wantEnd(t, sub.Batches(wrong.max, wrong.wait))
			var option *stream.OptionError
			if err := sub.Err(); !errors.As(err, &option) || option.Field != wrong.field || err.Error() != wrong.text {
				t.Errorf("Err is %v, want %s", err, wrong.text)
			}
			wantIdle(t, sub.Messages()) // the Subscription goes on
		}
	})
}

func TestBatchesHandsOverTheRestBeforeItEnds(t *testing.T) {
	for _, how := range []string{"Drain", "the connection"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{NoReconnect: true})
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Batches(3, time.Hour)
				c.Send(inboundRun("a", atLeast, 1, 5)...)
				synctest.Wait()
				var done <-chan error
				if how == "Drain" {
					done = inBackground(func() error { return sub.Drain(t.Context()) })
					c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
				} else {
					c.Drop()
				}
				wantBatch(t, takeFrom(t, ch), "1", "2", "3")
				wantIdle(t, done)
				wantBatch(t, takeFrom(t, ch), "4", "5")
				wantEnd(t, ch)
				if how == "Drain" {
					if err := takeFrom(t, done); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestABatchThatNobodyHasReceivedGoesBack(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Hour} { // the Batch is offered, or is being filled
		t.Run(fmt.Sprint("Unsubscribe", wait), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Batches(10, wait)
				c.Send(inboundRun("a", atLeast, 1, 3)...)
				synctest.Wait()
				done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
				p := streamtest.Next[frames.Unsubscribe](c)
				c.Expect(ackRun(puback, 1, 3)...)
				c.Unsuback(p)
				if err := takeFrom(t, done); err != nil {
					t.Fatal(err)
				}
				wantEnd(t, ch)
				if st := s.Stats(); st.Discarded != 3 {
					t.Errorf("%d discarded, want 3", st.Discarded)
				}
			})
		})
		t.Run(fmt.Sprint("Shutdown", wait), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Batches(2, wait)
				c.Send(inboundRun("a", atLeast, 1, 5)...)
				first := takeFrom(t, ch)
				done := inBackground(func() error { return s.Shutdown(t.Context()) })
				wantEnd(t, ch)
				wantIdle(t, done)
				first.Ack()
				c.Expect(ackRun(puback, 1, 2)...)
				c.ExpectDisconnect() // the others are not acknowledged
				c.Drop()
				if err := takeFrom(t, done); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRequeuedAndRejectedMessagesOfABatch(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(10, 0)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		batch := takeFrom(t, ch)
		batch[1].Requeue(time.Second)
		batch[0].Reject(frames.QuotaExceeded, "")
		batch.Ack() // decides only for the third
		first := ack(puback, 1)
		if c.Version() >= frames.V5 {
			first.Code = frames.QuotaExceeded
		}
		c.Expect(first)
		elapse(time.Second)
		again := takeFrom(t, ch)
		wantBatch(t, again, "2")
		again.Ack()
		c.Expect(ackRun(puback, 2, 2)...)
	})
}

func TestABatchAcknowledgesEachDeliveryAtItsOwnClient(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		one, c1 := connected(t, b, nil)
		two, c2 := connected(t, b, nil)
		sub1, sub2 := subscribed(t, one, c1, "a", exactly), subscribed(t, two, c2, "a", exactly)
		c1.Send(inboundRun("a", atLeast, 1, 3)...)
		c2.Send(inboundRun("a", exactly, 7, 3)...)
		c1.Send(publish("a", "x", atMost, 0, false))
		batch := stream.Batch{{}}
		for range 3 {
			batch = append(batch, takeFrom(t, sub1.Deliveries()), takeFrom(t, sub2.Deliveries()))
		}
		batch = append(batch, takeFrom(t, sub1.Deliveries()))
		batch.Ack()
		c1.Expect(ackRun(puback, 1, 3)...)
		c2.Expect(ackRun(pubrec, 7, 3)...)
	})
}

// The acks of a Batch are sent at once, although nothing else happens.
func TestTheAckOfABatchWakesTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Batches(3, 0)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		batch := takeFrom(t, ch)
		elapse(time.Minute)
		began := time.Now()
		batch.Ack()
		c.Expect(ackRun(puback, 1, len(batch))...)
		if took := time.Since(began); took != 0 {
			t.Errorf("the acks came after %v", took)
		}
	})
}

func TestChannelsOfBatchesShareTheMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		got := make(chan string, 10_000)
		for max := 1; max <= 4; max++ {
			go func() {
				for batch := range sub.Batches(max, time.Duration(max)*time.Second) {
					for _, text := range payloadsIn(batch) {
						got <- text
					}
					batch.Ack()
				}
			}()
		}
		const n = 2000
		for first := 1; first <= n; first += 100 {
			c.Send(inboundRun("a", atLeast, first, 100)...)
			elapse(time.Second)
		}
		elapse(time.Minute)
		c.Expect(ackRun(puback, 1, n)...)
		if len(got) != n {
			t.Errorf("received %d messages, want %d", len(got), n)
		}
	})
}
