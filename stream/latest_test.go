package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// All acks are sent before anybody receives.
func TestLatestAcknowledgesOnArrivalAndKeepsTheNewest(t *testing.T) {
	for _, n := range []int{0, 1, 3} { // 0 is 1
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "#", exactly)
				ch := sub.Latest(stream.LatestOptions{N: n})
				c.Send(inboundRun("a", atLeast, 1, 100)...)
				c.Expect(ackRun(puback, 1, 100)...)
				c.Send(inboundRun("b", exactly, 101, 100)...)
				c.Expect(ackRun(pubrec, 101, 100)...)
				keeps := max(1, n)
				wantStat(t, s, "Superseded", func(st stream.Stats) int { return int(st.Superseded) }, 200-keeps)
				wantStat(t, s, "Inbox", func(st stream.Stats) int { return st.Inbox }, keeps)
				wantPayloads(t, ch, countUp(201-keeps, keeps)...)
				wantIdle(t, ch)
				synctest.Wait()
				if st := s.Stats(); st.Inbox != 0 || st.InboxBytes != 0 {
					t.Errorf("after all were received: %+v", st)
				}
			})
		})
	}
}

// The first message is offered while the others arrive one by one.
func TestANewerMessageReplacesTheOfferedOne(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ch := subscribed(t, s, c, "a", atMost).Latest(stream.LatestOptions{})
		for i := 1; i <= 20; i++ {
			c.Send(inboundRun("a", atMost, i, 1)...)
			synctest.Wait()
			if i%5 == 0 {
				wantPayloads(t, ch, fmt.Sprint(i))
				wantIdle(t, ch)
			}
		}
	})
}

func TestLatestPerTopicGivesEachTopicItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ch := subscribed(t, s, c, "#", atLeast).Latest(stream.LatestOptions{N: 2, PerTopic: true})
		id := uint16(0)
		send := func(messages string) {
			for m := range strings.FieldsSeq(messages) {
				id++
				c.Send(publish(m[:1], m, atLeast, id, false))
				c.Expect(ack(puback, id))
			}
		}
		send("a1 b1 a2 a3 c1")
		wantPayloads(t, ch, "a2")
		send("c2 a4 a5 c3") // a5 and c3 supersede
		wantPayloads(t, ch, "b1", "c2", "a4", "c3", "a5")
		wantIdle(t, ch)
		wantStat(t, s, "Superseded", func(st stream.Stats) int { return int(st.Superseded) }, 3)
	})
}

// A dashboard must see that a retained message was deleted.
func TestLatestHandsOverMessagesWithoutPayload(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ch := subscribed(t, s, c, "#", atLeast).Latest(stream.LatestOptions{PerTopic: true})
		kept := publish("a", "on", atMost, 0, false)
		kept.Retain = true
		c.Send(kept)
		if m := takeFrom(t, ch); !m.Retain || string(m.Payload) != "on" || m.Topic != "a" {
			t.Errorf("received %+v", m)
		}
		c.Send(kept, publish("a", "", atMost, 0, false))
		wantPayloads(t, ch, "")
		wantIdle(t, ch)
	})
}

// The read buffers are used again while the message is kept.
func TestLatestKeepsCopies(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "#", atLeast)
		ch := sub.Latest(stream.LatestOptions{N: 2, PerTopic: true})
		first := publish("a", "first", atMost, 0, false)
		if version >= frames.V5 {
			first.Properties = &frames.Properties{ContentType: "t", Correlation: []byte("c")}
		}
		for i := range 100 {
			if i == 50 {
				c.Send(first)
			}
			c.Send(publish("b", strings.Repeat("y", 40_000), atMost, 0, false))
			synctest.Wait()
		}
		takeFrom(t, ch) // of the topic b, which came first
		m := takeFrom(t, ch)
		if q := m.Properties; string(m.Payload) != "first" || version >= frames.V5 && (q.ContentType != "t" || string(q.Correlation) != "c") {
			t.Errorf("received %.20q with %+v", m.Payload, q)
		}
		wantStat(t, s, "Superseded", func(st stream.Stats) int { return int(st.Superseded) }, 98)
	})
}

func TestLatestIsTheSameChannelForTheSameOptions(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Latest(stream.LatestOptions{N: 1})
		if sub.Latest(stream.LatestOptions{}) != ch || sub.Latest(stream.LatestOptions{N: 2}) == ch || sub.Latest(stream.LatestOptions{PerTopic: true}) == ch {
			t.Error("the options do not decide which channel it is")
		}
	})
}

func TestLatestNamesTheOptionThatIsWrong(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		wantEnd(t, sub.Latest(stream.LatestOptions{N: -1}))
		var option *stream.OptionError
		if err := sub.Err(); !errors.As(err, &option) || option.Field != "N" || err.Error() != "mqtt: N -1 is below 1" {
			t.Errorf("Err is %v", err)
		}
		wantIdle(t, sub.Messages()) // the Subscription goes on
	})
}

func TestLatestDeliversKeptMessagesBeforeItEnds(t *testing.T) {
	for _, how := range []string{"Drain", "the connection"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{NoReconnect: true})
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Latest(stream.LatestOptions{N: 2})
				c.Send(inboundRun("a", atLeast, 1, 5)...)
				c.Expect(ackRun(puback, 1, 5)...)
				var done <-chan error
				if how == "Drain" {
					done = inBackground(func() error { return sub.Drain(t.Context()) })
					c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
				} else {
					c.Drop()
				}
				wantPayloads(t, ch, "4")
				wantIdle(t, done)
				select {
				case <-s.Done():
					t.Error("the session has ended before its messages were received")
				default:
				}
				wantPayloads(t, ch, "5")
				wantEnd(t, ch)
				if how == "Drain" {
					if err := takeFrom(t, done); err != nil {
						t.Error(err)
					}
				} else {
					wantLevel(t, s.Done())
				}
			})
		})
	}
}

// The messages were acknowledged, so Stats counts them as discarded.
func TestLatestDropsItsMessagesAtOtherEnds(t *testing.T) {
	for name, end := range map[string]func(*stream.Session, *stream.Subscription) error{
		"Unsubscribe": func(_ *stream.Session, sub *stream.Subscription) error { return sub.Unsubscribe(context.Background()) },
		"Shutdown":    func(s *stream.Session, _ *stream.Subscription) error { return s.Shutdown(context.Background()) },
		"Close":       func(s *stream.Session, _ *stream.Subscription) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Latest(stream.LatestOptions{N: 3})
				c.Send(inboundRun("a", atLeast, 1, 5)...)
				c.Expect(ackRun(puback, 1, 5)...)
				done := inBackground(func() error { return end(s, sub) })
				if name == "Unsubscribe" {
					c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
				} else {
					c.ExpectDisconnect()
					c.Drop()
				}
				if err := takeFrom(t, done); err != nil {
					t.Error(err)
				}
				wantEnd(t, ch)
				if err := sub.Err(); err != nil {
					t.Error(err)
				}
				if st := s.Stats(); st.Superseded != 2 || st.Discarded != 3 || st.Inbox != 0 || st.InboxBytes != 0 {
					t.Errorf("5 messages arrived, of which 3 were kept: %+v", st)
				}
			})
		})
	}
}

// A Drain that nobody serves is given up by Unsubscribe.
func TestUnsubscribeDuringDrainEmptiesLatest(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Latest(stream.LatestOptions{N: 3})
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		c.Expect(ackRun(puback, 1, 3)...)
		drained := inBackground(func() error { return sub.Drain(context.Background()) })
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		elapse(time.Hour)
		wantIdle(t, drained)
		if err := sub.Unsubscribe(context.Background()); err != nil {
			t.Error(err)
		}
		if err := takeFrom(t, drained); err != nil {
			t.Error(err)
		}
		wantEnd(t, ch)
		wantStat(t, s, "Discarded", func(st stream.Stats) int { return int(st.Discarded) }, 3)
	})
}

func TestLatestGoesOnAfterAReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		ch := subscribed(t, s, c, "a", exactly).Latest(stream.LatestOptions{N: 2})
		c.Send(inboundRun("a", exactly, 1, 3)...)
		c.Expect(ackRun(pubrec, 1, 3)...)
		c = droppedAndBack(t, s, b, c, true)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Send(againRun("a", exactly, 3, 1)...) // its PUBREC was lost
		c.Expect(ack(pubrec, 3))
		wantPayloads(t, ch, "2", "3")
		wantIdle(t, ch)
		c.Send(inboundRun("a", exactly, 4, 1)...)
		wantPayloads(t, ch, "4")
	})
}

// A consumer that sleeps neither pauses reading nor costs other Subscriptions their messages.
func TestLatestKeepsAtMostReceiveBytes(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		const limit, n, size = 1 << 20, 500, 10_000
		s, c := connected(t, b, &stream.Options{MaxPacket: limit, ReceiveBytes: limit, MaxUnread: limit})
		ch := subscribed(t, s, c, "+", atLeast).Latest(stream.LatestOptions{N: 10, PerTopic: true})
		other := subscribed(t, s, c, "other/#", atMost)
		c.Send(publish("other/1", "x", atMost, 0, false))
		payload := strings.Repeat("x", size)
		for i := 1; i <= n; i++ {
			c.Send(publish(fmt.Sprint(i), payload, atLeast, uint16(i), false))
			c.Expect(ack(puback, uint16(i)))
		}
		synctest.Wait()
		st := s.Stats()
		kept := st.Inbox - 1
		if st.InboxBytes > limit+size || st.InboxBytes < kept*size || kept < 100 || st.Paused || st.Dropped != 0 || int(st.Superseded) != n-kept {
			t.Errorf("%d are kept: %+v", kept, st)
		}
		for i := n - kept + 1; i <= n; i++ { // the topics updated longest ago are gone
			if m := takeFrom(t, ch); m.Topic != fmt.Sprint(i) {
				t.Fatalf("received %s, want %d", m.Topic, i)
			}
		}
		wantIdle(t, ch)
		wantPayloads(t, other.Messages(), "x")
	})
}

// Small messages come with large ones in the same reads. They do not keep the memory of the reads.
func TestLatestHoldsOnlyTheMemoryThatIsCounted(t *testing.T) {
	b := streamtest.New(t)
	s, c := connected(t, b, nil)
	large := subscribed(t, s, c, "large", atMost).Messages()
	ch := subscribed(t, s, c, "small/#", atMost).Latest(stream.LatestOptions{PerTopic: true})
	payload := strings.Repeat("x", 60<<10)
	round := func(i int) {
		c.Send(publish("large", payload, atMost, 0, false), publish(fmt.Sprint("small/", i), fmt.Sprint(i), atMost, 0, false))
		<-large
	}
	const warm, n = 20, 500 // the buffers of the test broker grow first
	for i := range warm {
		round(i)
	}
	before := inUse()
	for i := range n {
		round(warm + i)
	}
	held, st := inUse()-before, s.Stats()
	t.Logf("%d messages count %d bytes, hold %d, and the heap grew by %d", st.Inbox, st.InboxBytes, st.InboxMemory, held)
	if st.InboxMemory > 2*st.InboxBytes+256<<10 || held > 2<<20 {
		t.Errorf("the heap grew by %d bytes: %+v", held, st)
	}
	for i := range warm + n {
		if m := <-ch; string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Payload)
		}
	}
}

func TestReceiversOfLatestShareTheMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "#", atLeast)
		var mu sync.Mutex
		var got []string
		for n := 1; n <= 4; n++ {
			ch := sub.Latest(stream.LatestOptions{N: n % 3, PerTopic: n == 4})
			go func() {
				for m := range ch {
					mu.Lock()
					got = append(got, string(m.Payload))
					mu.Unlock()
					elapse(time.Duration(n) * time.Second)
				}
			}()
		}
		const n = 2000
		for first := 1; first <= n; first += 100 {
			c.Send(inboundRun(fmt.Sprint(first%300), atLeast, first, 100)...)
			elapse(time.Second)
		}
		elapse(time.Minute)
		c.Expect(ackRun(puback, 1, n)...)
		if st := s.Stats(); int(st.Superseded)+len(got) != n || st.Inbox != 0 {
			t.Errorf("%d received and %d superseded of %d", len(got), st.Superseded, n)
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != len(got) {
			t.Error("a message was received twice")
		}
	})
}
