package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Publish returns nil when the exchange is complete, and not earlier.
func TestPublishCompletesWithItsQoS(t *testing.T) {
	t.Run("0: written", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			c.Stall()
			published := goPublish(s, message("t", "p", 0))
			wantPending(t, published)
			elapse(5 * time.Second)
			wantPending(t, published)
			c.Resume()
			if err := takeFrom(t, published); err != nil {
				t.Fatal(err)
			}
			c.Expect(publish("t", "p", 0, 0, false))
			c.ExpectQuiet(45 * time.Second)
		})
	})
	t.Run("0: not while offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(3, nil)
			s := open(t, b, &stream.Options{Reconnect: every(time.Minute)})
			published := goPublish(s, message("t", "p", 0))
			elapse(3*time.Minute - 1)
			wantPending(t, published)
			c := b.Handshake(false)
			c.Expect(publish("t", "p", 0, 0, false))
			if err := takeFrom(t, published); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("1: PUBACK", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
			published := goPublish(s, message("t", "p", 1))
			c.Expect(publish("t", "p", 1, 1, false))
			c.Send(ack(puback, 2), frames.Pingresp{}, publish("u", "", 0, 0, false))
			c.ExpectQuiet(time.Hour)
			wantPending(t, published)
			c.Send(ack(puback, 1))
			if err := takeFrom(t, published); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("2: PUBCOMP", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
			published := goPublish(s, message("t", "p", 2))
			c.Expect(publish("t", "p", 2, 1, false))
			c.ExpectQuiet(time.Hour)
			c.Send(ack(pubrec, 1))
			c.Expect(ack(pubrel, 1))
			c.ExpectQuiet(time.Hour)
			wantPending(t, published)
			c.Send(ack(pubcomp, 1))
			if err := takeFrom(t, published); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// Window limits the messages in flight at all times. Each ack frees a slot for one more message. A
// QoS 2 message holds its slot until PUBCOMP. A QoS 0 message needs no slot.
func TestWindowIsKeptExactly(t *testing.T) {
	for _, window := range []int{1, 3, 100} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Window: window, Queue: 1000, KeepAlive: noPing})
				acks := make(chan stream.Receipt, 400)
				for n := range 300 {
					offer(s, n, n+1, frames.QoS(1+n%2), acks)
				}
				stats := func(queued, inFlight int) {
					t.Helper()
					synctest.Wait()
					if st := s.Stats(); st.Queued != queued || st.InFlight != inFlight {
						t.Fatalf("%d queued, %d in flight; want %d, %d", st.Queued, st.InFlight, queued, inFlight)
					}
				}
				inFlight := nextPublishes(t, c, window)
				synctest.Wait()
				c.ExpectNone()
				stats(300-window, window)
				r := rand.New(rand.NewPCG(3, uint64(window)))
				for done := 1; done <= 300; done++ {
					i := r.IntN(len(inFlight))
					p := inFlight[i]
					if p.QoS == 2 {
						c.Send(ack(pubrec, p.ID))
						c.Expect(ack(pubrel, p.ID))
						synctest.Wait()
						c.ExpectNone() // PUBREC does not free the slot
						c.Send(ack(pubcomp, p.ID))
					} else {
						c.Send(ack(puback, p.ID))
					}
					wantReceipt(t, acks, atoi(t, p))
					if done <= 300-window {
						inFlight[i] = streamtest.Next[frames.Publish](c)
					} else {
						inFlight[i] = inFlight[len(inFlight)-1]
						inFlight = inFlight[:len(inFlight)-1]
					}
					synctest.Wait()
					c.ExpectNone()
					stats(max(0, 300-window-done), min(window, 300-done))
				}
			})
		})
	}
	t.Run("QoS 0 needs no slot", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Window: 2})
			acks := make(chan stream.Receipt, 400)
			offer(s, 0, 1, 1, acks)
			offer(s, 1, 101, 0, acks)
			offer(s, 101, 102, 1, acks)
			offer(s, 102, 202, 0, acks)
			for n, p := range nextPublishes(t, c, 202) {
				if atoi(t, p) != n {
					t.Fatalf("packet %d is %+v", n, p)
				}
			}
		})
	})
}

// atoi returns the number that is the payload of a numbered message.
func atoi(t *testing.T, p frames.Publish) int {
	t.Helper()
	n, err := strconv.Atoi(string(p.Payload))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// When a send to Publishes returns, the session has accepted the publishing. The send blocks while
// the queue is full.
func TestFullQueueBlocksTheSend(t *testing.T) {
	for _, queue := range []int{1, 2, 10, 100} {
		t.Run(fmt.Sprint(queue), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Window: 3, Queue: queue, KeepAlive: noPing})
				acks := make(chan stream.Receipt, 1000)
				n := 0
				for accepts(s, publishing(n, 1, acks)) {
					n++
				}
				if n != 3+queue {
					t.Fatalf("%d accepted", n)
				}
				// QoS 0 publications use the same queue, so they block too.
				if accepts(s, publishing(n, 0, acks)) {
					t.Fatal("QoS 0 was accepted")
				}
				waiting := goPublish(s, message("late", "", 1))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				wantError(t, s.Publish(ctx, message("never", "", 0)), stream.ErrNotSent, context.DeadlineExceeded)
				wantPending(t, waiting)

				packets := nextPublishes(t, c, 3)
				c.Complete(packets[0])
				wantReceipt(t, acks, 0)
				if accepts(s, publishing(n, 1, acks)) { // the Publish call that already waits goes first
					t.Fatal("two were accepted")
				}
				c.Complete(packets[1])
				wantReceipt(t, acks, 1)
				if !accepts(s, publishing(n, 1, acks)) {
					t.Fatal("none was accepted")
				}
				if accepts(s, publishing(n, 1, acks)) {
					t.Fatal("two were accepted")
				}
				c.Complete(packets[2])
				for range queue + 2 {
					p := streamtest.Next[frames.Publish](c)
					if p.Topic == "never" {
						t.Fatal("the canceled publication was sent")
					}
					c.Complete(p)
				}
				if err := takeFrom(t, waiting); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	t.Run("offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{Window: 100, Queue: 5, Reconnect: every(time.Minute)})
			n := 0
			for accepts(s, publishing(n, frames.QoS(n%3), nil)) {
				n++
			}
			if n != 5 {
				t.Fatalf("%d accepted", n)
			}
			b.Handshake(false)
			if !accepts(s, publishing(n, 1, nil)) {
				t.Fatal("none accepted when there is a connection")
			}
		})
	})
}

// Each publishing gets its Receipt, even if the session accepts many publishings at once.
func TestNoneIsLostOfManyThatAreAcceptedAtOnce(t *testing.T) {
	for _, n := range []int{64, 65, 66, 129, 1000} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			machine := &sleeper{pause: time.Second}
			s, c := connected(t, b, &stream.Options{Window: 2000, Queue: 2000, Logger: slog.New(machine)})
			machine.suspend() // so that publishings queue up
			c.Send(ack(pubrel, 1))
			synctest.Wait()
			acks := make(chan stream.Receipt, n)
			for i := range n {
				go offer(s, i, i+1, frames.QoS(i%2), acks)
			}
			elapse(time.Second)
			c.Expect(pubcompUnknown(1))
			for range n {
				p := streamtest.Next[frames.Publish](c)
				if p.QoS == 1 {
					c.Send(ack(puback, p.ID))
				}
			}
			seen := map[any]bool{}
			for _, r := range wantReceipts(t, acks, n) {
				seen[r.Tag] = r.Err == nil
			}
			for i := range n {
				if !seen[i] {
					t.Errorf("no Receipt for %d", i)
				}
			}
		})
	}
}

// When the caller of Publish cancels a queued publication, the session never sends it.
func TestQueuedPublishIsWithdrawnByItsContext(t *testing.T) {
	reason := errors.New("enough")
	for _, q := range levels {
		t.Run(q.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
				acks := make(chan stream.Receipt, 4)
				offer(s, 0, 2, 1, acks)
				first := streamtest.Next[frames.Publish](c)
				ctx, cancel := context.WithCancelCause(t.Context())
				gone := inBackground(func() error { return s.Publish(ctx, message("gone", "", q)) })
				wantPending(t, gone)
				offer(s, 2, 3, 1, acks)
				cancel(reason)
				err := takeFrom(t, gone)
				wantError(t, err, stream.ErrNotSent, reason)
				wantNoErrorIn(t, err, stream.ErrUnconfirmed)
				wantStat(t, s, "Queued", func(st stream.Stats) int { return st.Queued }, 2)
				c.Complete(first)
				for n := 1; n < 3; n++ {
					p := streamtest.Next[frames.Publish](c)
					if atoi(t, p) != n {
						t.Fatalf("%+v", p)
					}
					c.Complete(p)
				}
				c.ExpectQuiet(time.Hour)
				wantReceipts(t, acks, 3)
			})
		})
	}
	t.Run("offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{Reconnect: every(time.Minute)})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for _, q := range levels {
				wantError(t, s.Publish(ctx, message("gone", "", q)), stream.ErrNotSent, context.DeadlineExceeded)
			}
			c := b.Handshake(false)
			c.ExpectQuiet(50 * time.Second)
		})
	})
	t.Run("that had ended before", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, &stream.Options{Queue: 1})
			offer(s, 0, 1, 1, nil) // fills the queue
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(reason)
			err := s.Publish(ctx, message("t", "", 1))
			wantError(t, err, stream.ErrNotSent, reason)
		})
	})
}

// When the caller cancels a publication in flight, the publication may still arrive. The exchange
// continues without the caller, and keeps its slot to the end.
func TestPublishInFlightGoesOnWithoutItsCaller(t *testing.T) {
	reason := errors.New("enough")
	for _, step := range []string{"PUBLISH of QoS 1", "PUBLISH of QoS 2", "PUBREL"} {
		t.Run(step, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
				ctx, cancel := context.WithCancelCause(t.Context())
				m := message("t", "p", 2)
				if step == "PUBLISH of QoS 1" {
					m.QoS = 1
				}
				given := inBackground(func() error { return s.Publish(ctx, m) })
				c.Expect(publish("t", "p", m.QoS, 1, false))
				if step == "PUBREL" {
					c.Send(ack(pubrec, 1))
					c.Expect(ack(pubrel, 1))
				}
				cancel(reason)
				err := takeFrom(t, given)
				wantError(t, err, stream.ErrUnconfirmed, reason)
				wantNoErrorIn(t, err, stream.ErrNotSent)

				next := goPublish(s, message("t", "next", 1))
				c.ExpectQuiet(time.Hour)
				switch step {
				case "PUBLISH of QoS 1":
					c.Send(ack(puback, 1))
				case "PUBLISH of QoS 2":
					c.Send(ack(pubrec, 1))
					c.Expect(ack(pubrel, 1))
					c.Send(ack(pubcomp, 1))
				case "PUBREL":
					c.Send(ack(pubcomp, 1))
				}
				c.Expect(publish("t", "next", 1, 2, false))
				c.Send(ack(puback, 2))
				if err := takeFrom(t, next); err != nil {
					t.Fatal(err)
				}
				if st := s.Stats(); st.Acknowledged != 2 || st.InFlight != 0 {
					t.Fatalf("%+v", st)
				}
			})
		})
	}
}

// When Publish has returned, its caller may change the payload, even if the session may still
// retransmit the message.
func TestPublishGivenUpDoesNotKeepThePayload(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Reconnect: every(time.Second), Window: 3})
		ctx, cancel := context.WithCancel(t.Context())
		payload := []byte("payload")
		var calls []<-chan error
		for q := frames.QoS(1); q <= 2; q++ {
			calls = append(calls, inBackground(func() error {
				return s.Publish(ctx, frames.Message{Topic: "t", Payload: payload, QoS: q})
			}))
			c.Expect(publish("t", "payload", q, uint16(q), false))
		}
		cancel()
		for _, call := range calls {
			wantError(t, takeFrom(t, call), stream.ErrUnconfirmed)
		}
		copy(payload, "garbage")
		c.Drop()
		c = b.Handshake(true)
		c.Expect(publish("t", "payload", 1, 1, true), publish("t", "payload", 2, 2, true))
	})
}

// lateCancel is a context that ends when Publish waits for the result. Done sleeps for a second
// first, so the result is ready at the same time.
type lateCancel struct {
	context.Context
	asked atomic.Int32
}

func (c *lateCancel) Done() <-chan struct{} {
	ended := make(chan struct{})
	c.asked.Add(1)
	elapse(time.Second)
	close(ended)
	return ended
}

func (c *lateCancel) Err() error {
	if c.asked.Load() > 0 {
		return context.Canceled
	}
	return nil
}

func TestReadyResultBeatsAnEndedContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		for range 50 {
			for _, q := range levels {
				ctx := &lateCancel{Context: t.Context()}
				published := inBackground(func() error { return s.Publish(ctx, message("t", "", q)) })
				c.Complete(streamtest.Next[frames.Publish](c))
				elapse(2 * time.Second)
				if err := takeFrom(t, published); err != nil {
					t.Fatal(err)
				}
				if ctx.Err() == nil {
					t.Fatal("the context has not ended")
				}
			}
		}
	})
}

// A context ends and the ack arrives at the same instant. If the ack arrives first, Publish returns
// success.
func TestAckAndContextAtTheSameInstant(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
		outcomes := map[bool]int{}
		for range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			published := inBackground(func() error { return s.Publish(ctx, message("t", "", 1)) })
			p := streamtest.Next[frames.Publish](c)
			elapse(time.Second)
			c.Complete(p)
			err := takeFrom(t, published)
			if outcomes[err == nil]++; err != nil {
				wantError(t, err, stream.ErrUnconfirmed)
			}
			cancel()
			if n := s.Stats().InFlight; n != 0 {
				t.Fatalf("%d in flight", n)
			}
		}
	})
}

// E1
func TestAllIdentifiersInFlight(t *testing.T) {
	const all = 65535
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: all, Queue: 10, KeepAlive: noPing})
		acks := make(chan stream.Receipt, all+10)
		m := message("t", "", 1)
		for n := range all + 2 {
			s.Publishes() <- stream.Publishing{Message: m, Tag: n, Ack: acks}
		}
		asked := callSubscribe(t.Context(), t, s, filterOf("f", 0)) // SUBSCRIBE has to wait for an identifier too
		seen := make([]bool, all+1)
		for range all {
			p := streamtest.Next[frames.Publish](c)
			if p.ID == 0 || seen[p.ID] {
				t.Fatalf("identifier %d", p.ID)
			}
			seen[p.ID] = true
		}
		c.ExpectQuiet(time.Hour)
		wantStat(t, s, "Queued", func(st stream.Stats) int { return st.Queued }, 2)

		c.Send(ack(puback, 777))
		if p := streamtest.Next[frames.Subscribe](c); p.ID != 777 {
			t.Fatalf("identifier %d is not the free one", p.ID)
		}
		c.ExpectQuiet(time.Hour) // the window has room, but there is no free identifier
		c.Send(ack(puback, 1))
		if p := streamtest.Next[frames.Publish](c); p.ID != 1 {
			t.Fatalf("identifier %d is not the free one", p.ID)
		}
		c.Send(frames.Suback{ID: 777, Codes: []frames.ReasonCode{0}})
		asked.granted()
		if p := streamtest.Next[frames.Publish](c); p.ID != 777 {
			t.Fatalf("identifier %d is not the free one", p.ID)
		}
		c.ExpectQuiet(time.Hour)
		var rest []frames.Packet
		for id := 2; id <= all; id++ {
			rest = append(rest, ack(puback, uint16(id)))
		}
		c.Send(append(rest, ack(puback, 1))...)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantReceipts(t, acks, all+2)
	}, streamtest.Buffer(-1))
}

// [MQTT-2.3.1-2]: identifiers are used in a cycle that skips an identifier in use.
func TestIdentifiersGoRoundAndAreNotReusedInFlight(t *testing.T) {
	const window, held, n = 1000, 5, 2*65535 + 100
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: window, Queue: 10, KeepAlive: noPing})
		go func() {
			m := message("t", "", 1)
			for range n {
				select {
				case s.Publishes() <- stream.Publishing{Message: m}:
				case <-s.Done():
					return
				}
			}
		}()
		var answers []frames.Packet
		var inUse [65536]bool
		rounds := 0
		last := uint16(0)
		for i := range n {
			p := streamtest.Next[frames.Publish](c)
			if p.ID == 0 || inUse[p.ID] {
				t.Fatalf("publication %d has identifier %d", i, p.ID)
			}
			if p.ID < last {
				rounds++
			} else if p.ID-last > 2 { // the cycle may skip the identifier in use
				t.Fatalf("publication %d has identifier %d, after %d", i, p.ID, last)
			}
			last = p.ID
			if inUse[p.ID] = true; p.ID != held {
				answers = append(answers, ack(puback, p.ID))
			}
			if len(answers) == window/2 {
				c.Send(answers...)
				for _, a := range answers {
					inUse[a.(frames.Ack).ID] = false
				}
				answers = answers[:0]
			}
		}
		if rounds != 2 {
			t.Fatalf("the identifiers wrapped %d times", rounds)
		}
		wantStat(t, s, "InFlight", func(st stream.Stats) int { return st.InFlight }, 1+len(answers))
	})
}

func TestPublicationsLeaveInOrderOfAcceptance(t *testing.T) {
	for _, window := range []int{1, 3, 50} {
		t.Run(fmt.Sprintf("window %d", window), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Window: window, Queue: 20})
				r := rand.New(rand.NewPCG(5, uint64(window)))
				const n = 1000
				go func() {
					r := rand.New(rand.NewPCG(6, uint64(window)))
					for i := range n {
						offer(s, i, i+1, frames.QoS(r.IntN(3)), nil)
					}
				}()
				var open []frames.Packet // answers that the broker has not sent yet
				outstanding := 0
				for next := 0; next < n; {
					// The broker sends its answers late and in random order.
					if len(open) > 0 && (outstanding == window || r.IntN(4) == 0) {
						r.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
						k := (len(open) + 1) / 2
						for _, p := range open[:k] {
							if p.Type() != pubrec {
								outstanding--
							}
						}
						c.Send(open[:k]...)
						open = open[k:]
					}
					switch p := streamtest.Next[frames.Packet](c).(type) {
					case frames.Publish:
						if atoi(t, p) != next {
							t.Fatalf("publication %d came as number %d", atoi(t, p), next)
						}
						next++
						switch p.QoS {
						case 1:
							open = append(open, ack(puback, p.ID))
							outstanding++
						case 2:
							open = append(open, ack(pubrec, p.ID))
							outstanding++
						}
					case frames.Ack:
						open = append(open, ack(pubcomp, p.ID))
					}
				}
			})
		})
	}
}

func TestFlushWaitsUntilNothingIsQueuedOrInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
		if err := s.Flush(t.Context()); err != nil { // returns at once: no publication is outstanding
			t.Fatal(err)
		}
		acks := make(chan stream.Receipt, 4)
		offer(s, 0, 2, 2, acks)
		one := inBackground(func() error { return s.Flush(t.Context()) })
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		two := inBackground(func() error { return s.Flush(ctx) })
		wantPending(t, one)
		cancel(reason)
		wantError(t, takeFrom(t, two), reason)
		c.Complete(streamtest.Next[frames.Publish](c))
		p := streamtest.Next[frames.Publish](c)
		wantPending(t, one)
		c.Send(ack(pubrec, p.ID))
		c.Expect(ack(pubrel, p.ID))
		c.ExpectQuiet(time.Hour)
		wantPending(t, one)
		c.Send(ack(pubcomp, p.ID))
		if err := takeFrom(t, one); err != nil {
			t.Fatal(err)
		}

		// Flush also returns when a publication is withdrawn, or fails because its clean session is
		// lost.
		offer(s, 2, 3, 1, acks)
		three := inBackground(func() error { return s.Flush(t.Context()) })
		wantPending(t, three)
		c.Drop()
		if err := takeFrom(t, three); err != nil {
			t.Fatal(err)
		}
		gone, cancel2 := context.WithCancel(t.Context())
		call := inBackground(func() error { return s.Publish(gone, message("t", "", 1)) })
		wantPending(t, call)
		four := inBackground(func() error { return s.Flush(t.Context()) })
		wantPending(t, four)
		cancel2()
		if err := takeFrom(t, four); err != nil {
			t.Fatal(err)
		}
		wantError(t, takeFrom(t, call), stream.ErrNotSent)
	})
	t.Run("of a stage too", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Queue: 10})
			in := make(chan frames.Message, 10)
			for n := range 10 {
				in <- numbered(n, 1)
			}
			close(in)
			out := s.PublishFrom(t.Context(), in)
			synctest.Wait()
			flushed := inBackground(func() error { return s.Flush(t.Context()) })
			for range 10 {
				wantPending(t, flushed)
				c.Complete(streamtest.Next[frames.Publish](c))
			}
			if err := takeFrom(t, flushed); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				takeFrom(t, out)
			}
		})
	})
}

// The reader must not reuse a batch while the loop still reads it. Thousands of acks would show
// that.
func TestThousandsOfQoS2PublicationsComplete(t *testing.T) {
	const n = 50_000
	b := streamtest.New(t)
	r := new(streamtest.Responder)
	b.Respond(r)
	s := open(t, b, &stream.Options{Window: 1000})
	acks := make(chan stream.Receipt, 4096)
	go func() {
		m := message("t", "p", 2)
		for range n {
			select {
			case s.Publishes() <- stream.Publishing{Message: m, Ack: acks}:
			case <-s.Done():
				return
			}
		}
	}()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for i := range n {
		select {
		case r := <-acks:
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		case <-late.C:
			t.Fatalf("%d of %d Receipts; %+v", i, n, s.Stats())
		}
	}
	if got := r.Received(frames.TypePublish); got != n {
		t.Errorf("%d PUBLISH", got)
	}
	if st := s.Stats(); st.Acknowledged != n || st.InFlight != 0 || st.Sent != n {
		t.Errorf("%+v", st)
	}
}

// The session writes each batch in one call of Write.
func TestBatchIsOneWrite(t *testing.T) {
	t.Run("a queue filled offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{Window: 100})
			offer(s, 0, 1000, 1, nil)
			c := b.Accept()
			c.ExpectConnect()
			before := c.Writes()
			c.Connack(false, frames.Success)
			for round := range 10 { // each round fills the whole window
				packets := nextPublishes(t, c, 100)
				if n := c.Writes() - before; n != round+1 {
					t.Fatalf("round %d: %d calls of Write", round, n)
				}
				answers := make([]frames.Packet, 100)
				for i, p := range packets {
					answers[i] = ack(puback, p.ID)
				}
				c.Send(answers...)
			}
			synctest.Wait()
			if n := s.Stats().Writes; n != 10 {
				t.Errorf("Stats says %d", n)
			}
		})
	})
	t.Run("a queue behind a broker that did not read", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Window: 100})
			before := c.Writes()
			c.Stall()
			offer(s, 0, 1000, 0, nil)
			synctest.Wait()
			if n := c.Writes() - before; n != 1 { // the one Write that is blocked
				t.Fatalf("%d calls of Write", n)
			}
			c.Resume()
			nextPublishes(t, c, 1000)
			if n := c.Writes() - before; n != 2 {
				t.Fatalf("%d calls of Write", n)
			}
		})
	})
	t.Run("of QoS 2", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{Window: 100})
			offer(s, 0, 100, 2, nil)
			c := b.Accept()
			c.ExpectConnect()
			before := c.Writes()
			c.Connack(false, frames.Success)
			nextPublishes(t, c, 100)
			c.Send(ackRun(pubrec, 1, 100)...)
			c.Expect(ackRun(pubrel, 1, 100)...)
			c.Send(ackRun(pubcomp, 1, 100)...)
			synctest.Wait()
			if n := c.Writes() - before; n != 2 {
				t.Fatalf("%d calls of Write", n)
			}
		})
	})
	t.Run("of acks", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{DiscardUnclaimed: true})
			before := c.Writes()
			c.Send(inboundRun("t", 1, 1, 400)...)
			c.Expect(ackRun(puback, 1, 400)...)
			// There is at most one write for each batch read, and there are few batches.
			if n, reads := c.Writes()-before, s.Stats().Reads; n > int(reads) || reads > 6 {
				t.Fatalf("%d calls of Write, %d batches read", n, reads)
			}
		})
	})
	t.Run("of 64 KiB of publishing", func(t *testing.T) {
		bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{})
			for range 640 {
				s.Publishes() <- stream.Publishing{Message: message("t", strings.Repeat("x", 1000), 0)}
			}
			c := b.Accept()
			c.ExpectConnect()
			before := c.Writes()
			c.Connack(false, frames.Success)
			nextPublishes(t, c, 640)
			if n := c.Writes() - before; n != 10 {
				t.Fatalf("%d calls of Write", n)
			}
		}, streamtest.Buffer(-1))
	})
}

// A call of Publish that found no room is refused by Shutdown, which then ends as ever.
func TestShutdownEndsWithACallThatFoundNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Queue: 1, KeepAlive: noPing})
		errs := make(chan error, 3)
		for range 3 { // one in flight, one in the queue, one without room
			go func() { errs <- s.Publish(context.Background(), message("t", "x", atLeast)) }()
			synctest.Wait()
		}
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		wantError(t, <-errs, stream.ErrNotSent, stream.ErrClosed)
		for range 2 {
			c.Send(ack(puback, streamtest.Next[frames.Publish](c).ID))
		}
		wantError(t, <-done, nil)
		for range 2 {
			wantError(t, <-errs, nil)
		}
	})
}

// Calls of Publish that use up the queue keep nothing else waiting: not Publishes, not Stats, not
// Close.
func TestPublishCallsLeaveRoomForOthers(t *testing.T) {
	b := streamtest.New(t)
	b.Respond(new(streamtest.Responder))
	s := open(t, b, &stream.Options{Queue: 1})
	<-s.Online()
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for !stop.Load() {
				s.Publish(t.Context(), message("t", "x", atMost))
			}
		})
	}
	acks := make(chan stream.Receipt, 1)
	for range 200 {
		s.Publishes() <- stream.Publishing{Message: message("t", "x", atMost), Ack: acks}
		if r := <-acks; r.Err != nil {
			t.Fatal(r.Err)
		}
		s.Stats()
	}
	s.Close()
	stop.Store(true)
	all.Wait()
}
