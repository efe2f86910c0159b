package stream_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// declared declares filters, which must succeed.
func declared(t *testing.T, s *stream.Session, filters ...frames.Filter) *stream.Subscription {
	t.Helper()
	sub, err := s.Declare(filters...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestDeclareReturnsAtOnceAndAsksWithTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		sub := declared(t, s, filterOf("a", atLeast), filterOf("b", exactly))
		wantIdle(t, sub.Ready())
		c := b.Handshake(false)
		p := asked(t, c, filterOf("a", atLeast), filterOf("b", exactly))
		wantIdle(t, sub.Ready())
		c.Grant(p)
		wantEnd(t, sub.Ready())
		if got := sub.Granted(); !slices.Equal(got, []frames.QoS{atLeast, exactly}) || sub.Refused() != nil {
			t.Fatalf("granted %v, refused %v", got, sub.Refused())
		}
		c.Send(inboundRun("a", atLeast, 1, 2)...)
		wantPayloads(t, sub.Messages(), countUp(1, 2)...)
		c.Expect(ackRun(puback, 1, 2)...)
	})
}

func TestDeclaredFiltersLiveOnWhenAnotherOneIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger()})
		filters := []frames.Filter{filterOf("a", atLeast), filterOf("secret", atLeast), filterOf("c", exactly)}
		sub := declared(t, s, filters...)
		c.Send(frames.Suback{ID: asked(t, c, filters...).ID, Codes: []frames.ReasonCode{1, frames.UnspecifiedError, 2}})
		wantEnd(t, sub.Ready())
		if got := sub.Refused(); !slices.Equal(got, filters[1:2]) || sub.Err() != nil {
			t.Fatalf("refused %v, Err %v", got, sub.Err())
		}
		if got := sub.Granted(); !slices.Equal(got, []frames.QoS{1, 0, 2}) {
			t.Fatalf("granted %v", got)
		}
		if n := log.count("secret"); n == 0 {
			t.Fatalf("the refusal is not logged:\n%s", log.text.String())
		}
		c.ExpectNone()
		c.Send(publish("c", "goes on", atLeast, 1, false))
		wantPayloads(t, sub.Messages(), "goes on")
		c.Expect(ack(puback, 1))

		c = droppedAndBack(t, s, b, c, false) // the refused filter may be granted now
		c.Grant(asked(t, c, filters...))
		synctest.Wait()
		if got := sub.Refused(); got != nil {
			t.Fatalf("refused %v", got)
		}
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		unsubscribed(t, c, "a", "secret", "c")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, sub.Messages())
	})
}

func TestReadyIsClosedWhenTheSubscriptionEnds(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		left, closed := declared(t, s, filterOf("a", atLeast)), declared(t, s, filterOf("b", atLeast))
		if err := left.Unsubscribe(t.Context()); err != nil { // nothing was sent
			t.Fatal(err)
		}
		wantEnd(t, left.Ready())
		wantEnd(t, left.Messages())
		wantIdle(t, closed.Ready())
		s.Close()
		wantEnd(t, closed.Ready())
		wantEnd(t, closed.Messages())
		_, err := s.Declare(filterOf("c", atLeast))
		wantError(t, err, stream.ErrClosed, net.ErrClosed)
	})
}

func TestSubscribeReturnsAReadySubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		wantEnd(t, sub.Ready())
		if sub.Refused() != nil {
			t.Fatal(sub.Refused())
		}
	})
}

// Messages that wait in a kept session before anyone subscribes belong to the later Subscription.
func TestDeclareClaimsTheMessagesOfAResumedSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, keepingSession())
		c := b.Accept()
		c.ExpectConnect()
		c.Connack(true, frames.Success)
		c.Send(inboundRun("a", exactly, 1, 3)...)
		wantStat(t, s, "Unclaimed", unclaimed, 3)
		sub := declared(t, s, filterOf("a", exactly))
		wantPayloads(t, sub.Messages(), countUp(1, 3)...)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Expect(ackRun(pubrec, 1, 3)...)
	})
}

func TestArgumentsOfDeclareAreChecked(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		var none *stream.OptionError
		if _, err := s.Declare(); !errors.As(err, &none) || none.Field != "filters" {
			t.Fatalf("no filters: error is %v", err)
		}
		var invalid *frames.InvalidError
		if _, err := s.Declare(filterOf("a#", atMost)); !errors.As(err, &invalid) || !strings.HasPrefix(err.Error(), "mqtt: ") {
			t.Fatalf("error is %v", err)
		}
	})
}

// U38: a broker of AWS closes the connection at the ninth filter of a packet.
func TestNinthFilterGoesIntoASecondPacket(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		var filters []frames.Filter
		for i := range 9 {
			filters = append(filters, filterOf(fmt.Sprint("topic", i, "/#"), atMost))
		}
		call := callSubscribe(t.Context(), t, s, filters...)
		c.Grant(asked(t, c, filters[:8]...))
		c.Grant(asked(t, c, filters[8:]...))
		call.granted()
	})
}
