package stream_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestAllBatchesAcknowledgesWhenTheNextIsAskedFor(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		kind := puback
		if q == exactly {
			kind = pubrec
		}
		for _, end := range []string{"break", "panic"} {
			t.Run(fmt.Sprint(q, end), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					s, c := connected(t, b, nil)
					sub := subscribed(t, s, c, "a", q)
					c.Send(inboundRun("a", q, 1, 8)...)
					synctest.Wait()
					var last stream.Batch
					func() {
						defer func() { recover() }()
						for batch, err := range sub.AllBatches(t.Context(), 3) {
							if err != nil {
								t.Error(err)
							}
							synctest.Wait()
							c.ExpectNone()
							last = batch
							wantBatch(t, batch, countUp(1, 3)...)
							break
						}
						n := 1
						for batch := range sub.AllBatches(t.Context(), 3) {
							if n > 1 {
								last.Ack() // otherwise the acks of all others wait
								c.Expect(ackRun(kind, 1, 6)...)
							}
							wantBatch(t, batch, countUp(n*3+1, min(3, 8-n*3))...)
							if n++; n == 3 && end == "panic" {
								panic("handler")
							}
							if n == 3 {
								break
							}
						}
					}()
					synctest.Wait()
					c.ExpectNone() // the end of the loop acknowledges no delivery
					wantBatch(t, last, countUp(1, 3)...)
				})
			})
		}
	}
}

func TestAllBatchesEndsAsAllDoes(t *testing.T) {
	cause := errors.New("enough")
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		for _, err := range sub.AllBatches(t.Context(), 0) {
			var option *stream.OptionError
			if !errors.As(err, &option) || err.Error() != "mqtt: max 0 is below 1" {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		c.Send(inboundRun("a", atLeast, 1, 2)...)
		var seen []string
		for batch, err := range sub.AllBatches(ctx, 5) {
			seen = append(seen, payloadsIn(batch)...)
			if err != nil {
				seen = append(seen, err.Error())
			}
		}
		if strings.Join(seen, " ") != "1 2 enough" {
			t.Errorf("saw %q", seen)
		}
		c.Expect(ackRun(puback, 1, 2)...)

		c.Send(inboundRun("a", atLeast, 3, 2)...)
		done := inBackground(func() error { return sub.Drain(t.Context()) })
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		for batch, err := range sub.AllBatches(t.Context(), 5) {
			if err != nil {
				t.Error(err)
			}
			wantBatch(t, batch, "3", "4")
			wantIdle(t, done) // the consumer may still use the Batch
		}
		c.Expect(ackRun(puback, 3, 2)...)
		if err := takeFrom(t, done); err != nil {
			t.Error(err)
		}
	})
}

func TestRequeueOfALentMessageMakesACopy(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		large := strings.Repeat("x", 10_000)
		n := 0
		c.Send(publish("a", "again", atLeast, 1, false))
		for batch := range sub.AllBatches(t.Context(), 1) {
			switch n++; {
			case n == 1:
				batch[0].Requeue(time.Second)
			case n < 60:
				wantBatch(t, batch, large)
			default:
				wantBatch(t, batch, "again")
				return
			}
			if n < 59 {
				c.Send(publish("a", large, atLeast, uint16(n+1), false))
			}
		}
	})
}

// The messages of one read go to a consumer that keeps them, to one that gives them back, or to
// both. The race detector sees a buffer that is used again too early, too.
func TestKeptMessagesStayAsTheyCameBesideLentOnes(t *testing.T) {
	b := streamtest.New(t)
	s, c := connected(t, b, nil)
	topics := []string{"kept", "lent", "both/x"}
	both, lends := subscribed(t, s, c, "both/#", atLeast), subscribed(t, s, c, "+/#", atLeast)
	keeps := subscribed(t, s, c, "kept", atLeast)
	const n = 3000
	payload := func(i int) string { return strings.Repeat(fmt.Sprintf("<%d>", i), 1+i*7%300) }
	go func() {
		for i := 0; i < n; i += 10 {
			var packets []frames.Packet
			for k := i; k < i+10; k++ {
				packets = append(packets, publish(topics[(k/100)%3], payload(k), atMost, 0, false))
			}
			c.Send(packets...)
		}
	}()
	var kept []frames.Message
	gather := make(chan struct{})
	go func() {
		defer close(gather)
		for one, two := keeps.Messages(), both.Deliveries(); len(kept) < 2*n/3; {
			select {
			case m := <-one:
				kept = append(kept, m)
			case d := <-two:
				kept = append(kept, d.Message)
			}
		}
	}()
	i := 0
	for batch, err := range lends.AllBatches(t.Context(), 50) {
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch {
			if string(d.Payload) != payload(i) {
				t.Fatalf("message %d is %.30q", i, d.Payload)
			}
			i++
		}
		if i == n {
			break
		}
	}
	<-gather
	want := make(map[string]int)
	for k := range n {
		if topics[(k/100)%3] != "lent" {
			want[payload(k)]++
		}
	}
	for _, m := range kept {
		want[string(m.Payload)]--
	}
	for text, n := range want {
		if n != 0 {
			t.Errorf("%.20q was received %d times too few", text, n)
		}
	}
}

// A read buffer has room for 63 of these messages, so without its use again a message would take
// 0.016 allocations.
func TestALentMessageNeedsNoAllocation(t *testing.T) {
	rig := newBench(t, 1000)
	m := frames.Message{Topic: "bench/topic", Payload: make([]byte, 1<<10)}
	some := slices.Repeat([]frames.Message{m}, 16)
	const warm, n = 2_000, 20_000
	var before, after runtime.MemStats
	rig.r.Publish(some...)
	received := 0
	for batch := range rig.sub.AllBatches(t.Context(), 100) {
		for range batch {
			if received++; received%len(some) == 0 {
				rig.r.Publish(some...)
			}
			if received == warm {
				runtime.ReadMemStats(&before)
			}
		}
		if received >= warm+n {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if each := float64(after.Mallocs-before.Mallocs) / n; each > 0.01 {
		t.Errorf("a message takes %.4f allocations", each)
	}
}
