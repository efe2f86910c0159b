package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// unsubscribed expects an UNSUBSCRIBE for the given topics, and sends UNSUBACK.
func unsubscribed(t *testing.T, c *streamtest.Conn, topics ...string) {
	t.Helper()
	p := streamtest.Next[frames.Unsubscribe](c)
	if !slices.Equal(p.Topics, topics) {
		t.Fatalf("UNSUBSCRIBE for %q, want %q", p.Topics, topics)
	}
	c.Unsuback(p)
}

// asked returns the next SUBSCRIBE, which must contain the given filters.
func asked(t *testing.T, c *streamtest.Conn, filters ...frames.Filter) frames.Subscribe {
	t.Helper()
	p := streamtest.Next[frames.Subscribe](c)
	if !slices.Equal(p.Filters, filters) {
		t.Fatalf("SUBSCRIBE for %v, want %v", p.Filters, filters)
	}
	return p
}

func TestGrantsComeInTheOrderOfTheFilters(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		filters := []frames.Filter{filterOf("a", exactly), filterOf("b/#", atLeast), filterOf("+/c", exactly), filterOf("d", atMost)}
		call := callSubscribe(t.Context(), t, s, filters...)
		p := asked(t, c, filters...)
		call.pending()
		granted := []frames.QoS{exactly, atMost, atLeast, atMost}
		c.Send(frames.Suback{ID: p.ID, Codes: codesOf(granted...)})
		if got := call.granted().Granted(); !slices.Equal(got, granted) {
			t.Fatalf("granted %v, want %v", got, granted)
		}
		wantStat(t, s, "Subscribed", func(st stream.Stats) int { return st.Subscribed }, 1)
	})
}

func TestGrantedIsTheCallersOwn(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		filters := []frames.Filter{filterOf("a", atLeast)}
		call := callSubscribe(t.Context(), t, s, filters...)
		c.Grant(asked(t, c, filters...))
		sub := call.granted()
		sub.Granted()[0] = exactly
		filters[0].Topic = "changed" // no effect, since Subscribe has copied the slice
		if got := sub.Granted(); got[0] != atLeast {
			t.Fatalf("granted %v", got)
		}
		c = droppedAndBack(t, s, b, c, false)
		c.Grant(asked(t, c, filterOf("a", atLeast)))
	})
}

// Users of other clients report that a rejected filter goes unnoticed.
func TestRefusedFilterEndsSubscribeAndTheGrantedOnesAreUnsubscribed(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("secret", atLeast), filterOf("c", atLeast))
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1, frames.UnspecifiedError, 0}})
		err := call.ended()
		var refused *stream.RefusedError
		if !errors.As(err, &refused) || len(refused.Filters) != 1 || refused.Filters[0] != filterOf("secret", atLeast) {
			t.Fatalf("error is %v", err)
		}
		if text := err.Error(); !strings.Contains(text, `"secret"`) || strings.Contains(text, `"a"`) {
			t.Fatalf("the error reads %q", text)
		}
		u := streamtest.Next[frames.Unsubscribe](c)
		if want := []string{"a", "c"}; !slices.Equal(u.Topics, want) {
			t.Fatalf("UNSUBSCRIBE for %q, want %q", u.Topics, want)
		}
		wantStat(t, s, "Subscribed", func(st stream.Stats) int { return st.Subscribed }, 0)
		c.Send(publish("c", "still on its way", atLeast, 8, false), unsuback(u))
		c.Expect(ack(puback, 8)) // the message is discarded: it matches no Subscription
		wantStat(t, s, "Unclaimed", func(st stream.Stats) int { return st.Unclaimed }, 0)
		c = droppedAndBack(t, s, b, c, false)
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestRefusalIsComparedFilterByFilter(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b", exactly), filterOf("c", atMost))
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{frames.UnspecifiedError, frames.UnspecifiedError, frames.UnspecifiedError}})
		var refused *stream.RefusedError
		if err := call.ended(); !errors.As(err, &refused) || len(refused.Filters) != 3 || refused.Filters[1].Topic != "b" {
			t.Fatalf("error is %v", err)
		}
		synctest.Wait()
		c.ExpectNone() // no UNSUBSCRIBE, because the broker granted no filter
	})
}

// T1: the broker sends SUBACK late or never.
func TestSubscribeThatIsNeverAnsweredEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		call := callSubscribe(ctx, t, s, filterOf("a", atLeast), filterOf("b", atMost))
		p := streamtest.Next[frames.Subscribe](c)
		<-call.done
		err := call.ended()
		wantError(t, err, context.DeadlineExceeded)
		if want := "mqtt: context deadline exceeded: no answer to SUBSCRIBE for 5s; connected 5s ago"; !strings.HasPrefix(want, err.Error()) {
			t.Fatalf("the error reads %q", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Fatalf("Subscribe took %v, want 5 s", took)
		}
		u := streamtest.Next[frames.Unsubscribe](c)
		c.Grant(p) // a late SUBACK has no effect on the call
		c.Send(publish("a", "x", atLeast, 1, false))
		c.Expect(ack(puback, 1)) // the message is discarded: it matches no Subscription
		c.Unsuback(u)
		wantStat(t, s, "Discarded", func(st stream.Stats) uint64 { return st.Discarded }, 1)
		if sub := subscribed(t, s, c, "a", atLeast); sub.Err() != nil {
			t.Fatal(sub.Err())
		}
		wantStat(t, s, "Connections", func(st stream.Stats) uint64 { return st.Connections }, 1)
	})
}

func TestSubscribeEndsWithTheCauseOfItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		call := callSubscribe(ctx, t, s, filterOf("a", atLeast))
		streamtest.Next[frames.Subscribe](c)
		cancel(cause)
		wantError(t, call.ended(), cause)
		unsubscribed(t, c, "a")

		wantError(t, callSubscribe(ctx, t, s, filterOf("b", atLeast)).ended(), cause) // sends no packet
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestSubscribeGivenUpOfflineIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		call := callSubscribe(ctx, t, s, filterOf("a", atLeast))
		call.pending()
		cancel()
		wantError(t, call.ended(), context.Canceled)
		c := b.Handshake(false)
		synctest.Wait()
		c.ExpectNone()
	})
}

// U16: the session at the broker may have had the filter before.
func TestSubscribeGivenUpOfflineLeavesAKeptSessionAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		ctx, cancel := context.WithCancel(t.Context())
		call := callSubscribe(ctx, t, s, filterOf("a", atLeast))
		streamtest.Next[frames.Subscribe](c) // the broker may have received the SUBSCRIBE
		c.Drop()
		lost(t, s)
		cancel()
		wantError(t, call.ended(), context.Canceled)
		c = b.Handshake(true)
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestMessagesThatComeBeforeTheSubackAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		call.pending()
		c.Grant(p)
		c.Send(inboundRun("a", atLeast, 4, 1)...)
		wantPayloads(t, call.granted().Messages(), countUp(1, 4)...)
		c.Expect(ackRun(puback, 1, 4)...)
	})
}

func TestSameFilterInTwoSubscriptionsAsksForTheHigherQoS(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		first := subscribed(t, s, c, "a", exactly)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atMost), filterOf("b", atMost))
		c.Grant(asked(t, c, filterOf("a", exactly), filterOf("b", atMost))) // keeps the QoS of the first Subscription
		second := call.granted()
		call = callSubscribe(t.Context(), t, s, filterOf("$share/g/a", atMost))
		c.Grant(asked(t, c, filterOf("$share/g/a", atMost))) // a separate filter with the same topics
		call.granted()

		c = droppedAndBack(t, s, b, c, false)
		for range 3 {
			for _, f := range func() []frames.Filter { p := streamtest.Next[frames.Subscribe](c); c.Grant(p); return p.Filters }() {
				if f.Topic == "a" && f.QoS != exactly {
					t.Fatalf("restored with %v", f)
				}
			}
		}
		c.Send(publish("a", "both", atLeast, 1, false))
		wantPayloads(t, first.Messages(), "both")
		wantPayloads(t, second.Messages(), "both")
	})
}

func TestFilterThatAnotherSubscriptionHasStaysSubscribed(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b", atLeast))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		first, second := call.granted(), subscribed(t, s, c, "a", atLeast)

		done := inBackground(func() error { return first.Unsubscribe(t.Context()) })
		unsubscribed(t, c, "b")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, first.Messages())
		c.Send(publish("a", "x", atLeast, 1, false))
		wantPayloads(t, second.Messages(), "x")
		c.Expect(ack(puback, 1))

		third := subscribed(t, s, c, "a", atLeast)
		if err := second.Unsubscribe(t.Context()); err != nil { // another Subscription still has the filter
			t.Fatal(err)
		}
		wantEnd(t, second.Messages())
		c.Send(publish("a", "y", atLeast, 2, false))
		wantPayloads(t, third.Messages(), "y")
		c.Expect(ack(puback, 2))
		done = inBackground(func() error { return third.Unsubscribe(t.Context()) })
		unsubscribed(t, c, "a")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

// E5: a call with more filters than one SUBSCRIBE carries. U15: at most 64 packets are unanswered.
func TestTenThousandFiltersAreSplitAndGrantedInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		const n = 10_000
		filters := make([]frames.Filter, n)
		for i := range filters {
			filters[i] = filterOf("f/"+strconv.Itoa(i), frames.QoS(i%3))
		}
		grant := func(f frames.Filter, i int) frames.QoS { return min(f.QoS, frames.QoS(i%2)) }
		answerAll := func() {
			var acks []frames.Packet
			for i := 0; i < n; {
				p := streamtest.Next[frames.Subscribe](c)
				if len(p.Filters) > 8 || !slices.Equal(p.Filters, filters[i:i+len(p.Filters)]) {
					t.Fatalf("SUBSCRIBE %d has %d filters, from %v", p.ID, len(p.Filters), p.Filters[0])
				}
				a := frames.Suback{ID: p.ID}
				for range p.Filters {
					a.Codes = append(a.Codes, codesOf(grant(filters[i], i))...)
					i++
				}
				if acks = append(acks, a); len(acks) == 64 || i == n {
					synctest.Wait()
					c.ExpectNone()
					slices.Reverse(acks) // SUBACKs may come in any order
					c.Send(acks...)
					acks = nil
				}
			}
		}
		call := callSubscribe(t.Context(), t, s, filters...)
		answerAll()
		sub := call.granted()
		for i, q := range sub.Granted() {
			if q != grant(filters[i], i) {
				t.Fatalf("filter %d is granted %v", i, q)
			}
		}
		c.Send(publish("f/9999", "x", atLeast, 1, false))
		wantPayloads(t, sub.Messages(), "x")
		c.Expect(ack(puback, 1))

		c = droppedAndBack(t, s, b, c, false)
		answerAll()
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		for left := n; left > 0; {
			p := streamtest.Next[frames.Unsubscribe](c)
			if left -= len(p.Topics); len(p.Topics) > 8 {
				t.Fatalf("UNSUBSCRIBE with %d filters", len(p.Topics))
			}
			if left == 0 {
				wantIdle(t, done)
			}
			c.Unsuback(p)
		}
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLongFiltersAreSplitBySize(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		var filters []frames.Filter
		for i, n := range []int{10_000, 65_535, 10, 5_000, 5_000, 5_000, 5_000} {
			filters = append(filters, filterOf(fmt.Sprintf("%0*d", n, i), atMost))
		}
		call := callSubscribe(t.Context(), t, s, filters...)
		for rest := filters; len(rest) > 0; {
			p := streamtest.Next[frames.Subscribe](c)
			size := 0
			for _, f := range p.Filters {
				size += len(f.Topic)
			}
			if len(p.Filters) > 1 && size > 16<<10 {
				t.Fatalf("SUBSCRIBE with %d filters of %d bytes", len(p.Filters), size)
			}
			rest = rest[len(p.Filters):]
			c.Grant(p)
		}
		call.granted()
	})
}

func TestOneRefusalInASplitSubscribeTakesAllBack(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		filters := make([]frames.Filter, 20)
		for i := range filters {
			filters[i] = filterOf(strconv.Itoa(i), atLeast)
		}
		call := callSubscribe(t.Context(), t, s, filters...)
		for i := range 3 {
			call.pending() // the call waits until the last SUBSCRIBE is answered
			p := streamtest.Next[frames.Subscribe](c)
			a := frames.Suback{ID: p.ID, Codes: make([]frames.ReasonCode, len(p.Filters))}
			if i == 1 {
				a.Codes[7] = frames.UnspecifiedError
			}
			c.Send(a)
		}
		var refused *stream.RefusedError
		if err := call.ended(); !errors.As(err, &refused) || len(refused.Filters) != 1 || refused.Filters[0].Topic != "15" {
			t.Fatalf("error is %v", err)
		}
		var topics []string
		for len(topics) < 19 {
			p := streamtest.Next[frames.Unsubscribe](c)
			topics = append(topics, p.Topics...)
			c.Unsuback(p)
		}
		if len(topics) != 19 || slices.Contains(topics, "15") {
			t.Fatalf("UNSUBSCRIBE for %d filters", len(topics))
		}
	})
}

func TestSubscribeWaitsForTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Refuse(2, nil)
		s := open(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
		c := b.Accept()
		call.pending()
		c.Handshake(false)
		c.Grant(asked(t, c, filterOf("a", atLeast)))
		call.granted()
	})
}

func TestCloseEndsSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
		streamtest.Next[frames.Subscribe](c)
		s.Close()
		wantError(t, call.ended(), stream.ErrClosed, net.ErrClosed)
		wantError(t, callSubscribe(t.Context(), t, s, filterOf("a", atLeast)).ended(), stream.ErrClosed)
		c.ExpectDisconnect()
	})
}

func TestSessionThatEndsByItselfEndsSubscribeWithTheReason(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{NoReconnect: true})
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
		streamtest.Next[frames.Subscribe](c)
		c.Drop()
		wantError(t, call.ended(), stream.ErrClosed, io.EOF)
	})
}

func TestArgumentsOfSubscribeAreCheckedBeforeAnythingIsSent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		var none *stream.OptionError
		if err := callSubscribe(t.Context(), t, s).ended(); !errors.As(err, &none) || none.Field != "filters" {
			t.Fatalf("no filters: error is %v", err)
		}
		for _, bad := range []frames.Filter{
			filterOf("", atMost), filterOf("a#", atMost), filterOf("#/a", atMost), filterOf("a+/b", atMost), filterOf("a\x00", atMost),
			filterOf("a\xff", atMost), filterOf(strings.Repeat("a", 65_536), atMost), filterOf("a", 3), filterOf("$share//a", atMost),
		} {
			var invalid *frames.InvalidError
			if err := callSubscribe(t.Context(), t, s, filterOf("good", atMost), bad).ended(); !errors.As(err, &invalid) {
				t.Errorf("%.20q at %d: error is %v", bad.Topic, bad.QoS, err)
			} else if want := map[bool]string{true: "filter", false: "QoS"}[bad.QoS < 3]; invalid.Field != want {
				t.Errorf("%.20q at %d: error names %q", bad.Topic, bad.QoS, invalid.Field)
			}
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestPacketIdentifiersAreSharedByPublishSubscribeAndUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		old := subscribed(t, s, c, "old", atLeast)
		inUse := map[uint16]frames.Packet{}
		take := func() frames.Packet {
			t.Helper()
			var id uint16
			p := streamtest.Next[frames.Packet](c)
			switch p := p.(type) {
			case frames.Publish:
				id = p.ID
			case frames.Subscribe:
				id = p.ID
			case frames.Unsubscribe:
				id = p.ID
			}
			if id == 0 || inUse[id] != nil {
				t.Fatalf("%v has the identifier of %v", p, inUse[id])
			}
			inUse[id] = p
			return p
		}
		for i := range 20 {
			s.Publishes() <- stream.Publishing{Message: message("x", strconv.Itoa(i), atLeast)}
		}
		for range 10 {
			take()
		}
		call := callSubscribe(t.Context(), t, s, filterOf("new", atLeast))
		p := take().(frames.Subscribe)
		done := inBackground(func() error { return old.Unsubscribe(t.Context()) })
		q := take().(frames.Unsubscribe)
		// A PUBACK for the identifier of a SUBSCRIBE has no effect (A1).
		c.Send(ack(puback, p.ID), ack(puback, q.ID))
		call.pending()
		wantIdle(t, done)
		for range 10 { // only freed identifiers are used again
			for id, p := range inUse {
				if _, ok := p.(frames.Publish); ok {
					c.Send(ack(puback, id))
					delete(inUse, id)
					break
				}
			}
			take()
		}
		c.Grant(p)
		c.Unsuback(q)
		call.granted()
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

// E1: all packet identifiers are in use, so a SUBSCRIBE waits.
func TestSubscribeWaitsForAFreeIdentifier(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		const all = 65_535
		s, c := connected(t, b, &stream.Options{Window: all, Queue: all})
		go func() {
			for range all + 1 {
				select {
				case s.Publishes() <- stream.Publishing{Message: message("x", "", atLeast)}:
				case <-s.Done():
				}
			}
		}()
		for range all {
			streamtest.Next[frames.Publish](c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		givenUp := callSubscribe(ctx, t, s, filterOf("a", atLeast))
		givenUp.pending()
		call := callSubscribe(t.Context(), t, s, filterOf("b", atLeast))
		call.pending()
		c.ExpectNone()
		cancel()
		wantError(t, givenUp.ended(), context.Canceled)

		c.Send(ack(puback, 4711))
		p := asked(t, c, filterOf("b", atLeast))
		if p.ID != 4711 {
			t.Fatalf("SUBSCRIBE has the identifier %d, want 4711, the only free one", p.ID)
		}
		c.Grant(p)
		call.granted()
		c.Expect(publish("x", "", atLeast, 4711, false))
	})
}

func TestSubackThatFitsNoSubscribeEndsTheConnection(t *testing.T) {
	for name, answer := range map[string]func(frames.Subscribe) frames.Packet{
		"another identifier": func(p frames.Subscribe) frames.Packet {
			return frames.Suback{ID: p.ID - 1, Codes: []frames.ReasonCode{0, 0}}
		},
		"too few codes": func(p frames.Subscribe) frames.Packet {
			return frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0}}
		},
		"too many codes": func(p frames.Subscribe) frames.Packet {
			return frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0, 0, 0}}
		},
		"a reserved code": func(p frames.Subscribe) frames.Packet {
			return frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0, 3}}
		},
		"UNSUBACK": func(p frames.Subscribe) frames.Packet {
			return frames.Unsuback{ID: p.ID, Codes: []frames.ReasonCode{0, 0}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b", atLeast))
				c.Send(answer(streamtest.Next[frames.Subscribe](c)))
				endsWith(t, c, frames.ProtocolViolation)
				var violation *frames.ProtocolError
				if err := lost(t, s); !errors.As(err, &violation) {
					t.Fatalf("the connection ended with %v", err)
				}
				c = b.Handshake(false) // the call still waits, so SUBSCRIBE is sent again
				c.Grant(streamtest.Next[frames.Subscribe](c))
				call.granted()
			})
		})
	}
}

// With Retry, unanswered requests are sent again in their original order, so that a SUBSCRIBE still
// follows the UNSUBSCRIBE before it.
func TestRetrySendsRequestsAgainInTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V31, ClientID: "c", Retry: &flow.Retry{Initial: 5 * time.Second}})
		sub := subscribed(t, s, c, "0", atLeast)
		var first []frames.Packet
		for i := range 10 {
			done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			p := streamtest.Next[frames.Unsubscribe](c)
			call := callSubscribe(t.Context(), t, s, filterOf(strconv.Itoa(i+1), atLeast))
			q := streamtest.Next[frames.Subscribe](c)
			if i < 9 {
				c.Grant(q)
				sub = call.granted()
			}
			p.DUP, q.DUP = true, true
			if first = append(first, p); i == 9 {
				first = append(first, q)
			}
			_ = done
		}
		c.Expect(first...)
	})
}

// codesOf returns the reason codes of a SUBACK that grants the given QoS levels.
func codesOf(qos ...frames.QoS) []frames.ReasonCode {
	codes := make([]frames.ReasonCode, len(qos))
	for i, q := range qos {
		codes[i] = frames.ReasonCode(q)
	}
	return codes
}
