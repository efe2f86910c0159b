package stream_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestARequestIsSentWhenItsReplyTopicIsGranted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		mine := &frames.Properties{ContentType: "text", User: []frames.UserProperty{{Name: "n", Value: "v"}}}
		m := message("add", "1+2", 1)
		m.Properties = mine
		done := ask(t.Context(), s, m)
		sub := streamtest.Next[frames.Subscribe](c)
		topic := sub.Filters[0].Topic
		if !regexp.MustCompile(`^reply/asker/[0-9a-f]{16}$`).MatchString(topic) || sub.Filters[0].QoS != 1 {
			t.Errorf("filter %v", sub.Filters[0])
		}
		c.ExpectQuiet(time.Second) // no request before SUBACK
		c.Grant(sub)
		first := requested(c, frames.Success)
		p := first.Properties
		if p.ResponseTopic != topic || len(p.Correlation) != 16 || p.ContentType != "text" || len(p.User) != 1 {
			t.Errorf("the request has the properties %+v", p)
		}
		if mine.ResponseTopic != "" || mine.Correlation != nil {
			t.Error("the properties of the caller were written to")
		}
		replyTo(c, first, "3")
		wantReply(t, <-done, "3")

		done = ask(t.Context(), s, message("add", "2+2", 1))
		second := requested(c, frames.Success) // no second SUBSCRIBE
		if second.Properties.ResponseTopic != topic || string(second.Properties.Correlation) == string(p.Correlation) {
			t.Errorf("the second request has the properties %+v", second.Properties)
		}
		replyTo(c, second, "4")
		wantReply(t, <-done, "4")
	})
}

func TestTheReplyTopicComesFromTheOptionsOrTheBrokerOrTheClientIdentifier(t *testing.T) {
	for _, tt := range []struct{ name, option, information, id, want string }{
		{"option", "mine/here", "", "a", "mine/here/"},
		{"broker", "", "its/", "a", "its/"},
		{"broker with a wildcard", "", "its/#", "a", "reply/a/"},
		{"client identifier", "", "", "a", "reply/a/"},
		{"client identifier with wildcards", "", "", "a+b/#", "reply/a_b/_/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, &stream.Options{Version: frames.V5, ClientID: tt.id, V5: stream.OptionsV5{ReplyTopic: tt.option}})
				c := b.Accept()
				if wants := c.ExpectConnect().Properties.RequestResponseInformation; wants != (tt.option == "") {
					t.Errorf("CONNECT asks for response information: %v", wants)
				}
				c.Send(frames.Connack{Properties: &frames.ConnackProperties{ResponseInformation: tt.information}})
				done := ask(t.Context(), s, message("q", "", 0))
				p := granted(c, 0)
				if topic := p.Properties.ResponseTopic; len(topic) != len(tt.want)+16 || topic[:len(tt.want)] != tt.want {
					t.Errorf("response topic %q, want %s and 16 digits", topic, tt.want)
				}
				replyTo(c, p, "r")
				wantReply(t, <-done, "r")
			})
		})
	}
}

func TestARequestEndsWithTheAnswerOfTheBroker(t *testing.T) {
	for _, tt := range []struct {
		name string
		qos  frames.QoS
		code frames.ReasonCode
		want []error
	}{
		{"nobody subscribes, QoS 1", 1, frames.NoMatchingSubscribers, []error{stream.ErrNoResponder}},
		{"nobody subscribes, QoS 2", 2, frames.NoMatchingSubscribers, []error{stream.ErrNoResponder}},
		{"refused, QoS 1", 1, frames.QuotaExceeded, []error{stream.ErrRefused, frames.QuotaExceeded}},
		{"refused, QoS 2", 2, frames.NotAuthorized, []error{stream.ErrRefused, frames.NotAuthorized}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := requester(t, b, nil)
				done := ask(context.Background(), s, message("q", "", tt.qos))
				granted(c, tt.code)
				wantError(t, (<-done).err, tt.want...)
			})
		})
	}
}

func TestAReplyBeforeTheAckOfItsRequestEndsTheRequest(t *testing.T) {
	for q := range frames.QoS(3) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := requester(t, b, nil)
			done := ask(t.Context(), s, message("q", "", q))
			c.Grant(streamtest.Next[frames.Subscribe](c))
			p := streamtest.Next[frames.Publish](c)
			replyTo(c, p, "early")
			wantReply(t, <-done, "early")
			c.Complete(p)
		})
	}
}

func TestManyRequestsAtOnceGetTheirOwnReplies(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 10})
		var calls []<-chan answered
		for i := range 10 {
			calls = append(calls, ask(t.Context(), s, message("q", string(rune('a'+i)), 1)))
		}
		requests := []frames.Publish{granted(c, 0)}
		for len(requests) < 10 {
			requests = append(requests, requested(c, 0))
		}
		for i := range requests {
			p := requests[9-i]
			replyTo(c, p, "reply to "+string(p.Payload))
		}
		for i, done := range calls {
			wantReply(t, <-done, "reply to "+string(rune('a'+i)))
		}
	})
}

func TestAnAcknowledgedRequestWaitsOverAReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{KeepSession: true})
		done := ask(t.Context(), s, message("q", "", 1))
		p := granted(c, frames.Success)
		synctest.Wait()
		c.Drop()
		c = b.Handshake(true)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		replyTo(c, p, "after all")
		wantReply(t, <-done, "after all")
	})
}

func TestAnAcknowledgedRequestEndsWhenTheSessionIsLost(t *testing.T) {
	for _, keep := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := requester(t, b, &stream.Options{KeepSession: keep})
			done := ask(t.Context(), s, message("q", "", 1))
			granted(c, frames.Success)
			synctest.Wait()
			c.Drop()
			c = b.Handshake(false)
			wantError(t, (<-done).err, stream.ErrUnconfirmed, stream.ErrSessionLost)
			c.Grant(streamtest.Next[frames.Subscribe](c))

			done = ask(t.Context(), s, message("q", "", 1))
			replyTo(c, requested(c, frames.Success), "again")
			wantReply(t, <-done, "again")
		})
	}
}

func TestARequestInFlightFollowsItsPublication(t *testing.T) {
	for _, keep := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := requester(t, b, &stream.Options{KeepSession: keep})
			done := ask(t.Context(), s, message("q", "", 1))
			c.Grant(streamtest.Next[frames.Subscribe](c))
			streamtest.Next[frames.Publish](c)
			c.Drop()
			if !keep {
				wantError(t, (<-done).err, stream.ErrUnconfirmed)
				return
			}
			c = b.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			replyTo(c, requested(c, frames.Success), "r")
			wantReply(t, <-done, "r")
		})
	}
}

func TestTheEndOfItsContextEndsARequest(t *testing.T) {
	cause := errors.New("enough")
	for _, tt := range []struct {
		name string
		upTo func(c *streamtest.Conn)
		want error
	}{
		{"not connected", nil, stream.ErrNotSent},
		{"not subscribed", func(c *streamtest.Conn) { streamtest.Next[frames.Subscribe](c) }, stream.ErrNotSent},
		{"in flight", func(c *streamtest.Conn) {
			c.Grant(streamtest.Next[frames.Subscribe](c))
			streamtest.Next[frames.Publish](c)
		}, stream.ErrUnconfirmed},
		{"acknowledged", func(c *streamtest.Conn) { granted(c, frames.Success) }, stream.ErrUnconfirmed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				ctx, cancel := context.WithCancelCause(context.Background())
				s := open(t, b, asker(nil))
				done := ask(ctx, s, message("q", "", 1))
				if tt.upTo != nil {
					tt.upTo(b.Handshake(false))
				}
				synctest.Wait()
				cancel(cause)
				wantError(t, (<-done).err, tt.want, cause, context.Canceled)
			})
		})
	}
}

func TestAQueuedRequestIsWithdrawnAtTheEndOfItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil) // Window 1
		first := ask(t.Context(), s, message("q", "first", 1))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		p := streamtest.Next[frames.Publish](c)
		ctx, cancel := context.WithCancel(context.Background())
		second := ask(ctx, s, message("q", "second", 1))
		synctest.Wait()
		cancel()
		wantError(t, (<-second).err, stream.ErrNotSent, context.Canceled)
		c.Complete(p)
		replyTo(c, p, "r")
		wantReply(t, <-first, "r")
		c.ExpectQuiet(time.Second)
	})
}

func TestTheDeadlineOfTheContextIsTheExpiryOfARequest(t *testing.T) {
	own := message("q", "", 1)
	own.Properties = &frames.Properties{Expiry: 7 * time.Second}
	for _, tt := range []struct {
		name    string
		m       frames.Message
		timeout time.Duration // 0: none
		option  time.Duration
		want    time.Duration
	}{
		{"none", message("q", "", 1), 0, 0, 0},
		{"deadline", message("q", "", 1), 2500 * time.Millisecond, 0, 3 * time.Second},
		{"its own", own, 30 * time.Second, 0, 7 * time.Second},
		{"of the options", message("q", "", 1), 30 * time.Second, 5 * time.Second, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := requester(t, b, &stream.Options{V5: stream.OptionsV5{Expiry: tt.option}})
				ctx := t.Context()
				if tt.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				done := ask(ctx, s, tt.m)
				p := granted(c, frames.Success)
				if p.Properties.Expiry != tt.want {
					t.Errorf("expiry %v, want %v", p.Properties.Expiry, tt.want)
				}
				replyTo(c, p, "r")
				wantReply(t, <-done, "r")
			})
		})
	}
}

func TestARequestThatWaitsUntilItsDeadlineEndsWithTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		first := ask(context.Background(), s, message("q", "", 1))
		p := granted(c, frames.Success)
		replyTo(c, p, "r")
		wantReply(t, <-first, "r")
		b.Hold(1)
		c.Drop()
		lost(t, s)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := s.Request(ctx, message("q", "", 1))
		wantError(t, err, stream.ErrNotSent, context.DeadlineExceeded)
	})
}

func TestARequestNeedsMQTT5(t *testing.T) {
	var version *frames.VersionError
	for _, tt := range []struct {
		name string
		o    stream.Options
	}{
		{"version 3.1.1", stream.Options{Version: frames.V311}},
		{"version 3.1.1, lossy", stream.Options{Version: frames.V311, V5: stream.OptionsV5{Lossy: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, _ := connected(t, b, &tt.o)
				_, err := s.Request(t.Context(), message("q", "", 1))
				wantError(t, err, stream.ErrNotSent)
				if !errors.As(err, &version) || version.Have != frames.V311 || version.Need != frames.V5 {
					t.Errorf("error %v, want a VersionError", err)
				}
			})
		})
	}
}

func TestTheResponseTopicAndTheCorrelationOfARequestAreTheClients(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		for field, p := range map[string]*frames.Properties{
			"response topic":   {ResponseTopic: "mine"},
			"correlation data": {Correlation: []byte{1}},
			"content type":     {ContentType: "\x00"},
		} {
			m := message("q", "", 1)
			m.Properties = p
			_, err := s.Request(t.Context(), m)
			var invalid *frames.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != field || !errors.Is(err, stream.ErrNotSent) {
				t.Errorf("error %v, want an InvalidError for %s", err, field)
			}
		}
		c.ExpectQuiet(time.Second)
	})
}

func TestCloseAndShutdownEndRequests(t *testing.T) {
	for name, end := range map[string]func(*stream.Session) error{
		"close":    (*stream.Session).Close,
		"shutdown": func(s *stream.Session) error { return s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := requester(t, b, nil)
				acknowledged := ask(context.Background(), s, message("q", "", 0))
				granted(c, frames.Success)
				inFlight := ask(context.Background(), s, message("q", "", 1))
				p := streamtest.Next[frames.Publish](c)
				queued := ask(context.Background(), s, message("q", "", 1))
				synctest.Wait()
				go end(s)
				if name == "shutdown" {
					wantError(t, (<-acknowledged).err, stream.ErrUnconfirmed, stream.ErrClosed)
					c.Complete(p)
					c.Complete(streamtest.Next[frames.Publish](c))
					c.ExpectDisconnect()
					wantError(t, (<-inFlight).err, stream.ErrUnconfirmed, stream.ErrClosed)
					wantError(t, (<-queued).err, stream.ErrUnconfirmed, stream.ErrClosed)
				} else {
					c.ExpectDisconnect()
					wantError(t, (<-acknowledged).err, stream.ErrUnconfirmed, stream.ErrClosed)
					wantError(t, (<-inFlight).err, stream.ErrUnconfirmed, stream.ErrClosed)
					wantError(t, (<-queued).err, stream.ErrNotSent, stream.ErrClosed)
				}
				<-s.Done()
				_, err := s.Request(context.Background(), message("q", "", 1))
				wantError(t, err, stream.ErrNotSent, stream.ErrClosed)
			})
		})
	}
}

func TestAReplyThatNobodyWaitsForIsAcknowledgedAndCounted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := ask(ctx, s, message("q", "", 1))
		p := granted(c, frames.Success)
		synctest.Wait()
		cancel()
		wantError(t, (<-done).err, stream.ErrUnconfirmed, context.Canceled)
		replyTo(c, p, "late")
		c.ExpectAck(c.Publish(message(p.Properties.ResponseTopic, "without correlation data", 1))...)
		if n := s.Stats().LateReplies; n != 2 {
			t.Errorf("%d late replies, want 2", n)
		}
	})
}

func TestARefusedReplyTopicEndsTheRequestAndIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		one, two := ask(t.Context(), s, message("q", "", 1)), ask(t.Context(), s, message("q", "", 1))
		sub := streamtest.Next[frames.Subscribe](c)
		synctest.Wait()
		c.Send(frames.Suback{ID: sub.ID, Codes: []frames.ReasonCode{frames.NotAuthorized}})
		wantError(t, (<-one).err, stream.ErrNotSent, frames.NotAuthorized)
		wantError(t, (<-two).err, stream.ErrNotSent, frames.NotAuthorized)
		done := ask(t.Context(), s, message("q", "", 1))
		replyTo(c, granted(c, frames.Success), "r")
		wantReply(t, <-done, "r")
	})
}

func TestAReplyTopicRefusedAfterAReconnectEndsTheRequests(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{KeepSession: true})
		done := ask(t.Context(), s, message("q", "", 1))
		granted(c, frames.Success)
		synctest.Wait()
		c.Drop()
		c = b.Handshake(true)
		sub := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: sub.ID, Codes: []frames.ReasonCode{frames.NotAuthorized}})
		wantError(t, (<-done).err, stream.ErrUnconfirmed, frames.NotAuthorized)
		done = ask(t.Context(), s, message("q", "", 1))
		replyTo(c, granted(c, frames.Success), "r")
		wantReply(t, <-done, "r")
	})
}

func TestARequestWhoseContextEndsLeavesTheSubscriptionToTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{KeepSession: true})
		ctx, cancel := context.WithCancel(context.Background())
		first := ask(ctx, s, message("q", "", 1))
		streamtest.Next[frames.Subscribe](c)
		second := ask(t.Context(), s, message("q", "", 1))
		synctest.Wait()
		cancel()
		wantError(t, (<-first).err, stream.ErrNotSent, context.Canceled)
		replyTo(c, granted(c, frames.Success), "r")
		wantReply(t, <-second, "r")
	})
}

func TestARequestOfAConsumerThatIsBehindEnds(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{MaxUnread: 1000, MaxPacket: 1000})
		done := ask(t.Context(), s, message("q", "", 1))
		granted(c, frames.Success)
		for range 20 {
			c.Publish(message("other", "0123456789", 1))
		}
		wantError(t, (<-done).err, stream.ErrUnconfirmed, stream.ErrBehind)
		_, err := s.Request(t.Context(), message("q", "", 1))
		wantError(t, err, stream.ErrNotSent, stream.ErrBehind)
	})
}

// The next client of a kept session subscribes to the same topic, so that no reply to the client
// before stays unclaimed and holds back acks.
func TestTheReplyTopicOfAKeptSessionStays(t *testing.T) {
	var topics []string
	for range 2 {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Version: frames.V5, ClientID: "a", KeepSession: true})
			done := ask(t.Context(), s, message("q", "", 0))
			p := granted(c, 0)
			topics = append(topics, p.Properties.ResponseTopic)
			replyTo(c, p, "r")
			wantReply(t, <-done, "r")
		})
	}
	if topics[0] != topics[1] {
		t.Errorf("%q and %q", topics[0], topics[1])
	}
}
