package stream_test

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// observed has the events that an Observer saw. Read it only while the bubble is idle.
type observed struct {
	mu        sync.Mutex
	published []stream.Published
	delivered []stream.Delivered
	acked     []stream.Acked
	attempts  []stream.Attempted
	warnings  []slog.Record
}

func (o *observed) observer() *stream.Observer {
	return &stream.Observer{
		Published: func(row []stream.Published) { addRow(o, &o.published, row...) },
		Delivered: func(row []stream.Delivered) { addRow(o, &o.delivered, row...) },
		Acked:     func(row []stream.Acked) { addRow(o, &o.acked, row...) },
		Attempt:   func(a stream.Attempted) { addRow(o, &o.attempts, a) },
		Warned:    func(r slog.Record) { addRow(o, &o.warnings, r.Clone()) },
	}
}

func addRow[T any](o *observed, to *[]T, row ...T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*to = append(*to, row...)
}

// wantDelivered expects that the messages 1 and 2 of inboundRun were received at the given time,
// and that their durations up to the hand-over have the given sum.
func (o *observed) wantDelivered(t *testing.T, received time.Time, sum time.Duration, identified bool) {
	t.Helper()
	var got time.Duration
	for i, d := range o.delivered {
		got += d.Waited
		if !d.Received.Equal(received) || string(d.Payload) != countUp(1, 2)[i] || d.Topic != "a" || identified && d.ID != uint16(i+1) {
			t.Errorf("delivered %d: %+v", i, d)
		}
	}
	if len(o.delivered) != 2 || got != sum {
		t.Errorf("%d messages delivered after %v in sum, want 2 after %v", len(o.delivered), got, sum)
	}
}

// wantAcked expects the acks of the first n of these messages.
func (o *observed) wantAcked(t *testing.T, n int, sum time.Duration) {
	t.Helper()
	var got time.Duration
	for i, a := range o.acked {
		got += a.Took
		if a.Topic != "a" || a.QoS != atLeast || a.ID != uint16(i+1) || a.Code != frames.Success {
			t.Errorf("acked %d: %+v", i, a)
		}
	}
	if len(o.acked) != n || got != sum {
		t.Errorf("%d acks after %v in sum, want %d after %v", len(o.acked), got, n, sum)
	}
}

func TestTheObserverSeesHowEachPublicationEnds(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var seen observed
		s, c := connected(t, b, &stream.Options{Window: 1, Queue: 1, Full: 1, Observer: seen.observer()})
		receipts := make(chan stream.Receipt, 10)
		began := time.Now()
		for i, payload := range []string{"acked", "lost", "refused"} {
			s.Publishes() <- stream.Publishing{Message: message("a", payload, atLeast), Tag: i, Ack: receipts}
			synctest.Wait()
		}
		p := streamtest.Next[frames.Publish](c)
		elapse(time.Second)
		c.Complete(p)
		streamtest.Next[frames.Publish](c)
		elapse(time.Second)
		c.Drop()
		lost(t, s)
		synctest.Wait()
		want := []struct {
			payload string
			tag     int
			took    time.Duration
			err     error
		}{{"refused", 2, 0, stream.ErrFull}, {"acked", 0, time.Second, nil}, {"lost", 1, 2 * time.Second, stream.ErrUnconfirmed}}
		if len(seen.published) != len(want) || len(receipts) != len(want) {
			t.Fatalf("%d publications seen and %d Receipts, want %d", len(seen.published), len(receipts), len(want))
		}
		for i, w := range want {
			got := seen.published[i]
			if string(got.Payload) != w.payload || got.Tag != w.tag || got.Took != w.took || !got.Accepted.Equal(began) || !errors.Is(got.Err, w.err) {
				t.Errorf("publication %d: got %+v, want %+v", i, got, w)
			}
			if r := <-receipts; r.Tag != got.Tag || r.ID != got.ID || r.Err != got.Err {
				t.Errorf("publication %d: the Receipt is %+v", i, r)
			}
		}
		if st := s.Stats(); st.NotSent != 1 || st.Unconfirmed != 1 || st.Failed != 0 || st.Resent != 0 {
			t.Errorf("%d not sent, %d unconfirmed, %d failed, %d sent again", st.NotSent, st.Unconfirmed, st.Failed, st.Resent)
		}
	})
}

func TestStatsCountPublicationsSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
		streamtest.Next[frames.Publish](c)
		c = droppedAndBack(t, s, b, c, true)
		c.Complete(streamtest.Next[frames.Publish](c))
		synctest.Wait()
		if st := s.Stats(); st.Resent != 1 || st.Sent != 2 || st.Lost != 1 {
			t.Errorf("%d sent again of %d, %d connections lost", st.Resent, st.Sent, st.Lost)
		}
	})
}

// Warnings come with and without a Logger, and at any level of the Logger.
func TestTheObserverSeesWarnings(t *testing.T) {
	for name, level := range map[string]slog.Leveler{"no Logger": nil, "at Error": slog.LevelError, "at Debug": slog.LevelDebug} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				var seen observed
				var text record
				o := &stream.Options{Observer: seen.observer()}
				if level != nil {
					o.Logger = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level}))
				}
				s, c := connected(t, b, o)
				s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
				streamtest.Next[frames.Publish](c)
				c.Drop()
				lost(t, s)
				synctest.Wait()
				if len(seen.warnings) != 1 || seen.warnings[0].Level != slog.LevelWarn {
					t.Fatalf("warnings: %v", seen.warnings)
				}
				var keys []string
				seen.warnings[0].Attrs(func(a slog.Attr) bool { keys = append(keys, a.Key); return true })
				if !slices.Equal(keys, []string{"topic", "QoS", "error", "count"}) {
					t.Errorf("attributes: %v", keys)
				}
			})
		})
	}
}

// A function that panics ends nothing, and the log names the first panic.
func TestAPanicOfTheObserverEndsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var book logBook
		calls := make(map[string]int)
		var mu sync.Mutex
		panics := func(name string) {
			mu.Lock()
			calls[name]++
			mu.Unlock()
			panic("by " + name)
		}
		s, c := connected(t, b, &stream.Options{Logger: book.logger(), Observer: &stream.Observer{
			Published: func([]stream.Published) { panics("Published") },
			Delivered: func([]stream.Delivered) { panics("Delivered") },
			Acked:     func([]stream.Acked) { panics("Acked") },
			Attempt:   func(stream.Attempted) { panics("Attempt") },
			Warned:    func(slog.Record) { panics("Warned") },
		}})
		sub := subscribed(t, s, c, "a", atLeast)
		for id := range 2 {
			s.Publishes() <- stream.Publishing{Message: message("b", "x", atLeast)}
			c.Complete(streamtest.Next[frames.Publish](c))
			c.Send(inboundRun("a", atLeast, id+1, 1)...)
			takeFrom(t, sub.Deliveries()).Ack()
			c.Expect(ack(puback, uint16(id+1)))
		}
		synctest.Wait()
		for name, n := range map[string]int{"Published": 2, "Delivered": 2, "Acked": 2, "Attempt": 1, "Warned": 1} {
			if calls[name] != n {
				t.Errorf("%s was called %d times, want %d", name, calls[name], n)
			}
		}
		if !s.State().Online {
			t.Errorf("the session is offline: %v", s.State().Err)
		}
		if n := book.count("function=Attempt panic=\"by Attempt\""); n != 1 || book.count("panicked") != 1 {
			t.Errorf("the first panic was logged %d times, and all %d times", n, book.count("panicked"))
		}
	})
}

// Serve and Requests record their messages too. A request and its reply have no Tag of the user.
func TestTheObserverSeesRequestsAndReplies(t *testing.T) {
	if version < frames.V5 {
		return
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var seen observed
		s, c := requester(t, b, &stream.Options{Observer: seen.observer()})
		serving(t.Context(), s, c, echo)
		elapse(time.Second)
		asked := c.Publish(inquiry("one", 1))
		reply := streamtest.Next[frames.Publish](c)
		elapse(time.Second)
		c.Complete(reply)
		c.ExpectAck(asked...)
		synctest.Wait()
		if len(seen.delivered) != 1 || string(seen.delivered[0].Payload) != "one" || seen.delivered[0].Properties.ResponseTopic != "back" {
			t.Errorf("delivered: %+v", seen.delivered)
		}
		if len(seen.published) != 1 || seen.published[0].Topic != "back" || seen.published[0].Tag != nil || seen.published[0].Took != time.Second {
			t.Errorf("published: %+v", seen.published)
		}
		if len(seen.acked) != 1 || seen.acked[0].Topic != "q" || seen.acked[0].Took != time.Second {
			t.Errorf("acked: %+v", seen.acked)
		}
	})
}

func TestTheObserverSeesRejectionsAndUnclaimedMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var seen observed
		s, c := connected(t, b, &stream.Options{Observer: seen.observer()})
		c.Send(inboundRun("a", exactly, 1, 1)...)
		takeFrom(t, s.Deliveries()).Reject(frames.QuotaExceeded, "")
		synctest.Wait()
		if len(seen.delivered) != 1 || len(seen.acked) != 1 || seen.acked[0].Code != frames.QuotaExceeded || seen.acked[0].QoS != exactly {
			t.Errorf("delivered %+v, acked %+v", seen.delivered, seen.acked)
		}
	})
}

// A message that Unsubscribe drops is neither handed over nor acknowledged by a consumer.
func TestADroppedMessageIsNotHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var seen observed
		s, c := connected(t, b, &stream.Options{Observer: seen.observer()})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		messages := sub.Messages()
		takeFrom(t, messages)
		c.Expect(ack(puback, 1))
		left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		c.Send(unsuback(streamtest.Next[frames.Unsubscribe](c)))
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if st := s.Stats(); st.HandedOver != 1 || st.Discarded != 2 || len(seen.delivered) != 1 || len(seen.acked) != 1 {
			t.Errorf("%d handed over, %d discarded, %d seen, %d acks seen", st.HandedOver, st.Discarded, len(seen.delivered), len(seen.acked))
		}
	})
}

// A consumer takes messages in chunks, and those that it puts back were not handed over. A counter
// that falls would look like a client that began anew.
func TestHandedOverCountsMessagesThatConsumersGot(t *testing.T) {
	for name, receive := range map[string]func(t *testing.T, sub *stream.Subscription, c *streamtest.Conn, want func(n uint64)){
		"Messages": func(t *testing.T, sub *stream.Subscription, _ *streamtest.Conn, want func(uint64)) {
			ch := sub.Messages()
			for n := range uint64(5) {
				want(n)
				takeFrom(t, ch)
			}
			want(5)
		},
		"All with a break": func(t *testing.T, sub *stream.Subscription, _ *streamtest.Conn, want func(uint64)) {
			for n := range uint64(5) {
				want(n)
				for range sub.All(t.Context()) {
					want(n + 1)
					break
				}
			}
			want(5)
		},
		"Latest": func(t *testing.T, sub *stream.Subscription, _ *streamtest.Conn, want func(uint64)) {
			ch := sub.Latest(stream.LatestOptions{N: 2})
			want(0)
			takeFrom(t, ch)
			takeFrom(t, ch)
			want(2)
		},
		"Batches": func(t *testing.T, sub *stream.Subscription, _ *streamtest.Conn, want func(uint64)) {
			ch := sub.Batches(2, 0)
			want(0)
			takeFrom(t, ch)
			want(2)
		},
		"Deliveries and Unsubscribe": func(t *testing.T, sub *stream.Subscription, c *streamtest.Conn, want func(uint64)) {
			takeFrom(t, sub.Deliveries())
			want(5)
			left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			c.Send(unsuback(streamtest.Next[frames.Unsubscribe](c)))
			if err := <-left; err != nil {
				t.Error(err)
			}
			want(5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atMost)
				c.Send(inboundRun("a", atMost, 1, 5)...)
				receive(t, sub, c, func(n uint64) {
					t.Helper()
					synctest.Wait()
					if st := s.Stats(); st.HandedOver != n {
						t.Errorf("%d messages handed over, want %d", st.HandedOver, n)
					}
				})
			})
		})
	}
}
