package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func decodeInt(m frames.Message) (int, error) { return strconv.Atoi(string(m.Payload)) }

func encodeInt(n int) (frames.Message, error) {
	if n < 0 {
		return frames.Message{Topic: "negative"}, fmt.Errorf("%w: %d", errNegative, n)
	}
	return message("n", strconv.Itoa(n), atLeast), nil
}

var errNegative = errors.New("negative")

// typed makes a typed subscription to "n", which the broker grants.
func typed(t *testing.T, s *stream.Session, c *streamtest.Conn) <-chan stream.Event[int] {
	t.Helper()
	var events <-chan stream.Event[int]
	done := inBackground(func() (err error) {
		events, err = decoded(t.Context(), s, decodeInt, filterOf("n", atLeast))
		return err
	})
	c.Grant(streamtest.Next[frames.Subscribe](c))
	if err := takeFrom(t, done); err != nil {
		t.Fatal(err)
	}
	return events
}

func TestBadPayloadIsAnEventThatIsStillToBeAcked(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		events := typed(t, s, c)
		c.Send(publish("n", "7", atLeast, 1, false), publish("n", "seven", atLeast, 2, true), publish("n", "8", atLeast, 3, false))
		good, bad, last := takeFrom(t, events), takeFrom(t, events), takeFrom(t, events)
		if good.Err != nil || good.Value != 7 || last.Err != nil || last.Value != 8 {
			t.Fatalf("received %+v and %+v", good, last)
		}
		wantError(t, bad.Err, strconv.ErrSyntax)
		if bad.Value != 0 || string(bad.Payload) != "seven" || !bad.Duplicate {
			t.Fatalf("the event with a bad payload is %+v", bad)
		}
		last.Ack()
		good.Ack()
		c.Expect(ack(puback, 1))
		synctest.Wait()
		c.ExpectNone()
		bad.Ack()
		c.Expect(ackRun(puback, 2, 2)...)
	})
}

func TestTypedSubscriptionLastsAsLongAsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan (<-chan stream.Event[int]), 1)
		go func() {
			events, err := decoded(ctx, s, decodeInt, filterOf("n", atLeast))
			if err != nil {
				t.Error(err)
			}
			done <- events
		}()
		c.Grant(streamtest.Next[frames.Subscribe](c))
		events := takeFrom(t, done)
		cancel() // the context applies to the call of Subscribe, not to the channel
		c = droppedAndBack(t, s, b, c, false)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Send(publish("n", "7", atLeast, 1, false))
		if e := takeFrom(t, events); e.Value != 7 {
			t.Fatalf("received %+v", e)
		}
		s.Close()
		wantEnd(t, events)
	})
}

func TestTypedSubscribeReturnsTheErrorsOfSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		done := inBackground(func() error {
			events, err := decoded(t.Context(), s, decodeInt, filterOf("n", atLeast))
			if events != nil {
				t.Error("Subscribe returned a channel and an error")
			}
			return err
		})
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{frames.UnspecifiedError}})
		var refused *stream.RefusedError
		if err := takeFrom(t, done); !errors.As(err, &refused) {
			t.Fatalf("error is %v", err)
		}
	})
}

func TestTypedChannelClosesWhenTheFilterIsNotRestored(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		events := typed(t, s, c)
		c = droppedAndBack(t, s, b, c, false)
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{frames.UnspecifiedError}})
		wantEnd(t, events)
	})
}

func TestValueThatCannotBeEncodedComesBackInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		in := make(chan int)
		receipts := stream.PublishFrom(t.Context(), s, encodeInt, in)
		go func() {
			defer close(in)
			for _, n := range []int{1, -2, 3, -4} {
				in <- n
			}
		}()
		first, third := streamtest.Next[frames.Publish](c), streamtest.Next[frames.Publish](c)
		if string(first.Payload) != "1" || string(third.Payload) != "3" {
			t.Fatalf("published %q and %q", first.Payload, third.Payload)
		}
		c.Complete(third)
		wantIdle(t, receipts) // a Receipt waits for the Receipts of earlier messages
		c.Complete(first)
		for _, want := range []int{1, -2, 3, -4} {
			r := takeFrom(t, receipts)
			if want > 0 {
				if r.Err != nil || string(r.Payload) != strconv.Itoa(want) || r.ID == 0 {
					t.Fatalf("receipt of %d: %+v", want, r)
				}
				continue
			}
			wantError(t, r.Err, stream.ErrNotSent, errNegative)
			if r.Tag != want || r.ID != 0 {
				t.Fatalf("receipt of %d: %+v", want, r)
			}
		}
		wantEnd(t, receipts)
	})
}

func TestEncodedMessageIsCheckedLikeAnyOther(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		in := make(chan string, 5)
		in <- "a/#"
		in <- "#"
		in <- ""
		in <- ""
		in <- strings.Repeat("a", 65_536)
		close(in)
		encode := func(topic string) (frames.Message, error) { return message(topic, "x", atMost), nil }
		receipts := stream.PublishFrom(t.Context(), s, encode, in)
		for range cap(in) {
			r := takeFrom(t, receipts)
			var invalid *frames.InvalidError
			if wantError(t, r.Err, stream.ErrNotSent); !errors.As(r.Err, &invalid) || invalid.Field != "topic" || r.Tag != r.Topic {
				t.Fatalf("receipt of %.10q: %v, tag %.10v", r.Topic, r.Err, r.Tag)
			}
		}
		wantEnd(t, receipts)
		synctest.Wait()
		c.ExpectNone()
	})
}
