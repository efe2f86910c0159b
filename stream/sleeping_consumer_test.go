package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// T6: the program has all channels of the session and several Ack channels, and reads none of them.
func TestNoSleepingConsumerStopsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{
			Window: 10, KeepAlive: 10 * time.Second, ReceiveBytes: 4096, Ack: make(chan stream.Receipt),
		})
		sub := subscribed(t, s, c, "sub/#", frames.ExactlyOnce)
		typed := make(chan struct{})
		go func() {
			defer close(typed)
			_, err := decoded(t.Context(), s, func(m frames.Message) (string, error) { return string(m.Payload), nil },
				frames.Filter{Topic: "typed"})
			if err != nil {
				t.Error(err)
			}
		}()
		c.Grant(streamtest.Next[frames.Subscribe](c))
		<-typed
		s.Messages()
		s.Deliveries()
		sub.Messages()
		sub.Deliveries()
		s.States(t.Context())
		stages := make(chan frames.Message)
		s.PublishFrom(t.Context(), stages)

		// Make unread Receipts on the channel of a stage, on Options.Ack and on a separate Ack
		// channel.
		for i := range 5 {
			stages <- message("out", "stage", frames.AtLeastOnce)
			s.Publishes() <- stream.Publishing{Message: message("out", "default", frames.AtLeastOnce)}
			c.Complete(streamtest.Next[frames.Publish](c))
			c.Complete(streamtest.Next[frames.Publish](c))
			s.Publishes() <- stream.Publishing{Message: message("out", fmt.Sprint(i), frames.AtMostOnce), Ack: make(chan stream.Receipt)}
			c.ExpectType(frames.TypePublish)
		}
		// Make unread messages. QoS 0 messages exceed ReceiveBytes and the channel buffers; QoS 1
		// and 2 messages stay within ReceiveBytes.
		for i := range 600 {
			c.Send(publish("sub/zero", strings.Repeat("x", 100), frames.AtMostOnce, 0, false))
			if i < 4 {
				c.Send(publish("sub/a", "1", frames.AtLeastOnce, uint16(1+i), false))
				c.Send(publish("nobody", "2", frames.ExactlyOnce, uint16(10+i), false))
				c.Send(publish("typed", "2", frames.ExactlyOnce, uint16(20+i), false))
			}
		}

		// The session still sends PINGREQ.
		for range 5 {
			c.Expect(frames.Pingreq{})
			c.Send(frames.Pingresp{})
		}
		// Publish returns nil.
		published := make(chan error, 1)
		go func() { published <- s.Publish(t.Context(), message("out", "mine", frames.ExactlyOnce)) }()
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := <-published; err != nil {
			t.Error(err)
		}
		// A new Subscription receives its messages.
		other := subscribed(t, s, c, "other", frames.AtLeastOnce)
		c.Send(publish("other", "for me", frames.AtMostOnce, 0, false))
		if m := <-other.Messages(); string(m.Payload) != "for me" {
			t.Errorf("received %q, want the message for other", m.Payload)
		}
		if st := s.Stats(); st.Dropped == 0 || st.Receipts == 0 || !st.Online {
			t.Errorf("stats: %+v", st)
		}
		// Close returns within the grace period for Receipts.
		begin := time.Now()
		err := s.Close()
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("Close took %v, want at most 3 s", d)
		}
		if err == nil || !strings.Contains(err.Error(), "Receipts") {
			t.Errorf("Close returned %v, want the number of unread Receipts", err)
		}
	})
}

// goroutines waits until all goroutines are idle, and returns the number of those that belong to
// the session.
func goroutines() int {
	synctest.Wait()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for _, g := range bytes.Split(stacks, []byte("\n\n")) {
		if bytes.Contains(g, []byte("go-millrace/mqtt/stream.")) {
			n++
		}
	}
	return n
}

// The session has two goroutines, and one more for each receive channel and each stage. A writer
// goroutine starts with a batch, and ends when a PINGRESP finds it idle.
func TestGoroutineBudget(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		check := func(what string, want int) {
			t.Helper()
			if got := goroutines(); got != want {
				t.Errorf("%s: %d goroutines, want %d", what, got, want)
			}
		}
		s, c := connected(t, b, nil)
		check("connected", 2)
		sub := subscribed(t, s, c, "a", frames.AtMostOnce)
		check("subscribed", 3)
		sub.Messages()
		sub.Messages()
		check("Messages", 4)
		sub.Deliveries()
		check("Deliveries", 5)
		s.Deliveries()
		check("Deliveries of the client", 6)
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan frames.Message)
		out := s.PublishFrom(ctx, in)
		check("a stage", 7)
		s.States(ctx)
		s.Online()
		check("States and Online", 7)
		ack := make(chan stream.Receipt)
		s.Publishes() <- stream.Publishing{Message: message("b", "", frames.AtMostOnce), Ack: ack}
		check("an Ack channel that lags", 8)
		<-ack
		check("the same, caught up", 7)
		cancel()
		for range out {
		}
		check("the stage ended", 6)
		c.Drop()
		check("waiting to reconnect: no reader", 5)
		c = b.Handshake(false)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		check("reconnected", 6)
		s.Close()
		check("closed", 0)
	})
}

// The writer goroutine ends when the session is idle. The next batch starts a new writer.
func TestTheWriterEndsWithAnIdlePingresp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: 10 * time.Second})
		check := func(what string, want int) {
			t.Helper()
			if got := goroutines(); got != want {
				t.Errorf("%s: %d goroutines, want %d", what, got, want)
			}
		}
		for range 2 {
			s.Publishes() <- stream.Publishing{Message: message("a", "", frames.AtMostOnce)}
			c.ExpectType(frames.TypePublish)
			check("published", 3)
			c.ExpectType(frames.TypePingreq)
			check("PINGREQ", 3)
			c.Send(frames.Pingresp{})
			check("PINGRESP", 2)
		}
	})
}

// Close stops all goroutines, whichever packet of a busy connection precedes it.
func TestCloseLeavesNoGoroutineAtAnyStep(t *testing.T) {
	const steps = 12
	for step := range steps {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			receipts := make(chan stream.Receipt, 8)
			s := open(t, b, &stream.Options{Window: 2, Ack: receipts})
			n := 0
			script := []func(){
				func() {},
				func() { synctest.Wait() },
			}
			var c *streamtest.Conn
			script = append(script,
				func() { c = b.Accept() },
				func() { c.ExpectConnect() },
				func() { c.Connack(false, frames.Success) },
				func() { s.Deliveries(); s.Messages() },
				func() {
					for range 3 {
						s.Publishes() <- stream.Publishing{Message: message("a", "b", frames.ExactlyOnce)}
						n++
					}
				},
				func() { c.ExpectType(frames.TypePublish); c.Send(ack(pubrec, 1)) },
				func() { c.Send(publish("x", "y", frames.ExactlyOnce, 5, false)) },
				func() { c.Stall() },
				func() { c.Abort() },
				func() { c = b.Accept() },
			)
			for _, do := range script[:min(step+1, len(script))] {
				do()
			}
			s.Close()
			if got := goroutines(); got != 0 {
				t.Errorf("step %d: %d goroutines left", step, got)
			}
			if len(receipts) != n {
				t.Errorf("step %d: %d receipts for %d publishings", step, len(receipts), n)
			}
			for range n {
				r := <-receipts
				if !errors.Is(r.Err, stream.ErrNotSent) && !errors.Is(r.Err, stream.ErrUnconfirmed) {
					t.Errorf("step %d: receipt with %v", step, r.Err)
				}
			}
		})
	}
}

// A consumer waits for an ack. Before the ack arrive more than ReceiveBytes of messages that only
// this consumer can receive. Only MaxUnread bounds them.
func TestAConsumerThatPublishesIsNotStoppedByItsOwnFullInbox(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 1000})
		sub := subscribed(t, s, c, "in", frames.AtLeastOnce)
		done := make(chan error)
		go func() {
			for range sub.All(t.Context()) {
				done <- s.Publish(t.Context(), message("out", "x", frames.AtLeastOnce))
				return
			}
		}()
		c.Send(publish("in", "first", frames.AtLeastOnce, 1, false))
		p := streamtest.Next[frames.Publish](c)
		for i := range uint16(10) {
			c.Send(publish("in", strings.Repeat("x", 100), frames.AtLeastOnce, 2+i, false))
		}
		synctest.Wait()
		c.Send(ack(puback, p.ID))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
