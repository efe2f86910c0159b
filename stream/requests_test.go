package stream_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// query returns a request at QoS 1 with a Tag.
func query(tag int) stream.Publishing {
	return stream.Publishing{Message: message("q", fmt.Sprint(tag), 1), Tag: tag}
}

// queries returns a closed channel with n requests, tagged 0 to n-1.
func queries(n int) <-chan stream.Publishing {
	in := make(chan stream.Publishing, n)
	for i := range n {
		in <- query(i)
	}
	close(in)
	return in
}

// everyReply receives every Reply by its Tag. Each Tag must come once.
func everyReply(t *testing.T, out <-chan stream.Reply) map[int]stream.Reply {
	t.Helper()
	got := make(map[int]stream.Reply)
	for r := range out {
		if _, again := got[r.Tag.(int)]; again {
			t.Errorf("a second Reply for %v", r.Tag)
		}
		got[r.Tag.(int)] = r
	}
	return got
}

func wantTags(t *testing.T, got map[int]stream.Reply, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("replies for %v, want one for each of %d requests", slices.Sorted(maps.Keys(got)), n)
	}
}

func TestRepliesComeAsTheyArriveWithTheirTags(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 3})
		out := s.Requests(t.Context(), queries(3))
		p := []frames.Publish{granted(c, 0), requested(c, 0), requested(c, 0)}
		for _, i := range []int{2, 0, 1} {
			replyTo(c, p[i], "reply to "+string(p[i].Payload))
			r := <-out
			r.Ack()      // does nothing
			r.Requeue(0) // does nothing
			if r.Err != nil || r.Tag != i || string(r.Payload) != fmt.Sprintf("reply to %d", i) {
				t.Errorf("got %v %q %v, want the reply to %d", r.Tag, r.Payload, r.Err, i)
			}
		}
		if r, open := <-out; open {
			t.Errorf("another Reply: %+v", r)
		}
		c.ExpectQuiet(time.Second)
	})
}

func TestARequestThatFailsIsToldAndTheOthersGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 3})
		in := make(chan stream.Publishing, 4)
		in <- query(0)
		bad := query(1)
		bad.Properties = &frames.Properties{ResponseTopic: "mine"}
		in <- bad
		in <- query(2)
		in <- query(3)
		close(in)
		out := s.Requests(t.Context(), in)
		first := granted(c, frames.Success)
		requested(c, frames.NoMatchingSubscribers)
		requested(c, frames.QuotaExceeded)
		replyTo(c, first, "fine")
		got := everyReply(t, out)
		wantTags(t, got, 4)
		if got[0].Err != nil || string(got[0].Payload) != "fine" {
			t.Errorf("got %+v for 0", got[0])
		}
		wantError(t, got[1].Err, stream.ErrNotSent)
		wantError(t, got[2].Err, stream.ErrNoResponder)
		wantError(t, got[3].Err, stream.ErrRefused)
	})
}

func TestRequestsTakesAtMostWindowAndQueue(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 2, Queue: 3})
		in := queries(8)
		out := s.Requests(t.Context(), in)
		first := granted(c, 0)
		second := requested(c, 0)
		synctest.Wait()
		if len(in) != 3 {
			t.Errorf("%d requests are left, want 3", len(in))
		}
		replyAtQoS0(c, first)
		synctest.Wait()
		if len(in) != 2 {
			t.Errorf("%d requests are left after a reply, want 2", len(in))
		}
		replyAtQoS0(c, second)
		for range 6 {
			replyAtQoS0(c, requested(c, 0))
		}
		wantTags(t, everyReply(t, out), 8)
	})
}

func TestARepliesChannelThatNobodyReadsBlocksNobody(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 10, Queue: 10})
		in := queries(400)
		out := s.Requests(t.Context(), in)
		replyAtQoS0(c, granted(c, 0))
		const buffered = 256 + 20
		for range buffered - 1 {
			replyAtQoS0(c, requested(c, 0))
		}
		synctest.Wait()
		if left := len(in); left != 400-buffered {
			t.Errorf("%d requests are left, want %d", left, 400-buffered)
		}
		done := ask(t.Context(), s, message("q", "", 1))
		replyTo(c, requested(c, 0), "other")
		wantReply(t, <-done, "other")
		go func() {
			for range 400 - buffered {
				replyAtQoS0(c, requested(c, 0))
			}
		}()
		wantTags(t, everyReply(t, out), 400)
	})
}

func TestTheEndOfTheContextTellsEveryRequestUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 2, Queue: 1})
		ctx, cancel := context.WithCancel(context.Background())
		in := make(chan stream.Publishing, 6)
		for i := range 6 {
			in <- query(i)
		}
		out := s.Requests(ctx, in)
		granted(c, 0)
		p := streamtest.Next[frames.Publish](c)
		streamtest.Next[frames.Publish](c)
		synctest.Wait()
		cancel()
		got := everyReply(t, out)
		wantTags(t, got, 3)
		wantError(t, got[0].Err, stream.ErrUnconfirmed, context.Canceled) // acknowledged
		wantError(t, got[1].Err, stream.ErrUnconfirmed, context.Canceled) // in flight
		wantError(t, got[2].Err, stream.ErrUnconfirmed, context.Canceled)
		c.Complete(p)
		if len(in) != 3 {
			t.Errorf("%d requests are left, want 3", len(in))
		}
		out = s.Requests(ctx, in)
		if r, open := <-out; open || len(in) != 3 {
			t.Errorf("a stage whose context has ended took a request: %+v", r)
		}
	})
}

func TestTheEndOfTheContextWithdrawsQueuedRequests(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil) // Window 1
		ctx, cancel := context.WithCancel(context.Background())
		out := s.Requests(ctx, queries(3))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		p := streamtest.Next[frames.Publish](c)
		synctest.Wait()
		cancel()
		got := everyReply(t, out)
		wantTags(t, got, 3)
		wantError(t, got[0].Err, stream.ErrUnconfirmed, context.Canceled)
		wantError(t, got[1].Err, stream.ErrNotSent, context.Canceled)
		wantError(t, got[2].Err, stream.ErrNotSent, context.Canceled)
		c.Complete(p)
		c.ExpectQuiet(time.Second)
	})
}

func TestRepliesThatNobodyReceivesAfterTheContextAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 600})
		ctx, cancel := context.WithCancel(context.Background())
		out := s.Requests(ctx, queries(300))
		granted(c, 0)
		for range 299 {
			requested(c, 0)
		}
		synctest.Wait()
		cancel()
		elapse(3 * time.Second)
		if n := s.Stats().Unreported; n != 300-256 {
			t.Errorf("%d replies were dropped, want %d", n, 300-256)
		}
		wantTags(t, everyReply(t, out), 256)
	})
}

func TestARequestWithAnExpiryEndsWhenItHasPassed(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil) // Window 1
		in := make(chan stream.Publishing, 4)
		for i, expiry := range []time.Duration{3 * time.Second, 0, 2 * time.Second, time.Second} {
			p := query(i)
			if expiry > 0 {
				p.Properties = &frames.Properties{Expiry: expiry}
			}
			in <- p
		}
		close(in)
		start := time.Now()
		out := s.Requests(t.Context(), in)
		granted(c, 0)
		open := requested(c, 0)
		requested(c, 0)                    // acknowledged, without a reply
		streamtest.Next[frames.Publish](c) // in flight
		for _, want := range []struct {
			tag   int
			after time.Duration
		}{{3, time.Second}, {2, 2 * time.Second}, {0, 3 * time.Second}} {
			r := <-out
			if after := time.Since(start); r.Tag != want.tag || after != want.after {
				t.Errorf("request %v ended after %v, want %d after %v", r.Tag, after, want.tag, want.after)
			}
			wantError(t, r.Err, stream.ErrUnconfirmed, stream.ErrExpired)
		}
		replyTo(c, open, "r")
		if r := <-out; r.Tag != 1 || r.Err != nil {
			t.Errorf("got %v, %v; want the reply to 1", r.Tag, r.Err)
		}
	})
}

func TestCloseTellsEveryRequestUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 1, Queue: 1})
		in := make(chan stream.Publishing, 5)
		for i := range 5 {
			in <- query(i)
		}
		out := s.Requests(context.Background(), in)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		streamtest.Next[frames.Publish](c)
		synctest.Wait()
		go s.Close()
		c.ExpectDisconnect()
		got := everyReply(t, out)
		wantTags(t, got, 2)
		wantError(t, got[0].Err, stream.ErrUnconfirmed, stream.ErrClosed)
		wantError(t, got[1].Err, stream.ErrNotSent, stream.ErrClosed)
		<-s.Done()
		if r, open := <-s.Requests(context.Background(), in); open {
			t.Errorf("a stage of an ended session has the Reply %+v", r)
		}
	})
}

func TestAConsumerThatIsBehindCanStillSendRequests(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{MaxUnread: 1000, MaxPacket: 1000, Window: 1, Queue: 1})
		in := make(chan stream.Publishing)
		out := s.Requests(t.Context(), in)
		in <- query(0)
		granted(c, 0)
		in <- query(1)
		for range 20 {
			c.Publish(message("other", "0123456789", 1))
		}
		in <- query(2) // waits until the session is behind
		if r := <-out; r.Tag != 2 {
			t.Errorf("the Reply for %v comes first, want 2", r.Tag)
		} else {
			wantError(t, r.Err, stream.ErrNotSent, stream.ErrBehind)
		}
	})
}

func TestRequestsHasTwoGoroutinesAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 10})
		before := goroutines()
		out := s.Requests(t.Context(), queries(10))
		granted(c, 0)
		for range 9 {
			requested(c, 0)
		}
		c.Expect(frames.Pingreq{})
		c.Send(frames.Pingresp{}) // ends the writer
		if n := goroutines() - before; n != 2 {
			t.Errorf("%d more goroutines, want one for the replies and one for the stage", n)
		}
		go s.Close()
		c.ExpectDisconnect()
		wantTags(t, everyReply(t, out), 10)
	})
}
