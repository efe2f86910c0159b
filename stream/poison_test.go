package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func givingUp(n, window int) *stream.Options {
	return &stream.Options{
		ClientID: "k", KeepSession: true, GiveUp: n, Window: window, KeepAlive: noPing,
		Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Second},
	}
}

// closesAt serves the next connection as a broker that closes at a topic, and otherwise sends
// PUBACK, until it has received the message "last". It returns the topics that have arrived.
func closesAt(b *streamtest.Broker, topic string, resumed bool) (topics []string) {
	c := b.Handshake(resumed)
	for {
		p := streamtest.Next[frames.Publish](c)
		topics = append(topics, p.Topic)
		if p.Topic == topic {
			c.Drop()
			return topics
		}
		c.Send(ack(puback, p.ID))
		if p.Topic == "last" {
			return topics
		}
	}
}

// wantPoison checks the error of a publication that was given up.
func wantPoison(t *testing.T, err error, want stream.PoisonError, cause error) {
	t.Helper()
	wantError(t, err, stream.ErrUnconfirmed, cause)
	var poison *stream.PoisonError
	if !errors.As(err, &poison) || poison.ID != want.ID || poison.Topic != want.Topic || poison.Closes != want.Closes {
		t.Fatalf("the error is %v, want %+v", err, want)
	}
}

func TestPublishAtWhichTheBrokerClosesIsGivenUpAndTheRestArrivesInOrder(t *testing.T) {
	for _, window := range []int{1, 100} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				book := &logbook{level: slog.LevelWarn}
				o := givingUp(2, window)
				o.Logger = slog.New(book)
				acks := make(chan stream.Receipt, 4)
				o.Ack = acks
				s := open(t, b, o)
				for _, topic := range []string{"a", "poison", "b", "last"} {
					s.Publishes() <- stream.Publishing{Message: message(topic, "", 1)}
				}
				wants := [][]string{{"a", "poison"}, {"poison"}, {"poison"}, {"b", "last"}}
				for i, want := range wants {
					if got := closesAt(b, "poison", i > 0); !slices.Equal(got, want) {
						t.Fatalf("connection %d brought %q, want %q", i+1, got, want)
					}
				}
				for i, topic := range []string{"a", "poison", "b", "last"} {
					r := takeFrom(t, acks)
					if r.Topic != topic || r.ID != uint16(i+1) {
						t.Fatalf("Receipt %+v, want topic %q", r, topic)
					}
					if topic == "poison" {
						wantPoison(t, r.Err, stream.PoisonError{ID: 2, Topic: topic, Closes: 2}, io.EOF)
					} else if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				if n := s.Stats().GivenUp; n != 1 {
					t.Errorf("%d given up", n)
				}
				var topics []any
				for _, e := range book.take() {
					topics = append(topics, e.attrs["topic"])
				}
				if !slices.Equal(topics, []any{"poison"}) {
					t.Errorf("records at Warn for the topics %v", topics)
				}
			})
		})
	}
}

func TestSuspectedPublishIsSentAlone(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, givingUp(2, 100))
		subscribed(t, s, c, "in", 1)
		first, zero, second := goPublish(s, message("a", "", 1)), (<-chan error)(nil), (<-chan error)(nil)
		c.Expect(publish("a", "", 1, 1, false))
		second = goPublish(s, message("b", "", 2))
		c.Expect(publish("b", "", 2, 2, false))
		c.Drop()

		c = b.Handshake(true)
		p := streamtest.Next[frames.Subscribe](c)
		zero = goPublish(s, message("z", "", 0))
		c.ExpectQuiet(5 * time.Second) // until the SUBACK
		c.Grant(p)
		c.Expect(publish("a", "", 1, 1, true))
		c.ExpectQuiet(5 * time.Second)
		wantPending(t, zero)
		c.Send(ack(puback, 1))
		c.Expect(publish("b", "", 2, 2, true), publish("z", "", 0, 0, false))
		c.Send(ack(pubrec, 2))
		c.Expect(ack(pubrel, 2))
		c.Send(ack(pubcomp, 2))
		for _, done := range []<-chan error{first, second, zero} {
			wantError(t, <-done, nil)
		}
	})
}

func TestSuspectedPublishDoesNotWaitForEverForTheAnswerToASubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, givingUp(2, 1))
		subscribed(t, s, c, "in", 1)
		done := goPublish(s, message("a", "", 1))
		c.Expect(publish("a", "", 1, 1, false))
		c.Drop()
		c = b.Handshake(true)
		streamtest.Next[frames.Subscribe](c)
		c.ExpectQuiet(20*time.Second - 1)
		from := time.Now()
		if c.Expect(publish("a", "", 1, 1, true)); time.Since(from) > 1 {
			t.Errorf("sent %v late", time.Since(from))
		}
		c.Send(ack(puback, 1))
		wantError(t, <-done, nil)
	})
}

// A close at a SUBSCRIBE must not be blamed on the publication.
func TestCloseAtASubscribeIsNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, givingUp(2, 1))
		subscribed(t, s, c, "in", 1)
		done := goPublish(s, message("a", "", 1))
		c.Expect(publish("a", "", 1, 1, false))
		c.Drop()

		c = b.Handshake(true) // before the PUBLISH
		streamtest.Next[frames.Subscribe](c)
		c.Drop()

		c = b.Handshake(true) // after the PUBLISH and another SUBSCRIBE
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Expect(publish("a", "", 1, 1, true))
		goSubscribe(s, frames.Filter{Topic: "other"})
		streamtest.Next[frames.Subscribe](c)
		c.Drop()

		wantPending(t, done)
		c = b.Handshake(true)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Expect(publish("a", "", 1, 1, true))
		c.Drop()
		wantPoison(t, <-done, stream.PoisonError{ID: 1, Topic: "a", Closes: 2}, io.EOF)
	})
}

func TestOtherEndsOfAConnectionAreNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := givingUp(2, 1)
		o.KeepAlive, o.PingTimeout = 10*time.Second, time.Second
		s, c := connected(t, b, o)
		done := goPublish(s, message("a", "", 1))
		c.Expect(publish("a", "", 1, 1, false))
		c.Drop()
		b.Refuse(1, io.EOF)
		c = b.Accept()
		c.ExpectConnect()
		c.Drop() // before CONNACK
		for range 2 {
			c = b.Handshake(true)
			c.Expect(publish("a", "", 1, 1, true), frames.Pingreq{})
			c.ExpectClosed() // no PINGRESP
		}
		c = b.Handshake(true)
		c.Expect(publish("a", "", 1, 1, true))
		wantPending(t, done)
		c.Drop()
		wantPoison(t, <-done, stream.PoisonError{ID: 1, Topic: "a", Closes: 2}, io.EOF)
	})
}

func TestDisconnectCountsUnlessItsCodeNamesAnotherReason(t *testing.T) {
	if version < frames.V5 {
		return // only MQTT 5 has it
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, givingUp(2, 1))
		done := goPublish(s, message("a", "", 1))
		codes := []frames.ReasonCode{
			frames.SessionTakenOver, frames.PacketTooLarge, frames.ServerShuttingDown, frames.ServerBusy, frames.UnspecifiedError,
		}
		for i, code := range codes {
			if i > 0 {
				c = b.Handshake(true)
			}
			c.Expect(publish("a", "", 1, 1, i > 0))
			wantPending(t, done)
			c.Send(frames.Disconnect{Code: code})
			c.Drop()
		}
		wantPoison(t, <-done, stream.PoisonError{ID: 1, Topic: "a", Closes: 2}, frames.UnspecifiedError)
	})
}

func TestAnyAckBeginsTheCountOfClosesAnew(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, givingUp(2, 2))
		a := goPublish(s, message("a", "", 1))
		c.Expect(publish("a", "", 1, 1, false))
		goPublish(s, message("b", "", 1))
		c.Expect(publish("b", "", 1, 2, false))
		c.Drop()
		c = b.Handshake(true)
		c.Expect(publish("a", "", 1, 1, true))
		c.ExpectQuiet(time.Second)
		c.Send(ack(puback, 1))
		wantError(t, <-a, nil)
		c.Expect(publish("b", "", 1, 2, true))
		x := goPublish(s, message("x", "", 2))
		c.Expect(publish("x", "", 2, 3, false))
		c.Drop() // the second close, after an ack

		c = b.Handshake(true) // b is not alone, and the ack of another publication comes
		c.Expect(publish("b", "", 1, 2, true), publish("x", "", 2, 3, true))
		c.Send(ack(pubrec, 3))
		c.Expect(ack(pubrel, 3))
		c.Send(ack(pubcomp, 3))
		wantError(t, <-x, nil)
		c.Drop()

		c = b.Handshake(true)
		c.Expect(publish("b", "", 1, 2, true))
		zero := goPublish(s, message("z", "", 0))
		c.Expect(publish("z", "", 0, 0, false)) // b is not alone
		wantError(t, <-zero, nil)
		if n := s.Stats().GivenUp; n != 0 {
			t.Errorf("%d given up", n)
		}
	})
}

func TestPublishPastPubrecIsNeverGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, givingUp(2, 100))
		done := goPublish(s, message("a", "", 2))
		c.Expect(publish("a", "", 2, 1, false))
		c.Send(ack(pubrec, 1))
		c.Expect(ack(pubrel, 1))
		c.Drop()
		for range 5 {
			c = b.Handshake(true)
			c.Expect(ack(pubrel, 1))
			c.Drop()
		}
		c = b.Handshake(true)
		c.Expect(ack(pubrel, 1))
		wantPending(t, done)
		c.Send(ack(pubcomp, 1))
		wantError(t, <-done, nil)
		if n := s.Stats().GivenUp; n != 0 {
			t.Errorf("%d given up", n)
		}
	})
}

// A broker that closes at the size of a PUBLISH does not read the rest, so the write fails.
func TestCloseDuringTheWriteOfThePublishCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t, streamtest.Buffer(4096))
		s := open(t, b, givingUp(2, 1))
		done := goPublish(s, message("large", string(make([]byte, 100_000)), 1))
		for i, end := range []func(*streamtest.Conn){(*streamtest.Conn).Drop, (*streamtest.Conn).Abort} {
			c := b.Handshake(i > 0)
			synctest.Wait()
			end(c)
		}
		if err := <-done; !errors.Is(err, stream.ErrUnconfirmed) || s.Stats().GivenUp != 1 {
			t.Errorf("the error is %v, %d given up", err, s.Stats().GivenUp)
		}
	})
}

func TestNextClientOfTheStoreDoesNotSendAPublishGivenUp(t *testing.T) {
	for _, kind := range stores {
		for _, q := range []frames.QoS{1, 2} {
			t.Run(fmt.Sprintf("%s, QoS %d", kind.name, q), func(t *testing.T) {
				medium := kind.make(t)
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					run := func(script func(s *stream.Session)) {
						o := givingUp(2, 100)
						store := medium.boot()
						o.Store = store
						s := open(t, b, o)
						script(s)
						if err := s.Close(); err != nil {
							t.Fatal(err)
						}
					}
					given := func(resumed bool, id uint16) func(*stream.Session) {
						return func(s *stream.Session) {
							c := b.Handshake(resumed)
							<-s.Online()
							done := goPublish(s, message("b", "", 1))
							c.Expect(publish("b", "", 1, id, false))
							c.Send(ack(puback, id))
							wantError(t, <-done, nil)
						}
					}
					run(func(s *stream.Session) {
						done := goPublish(s, message("poison", "", q))
						for i := range 2 {
							c := b.Handshake(i > 0)
							c.Expect(publish("poison", "", q, 1, i > 0))
							c.Drop()
						}
						wantPoison(t, <-done, stream.PoisonError{ID: 1, Topic: "poison", Closes: 2}, io.EOF)
					})
					if got := medium.holds(t, "k").Publications; len(got) != 1 || !got[0].GivenUp() || got[0].ID != 1 {
						t.Fatalf("the store holds %+v", got)
					}
					run(given(true, 2))
					run(given(true, 2))
					run(given(false, 1)) // the broker has lost the session
					if got := medium.holds(t, "k").Publications; len(got) != 0 {
						t.Errorf("the store holds %+v", got)
					}
				})
			})
		}
	}
}

func TestDiscardedSessionHasNoReceiptForAPublishGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		medium := memoryMedium(t)
		medium.prepare(t, "k",
			flow.Change{Kind: flow.Accepted, Seq: 1, Message: frames.Message{QoS: 1}},
			flow.Change{Kind: flow.Assigned, Seq: 1, ID: 1})
		acks := make(chan stream.Receipt, 1)
		connected(t, b, &stream.Options{ClientID: "k", Store: medium.boot(), ClearSession: true, Ack: acks})
		wantIdle(t, acks)
	})
}

func TestStageGetsTheReceiptOfAPublishGivenUpInPlace(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, givingUp(2, 100))
		in := make(chan frames.Message, 4)
		for _, topic := range []string{"a", "poison", "b", "last"} {
			in <- message(topic, "", 1)
		}
		close(in)
		out := s.PublishFrom(context.Background(), in)
		for i := range 4 {
			closesAt(b, "poison", i > 0)
		}
		for _, topic := range []string{"a", "poison", "b", "last"} {
			r := takeFrom(t, out)
			switch {
			case r.Topic != topic || r.Err != nil && topic != "poison":
				t.Fatalf("Receipt %+v, want topic %q", r, topic)
			case topic == "poison":
				wantPoison(t, r.Err, stream.PoisonError{ID: 2, Topic: topic, Closes: 2}, io.EOF)
			}
		}
	})
}

func TestGiveUpIsNeverOrTwoAndMore(t *testing.T) {
	for _, n := range []int{-1, 1} {
		_, err := stream.Open("mqtt://broker", &stream.Options{GiveUp: n})
		var bad *stream.OptionError
		text := fmt.Sprintf("mqtt: GiveUp %d is below 2; 0 is never", n)
		if !errors.As(err, &bad) || bad.Field != "GiveUp" || err.Error() != text {
			t.Errorf("GiveUp %d: %v, want %s", n, err, text)
		}
	}
}
