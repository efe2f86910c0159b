package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func unclaimed(st stream.Stats) int    { return st.Unclaimed }
func discarded(st stream.Stats) uint64 { return st.Discarded }

// Users of other clients report that messages are lost, or block the connection, if they arrive
// before a handler is set.
func TestUnclaimedMessagesWaitForTheClientsConsumers(t *testing.T) {
	for name, consume := range map[string]func(t *testing.T, s *stream.Session){
		"Messages": func(t *testing.T, s *stream.Session) { wantPayloads(t, s.Messages(), "1", "2", "3", "4") },
		"Deliveries": func(t *testing.T, s *stream.Session) {
			for i := range 4 {
				d := takeFrom(t, s.Deliveries())
				if string(d.Payload) != strconv.Itoa(i+1) {
					t.Fatalf("delivery %d is %q", i+1, d.Payload)
				}
				d.Ack()
			}
		},
		"All": func(t *testing.T, s *stream.Session) {
			i := 0
			for d, err := range s.All(t.Context()) {
				if i++; err != nil || string(d.Payload) != strconv.Itoa(i) {
					t.Fatalf("delivery %d is %q, %v", i, d.Payload, err)
				}
				if i == 4 {
					d.Ack()
					break
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				c.Send(publish("a", "1", atLeast, 1, false), publish("b/c", "2", exactly, 2, false),
					publish("a", "3", atMost, 0, false), publish("$SYS/x", "4", atLeast, 4, false))
				wantStat(t, s, "Unclaimed", unclaimed, 4)
				c.ExpectNone() // no ack, because no message has been delivered
				consume(t, s)
				c.Expect(ack(puback, 1), ack(pubrec, 2), ack(puback, 4))
				wantStat(t, s, "Unclaimed", unclaimed, 0)
				wantStat(t, s, "Discarded", discarded, 0)
			})
		})
	}
}

func TestMessageThatASubscriptionClaimsDoesNotGoToTheClientsChannels(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a/#", atLeast)
		rest := s.Messages()
		c.Send(publish("a/b", "claimed", atLeast, 1, false), publish("b", "unclaimed", atLeast, 2, false))
		wantPayloads(t, rest, "unclaimed")
		wantIdle(t, rest)
		wantPayloads(t, sub.Messages(), "claimed")
		wantIdle(t, sub.Messages())
		c.Expect(ackRun(puback, 1, 2)...)
	})
}

func TestSubscribeClaimsMatchingUnclaimedMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		for i := range 10 {
			topic := [...]string{"a/x", "b", "a/y"}[i%3]
			c.Send(inboundRun(topic, atLeast, i+1, 1)...)
		}
		wantStat(t, s, "Unclaimed", unclaimed, 10)
		sub := subscribed(t, s, c, "a/+", atLeast)
		wantStat(t, s, "Unclaimed", unclaimed, 3)
		ch := sub.Deliveries()
		for _, want := range []string{"1", "3", "4", "6", "7", "9", "10"} {
			d := takeFrom(t, ch)
			if string(d.Payload) != want {
				t.Fatalf("claimed %q, want %q", d.Payload, want)
			}
			d.Ack()
		}
		c.Expect(ack(puback, 1)) // message 2 waits for a consumer, and the later acks wait for its ack
		synctest.Wait()
		c.ExpectNone()
		wantPayloads(t, s.Messages(), "2", "5", "8")
		c.Expect(ackRun(puback, 2, 9)...)
	})
}

// When a kept session resumes, messages arrive before the program has called Subscribe.
func TestMessagesOfAResumedSessionWaitForTheirSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, keepingSession())
		c := b.Accept()
		c.ExpectConnect()
		c.Connack(true, frames.Success)
		c.Send(inboundRun("a", exactly, 1, 3)...)
		wantStat(t, s, "Unclaimed", unclaimed, 3)
		call := callSubscribe(t.Context(), t, s, filterOf("a", exactly))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		wantPayloads(t, call.granted().Messages(), countUp(1, 3)...)
		c.Expect(ackRun(pubrec, 1, 3)...)
	})
}

// After a reconnect, the broker sends undelivered QoS 1 and 2 messages again. The session must not
// keep a second copy.
func TestUnclaimedMessagesDoNotPileUpOverReconnects(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		t.Run(fmt.Sprintf("QoS %d", q), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, keepingSession())
				c.Send(inboundRun("a", q, 1, 10)...)
				wantStat(t, s, "Unclaimed", unclaimed, 10)
				for range 5 {
					c = droppedAndBack(t, s, b, c, true)
					c.Send(againRun("a", q, 1, 10)...)
					wantStat(t, s, "Unclaimed", unclaimed, 10)
				}
				wantPayloads(t, s.Messages(), countUp(1, 10)...)
				c.Expect(ackRun(map[frames.QoS]frames.Type{atLeast: puback, exactly: pubrec}[q], 1, 10)...)
				wantIdle(t, s.Messages())
			})
		})
	}
}

func TestUnclaimedTopicsAreLoggedOnceEach(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger()})
		subscribed(t, s, c, "claimed", atLeast)
		for i := range 5 {
			c.Send(inboundRun("one", atLeast, i*10+1, 3)...)
			c.Send(inboundRun("two", atMost, i*10+4, 2)...)
			c.Send(inboundRun("claimed", atLeast, i*10+6, 1)...)
		}
		for topic, want := range map[string]int{"topic=one": 1, "topic=two": 1, "topic=claimed": 0} {
			if n := log.count(topic); n != want {
				t.Errorf("%s was logged %d times, want %d:\n%s", topic, n, want, log.text.String())
			}
		}
	})
}

func TestDiscardUnclaimedAcksAndDrops(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{DiscardUnclaimed: true, Logger: log.logger()})
		sub := subscribed(t, s, c, "a", exactly)
		c.Send(publish("x", "1", atLeast, 1, false), publish("x", "2", exactly, 2, false),
			publish("x", "3", atMost, 0, false), publish("a", "4", exactly, 4, false))
		c.Expect(ack(puback, 1), ack(pubrec, 2))
		c.Send(publish("x", "2", exactly, 2, true)) // a duplicate of the message that already waits
		c.Send(ack(pubrel, 2))
		wantPayloads(t, sub.Messages(), "4")
		c.Expect(ack(pubcomp, 2), ack(pubrec, 4))
		wantStat(t, s, "Discarded", discarded, 3)
		wantStat(t, s, "Unclaimed", unclaimed, 0)
		wantIdle(t, s.Messages())
		if n := log.count("topic=x"); n != 0 {
			t.Fatalf("discarded messages are logged as waiting:\n%s", log.text.String())
		}
	})
}

// U18: only late messages of that very filter are dropped, and only until UNSUBACK.
func TestLateMessagesOfAFilterThatWasGivenUpAreAckedAndDropped(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		call := callSubscribe(ctx, t, s, filterOf("a/+", exactly), filterOf("$share/g/b", exactly))
		p := streamtest.Next[frames.Subscribe](c)
		cancel()
		wantError(t, call.ended(), context.Canceled)
		u := streamtest.Next[frames.Unsubscribe](c)
		c.Grant(p)
		c.Send(publish("a/1", "late", atLeast, 1, false), publish("b", "late", exactly, 2, false),
			publish("a/1", "late", atMost, 0, false), publish("other", "not late", atLeast, 3, false))
		c.Expect(ack(puback, 1), ack(pubrec, 2))
		c.Send(ack(pubrel, 2))
		c.Expect(ack(pubcomp, 2))
		wantStat(t, s, "Discarded", discarded, 3)
		wantPayloads(t, s.Messages(), "not late")
		c.Expect(ack(puback, 3))
		c.Send(unsuback(u), publish("a/1", "another filter has it", atLeast, 4, false))
		wantPayloads(t, s.Messages(), "another filter has it")
		wantStat(t, s, "Discarded", discarded, 3)
	})
}

// U18: a filter of the session that no Subscription has yet covers the topics of one that was given
// up.
func TestFilterThatWasGivenUpDropsNoMessagesOfALaterSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a/1", atLeast)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		unsubscribed(t, c, "a/1")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		c.Send(publish("a/1", "1", atLeast, 1, false))
		all := subscribed(t, s, c, "a/+", atLeast)
		c.Send(publish("a/1", "2", atLeast, 2, false))
		wantPayloads(t, all.Messages(), "1", "2")
		c.Expect(ackRun(puback, 1, 2)...)
		wantStat(t, s, "Discarded", discarded, 0)
	})
}

func TestMessagesOfASubscriptionThatNeverWasWaitUnclaimed(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Send(inboundRun("a", atLeast, 1, 2)...)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		call := callSubscribe(ctx, t, s, filterOf("a", atLeast))
		streamtest.Next[frames.Subscribe](c)
		rest := s.Messages()
		wantIdle(t, rest)
		cancel()
		wantError(t, call.ended(), context.Canceled)
		unsubscribed(t, c, "a")
		wantPayloads(t, rest, countUp(1, 2)...)
		c.Expect(ackRun(puback, 1, 2)...)
	})
}

// U16: a Subscribe that ends without success costs no message of a kept session.
func TestAbandonedSubscribeLosesNoMessageOfAKeptSession(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused %v", refused), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, keepingSession())
				c := b.Accept()
				c.ExpectConnect()
				c.Connack(true, frames.Success)
				c.Send(inboundRun("a", exactly, 1, 2)...)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				call := callSubscribe(ctx, t, s, filterOf("a", exactly), filterOf("b", atLeast))
				p := streamtest.Next[frames.Subscribe](c)
				c.Send(inboundRun("a", exactly, 3, 2)...)
				if refused {
					c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{2, frames.UnspecifiedError}})
					if err := call.ended(); !errors.As(err, new(*stream.RefusedError)) {
						t.Fatal(err)
					}
				} else {
					<-call.done
					wantError(t, call.ended(), context.DeadlineExceeded)
				}
				c.Send(inboundRun("a", exactly, 5, 2)...)
				wantStat(t, s, "Unclaimed", unclaimed, 6)
				wantStat(t, s, "Discarded", discarded, 0)
				c.ExpectNone() // neither an ack nor UNSUBSCRIBE

				sub := subscribed(t, s, c, "a", exactly)
				wantPayloads(t, sub.Messages(), countUp(1, 6)...)
				c.Expect(ackRun(pubrec, 1, 6)...)
			})
		})
	}
}

func TestMessageThatOthersHaveIsNotReturnedToTheUnclaimed(t *testing.T) {
	for _, q := range []frames.QoS{atMost, atLeast, exactly} {
		t.Run(fmt.Sprintf("QoS %d", q), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				stays := subscribed(t, s, c, "#", exactly)
				ctx, cancel := context.WithCancel(t.Context())
				call := callSubscribe(ctx, t, s, filterOf("a", atLeast))
				streamtest.Next[frames.Subscribe](c)
				c.Send(inboundRun("a", q, 1, 3)...)
				wantPayloads(t, stays.Messages(), countUp(1, 3)...)
				synctest.Wait() // wait for the ack of the last message
				cancel()
				wantError(t, call.ended(), context.Canceled)
				if q > atMost {
					c.Expect(ackRun(map[frames.QoS]frames.Type{atLeast: puback, exactly: pubrec}[q], 1, 3)...)
				}
				unsubscribed(t, c, "a")
				wantStat(t, s, "Inbox", func(st stream.Stats) int { return st.Inbox }, 0)
				wantIdle(t, s.Messages())
			})
		})
	}
}

func TestMessagesOfAFailedSubscribeGoToALaterSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Send(inboundRun("a", atLeast, 1, 2)...)
		ctx, cancel := context.WithCancel(t.Context())
		call := callSubscribe(ctx, t, s, filterOf("+", atLeast))
		streamtest.Next[frames.Subscribe](c)
		call.pending()
		stays := subscribed(t, s, c, "a", atLeast)
		ch := stays.Messages()
		wantIdle(t, ch)
		cancel()
		wantError(t, call.ended(), context.Canceled)
		wantPayloads(t, ch, countUp(1, 2)...)
		unsubscribed(t, c, "+")
		c.Expect(ackRun(puback, 1, 2)...)
	})
}

func TestUnclaimedQoS0IsBoundedByReceiveBytes(t *testing.T) {
	cost := costOfMessage(t, "a", 1)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 5 * cost})
		c.Send(inboundRun("a", atMost, 1, 9)...)
		wantStat(t, s, "Unclaimed", unclaimed, 5)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 4)
		wantPayloads(t, s.Messages(), countUp(5, 5)...)
	})
}

func TestClientsConsumersEndWithTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		errs := make(chan error, 1)
		go func() {
			defer close(errs)
			for _, err := range s.All(context.Background()) {
				errs <- err
			}
		}()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("a minute"))
		defer cancel()
		messages, deliveries := s.Messages(), s.Deliveries()
		for _, err := range s.All(ctx) {
			wantError(t, err, context.Cause(ctx))
		}
		wantIdle(t, messages)
		c.Expect(frames.Pingreq{})
		s.Close()
		wantEnd(t, messages)
		wantEnd(t, deliveries)
		wantEnd(t, errs)
	})
}
