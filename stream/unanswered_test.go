package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U15: a broker that answers PINGREQ but never SUBSCRIBE.
func TestSubscribeEndsWhenTheBrokerAnswersOnlyPings(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		began := time.Now()
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
		p := streamtest.Next[frames.Subscribe](c)
		c.Expect(frames.Pingreq{})
		call.pending() // the connection may be dead
		c.Send(frames.Pingresp{})
		err := call.ended()
		if want := "mqtt: the broker did not answer SUBSCRIBE within 20s, but it answers PINGREQ"; err.Error() != want {
			t.Fatalf("error is %q, want %q", err, want)
		}
		if took := time.Since(began); took != 20*time.Second {
			t.Fatalf("Subscribe took %v", took)
		}
		c.Grant(p) // late, and harmless
		sub := subscribed(t, s, c, "a", atLeast)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		u := streamtest.Next[frames.Unsubscribe](c)
		c.Expect(frames.Pingreq{})
		c.Send(frames.Pingresp{})
		if err := takeFrom(t, done); err == nil || !strings.Contains(err.Error(), "did not answer UNSUBSCRIBE") {
			t.Fatalf("error is %v", err)
		}
		wantEnd(t, sub.Messages())
		c.Unsuback(u)
		wantStat(t, s, "Connections", func(st stream.Stats) uint64 { return st.Connections }, 1)
	})
}

// U15: Subscribe, tried again and again, does not use up the packet identifiers.
func TestSubscribeTriedAgainAtASilentBrokerHasAtMost64Requests(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := keepingSession()
		o.KeepAlive = -1
		s, c := connected(t, b, o)
		for range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := s.Subscribe(ctx, filterOf("a", atLeast))
			wantError(t, err, context.DeadlineExceeded)
			cancel()
		}
		for range 64 {
			streamtest.Next[frames.Subscribe](c)
		}
		synctest.Wait()
		c.ExpectNone()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := s.Subscribe(ctx, filterOf("a", atLeast))
		if err == nil || !strings.Contains(err.Error(), "SUBSCRIBE is not sent yet, since 64 requests have no answer") {
			t.Fatalf("error is %v", err)
		}
	})
}

// U17: a Subscribe that is tried again and again while the broker is away.
func TestSubscribeTriedAgainOfflineLeavesOneRequest(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, keepingSession())
		for range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := s.Subscribe(ctx, filterOf("plant/+/temperature", atLeast))
			wantError(t, err, context.DeadlineExceeded)
			cancel()
		}
		call := callSubscribe(t.Context(), t, s, filterOf("plant/+/temperature", atLeast))
		c := b.Handshake(true)
		c.Grant(asked(t, c, filterOf("plant/+/temperature", atLeast)))
		call.granted()
		synctest.Wait()
		c.ExpectNone()
	})
}

// U38: an error that ends by ctx carries the reason known so far.
func TestErrorThatEndsByItsContextCarriesTheReason(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	calls := map[string]func(ctx context.Context, s *stream.Session) error{
		"Subscribe": func(ctx context.Context, s *stream.Session) error {
			_, err := s.Subscribe(ctx, filterOf("a", atLeast))
			return err
		},
		"Publish": func(ctx context.Context, s *stream.Session) error { return s.Publish(ctx, message("a", "x", atLeast)) },
		"Flush": func(ctx context.Context, s *stream.Session) error {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
			return s.Flush(ctx)
		},
		"Unsubscribe": func(ctx context.Context, s *stream.Session) error {
			sub, err := s.Declare(filterOf("a", atLeast))
			if err != nil {
				return err
			}
			return sub.Unsubscribe(ctx)
		},
	}
	for name, call := range calls {
		t.Run(name+" offline", func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				b.Refuse(1000, refused)
				s := open(t, b, keepingSession())
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := call(ctx, s)
				wantError(t, err, context.DeadlineExceeded, refused)
				if !strings.Contains(err.Error(), "not connected: ") || strings.Count(err.Error(), "mqtt:") != 1 {
					t.Fatalf("the error reads %q", err)
				}
			})
		})
		t.Run(name+" after a lost connection", func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, keepingSession())
				c.Drop()
				lost(t, s)
				b.Handshake(true)
				wantLevel(t, s.Online())
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := call(ctx, s)
				wantError(t, err, context.DeadlineExceeded, io.EOF)
				if !strings.Contains(err.Error(), "connected 5s ago after: ") || strings.Count(err.Error(), "mqtt:") != 1 {
					t.Fatalf("the error reads %q", err)
				}
			})
		})
	}
}

func TestSubscribeThatEndsByItsContextNamesTheFiltersRefusedSoFar(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		var filters []frames.Filter
		for _, topic := range strings.Split("abcdefghi", "") {
			filters = append(filters, filterOf(topic, atMost))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call := callSubscribe(ctx, t, s, filters...)
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0, 0x80, 0, 0, 0, 0, 0, 0}})
		<-call.done
		var refused *stream.RefusedError
		if err := call.ended(); !errors.As(err, &refused) || refused.Filters[0].Topic != "b" || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v", err)
		}
	})
}

func TestDialThatEndsByItsContextCarriesTheReason(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := stream.Dial(ctx, "mqtt://broker", with(b, nil)) // the broker accepts and says nothing
		wantError(t, err, context.DeadlineExceeded)
		if want := "mqtt: context deadline exceeded: no connection yet"; err.Error() != want {
			t.Fatalf("the error reads %q, want %q", err, want)
		}
	})
}
