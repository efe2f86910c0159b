package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// filled returns a closed channel with n numbered messages, whose QoS cycles through levels.
func filled(n int, levels ...frames.QoS) <-chan frames.Message {
	in := make(chan frames.Message, n)
	for i := range n {
		in <- numbered(i, levels[i%len(levels)])
	}
	close(in)
	return in
}

// wantStaged expects Receipts without errors, in order. The numbers of their messages start with
// from and end before to.
func wantStaged(t *testing.T, out <-chan stream.Receipt, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if r := takeFrom(t, out); r.Err != nil || string(r.Payload) != strconv.Itoa(n) {
			t.Fatalf("Receipt %+v, want number %d", r, n)
		}
	}
}

// wantStagedError expects the Receipt of message n, with an error that wraps all targets.
func wantStagedError(t *testing.T, out <-chan stream.Receipt, n int, targets ...error) stream.Receipt {
	t.Helper()
	r := takeFrom(t, out)
	if string(r.Payload) != strconv.Itoa(n) {
		t.Fatalf("Receipt %+v, want number %d", r, n)
	}
	wantError(t, r.Err, targets...)
	return r
}

func TestStageReturnsReceiptsInOrderOfTheMessages(t *testing.T) {
	t.Run("acks come in the opposite order", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Window: 10})
			out := s.PublishFrom(t.Context(), filled(20, 1))
			for round := range 2 {
				packets := nextPublishes(t, c, 10)
				for i := 9; i >= 0; i-- {
					wantIdle(t, out)
					c.Send(ack(puback, packets[i].ID))
					synctest.Wait()
				}
				wantStaged(t, out, 10*round, 10*round+10)
			}
			wantEnd(t, out)
		})
	})
	t.Run("levels end at different times", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Window: 10})
			out := s.PublishFrom(t.Context(), filled(6, 2, 1, 0))
			packets := nextPublishes(t, c, 6)
			wantIdle(t, out) // both QoS 0 messages are complete
			c.Complete(packets[1])
			wantIdle(t, out)
			c.Complete(packets[0])
			wantStaged(t, out, 0, 3)
			c.Complete(packets[4])
			wantIdle(t, out)
			c.Send(ack(pubrec, packets[3].ID))
			c.Expect(ack(pubrel, packets[3].ID))
			wantIdle(t, out)
			c.Send(ack(pubcomp, packets[3].ID))
			wantStaged(t, out, 3, 6)
			wantEnd(t, out)
		})
	})
	t.Run("of thousands", func(t *testing.T) {
		b := streamtest.New(t)
		b.Respond(new(streamtest.Responder))
		s := open(t, b, &stream.Options{Window: 50, Queue: 100})
		const n = 20_000
		next := 0
		for r := range s.PublishFrom(t.Context(), filled(n, 2, 1, 0, 1, 0, 0, 2)) {
			if r.Err != nil || string(r.Payload) != strconv.Itoa(next) {
				t.Fatalf("Receipt %+v, want number %d", r, next)
			}
			next++
		}
		if next != n {
			t.Fatalf("%d Receipts", next)
		}
	})
}

func TestStageClosesWhenItsChannelIsClosedAndAllHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 3, KeepAlive: noPing})
		in := make(chan frames.Message)
		out := s.PublishFrom(t.Context(), in)
		in <- numbered(0, 1)
		in <- numbered(1, 2)
		packets := nextPublishes(t, c, 2)
		close(in)
		c.ExpectQuiet(time.Hour)
		wantIdle(t, out)
		c.Complete(packets[0])
		wantStaged(t, out, 0, 1)
		c.ExpectQuiet(time.Hour)
		wantIdle(t, out)
		c.Complete(packets[1])
		wantStaged(t, out, 1, 2)
		wantEnd(t, out)
		if err := s.Publish(t.Context(), message("t", "", 0)); err != nil { // the session still works
			t.Fatal(err)
		}
	})
	t.Run("at once when it was empty", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, nil)
			wantEnd(t, s.PublishFrom(t.Context(), filled(0)))
		})
	})
	t.Run("offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{Reconnect: every(time.Minute)})
			out := s.PublishFrom(t.Context(), filled(3, 1, 0))
			elapse(30 * time.Second)
			wantIdle(t, out)
			c := b.Handshake(false)
			c.Complete(streamtest.Next[frames.Publish](c))
			streamtest.Next[frames.Publish](c)
			c.Complete(streamtest.Next[frames.Publish](c))
			wantStaged(t, out, 0, 3)
			wantEnd(t, out)
		})
	})
}

// When the context of a stage ends, its queued messages are withdrawn. The stage ends without
// waiting for messages in flight.
func TestStageEndsWithItsContext(t *testing.T) {
	reason := errors.New("enough")
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 3, KeepAlive: noPing})
		ctx, cancel := context.WithCancelCause(t.Context())
		in := make(chan frames.Message, 100)
		for n := range 10 {
			in <- numbered(n, frames.QoS(1+n%2))
		}
		out := s.PublishFrom(ctx, in)
		packets := nextPublishes(t, c, 3)
		c.Complete(packets[1])
		next := streamtest.Next[frames.Publish](c)
		synctest.Wait()
		cancel(reason)
		if r := wantStagedError(t, out, 0, stream.ErrUnconfirmed, reason); r.ID != packets[0].ID {
			t.Errorf("Receipt with identifier %d, want %d of the publication in flight", r.ID, packets[0].ID)
		}
		wantStaged(t, out, 1, 2)
		wantStagedError(t, out, 2, stream.ErrUnconfirmed, reason)
		wantStagedError(t, out, 3, stream.ErrUnconfirmed, reason)
		for n := 4; n < 10; n++ {
			r := wantStagedError(t, out, n, stream.ErrNotSent, reason)
			wantNoErrorIn(t, r.Err, stream.ErrUnconfirmed)
		}
		wantEnd(t, out)
		in <- numbered(10, 1)
		synctest.Wait()
		if len(in) != 1 {
			t.Fatal("a message was received after the end")
		}
		// Exchanges in flight continue without the stage. The withdrawn messages are never sent.
		c.Complete(packets[0])
		c.Complete(packets[2])
		c.Complete(next)
		c.ExpectQuiet(time.Hour)
		if st := s.Stats(); st.InFlight != 0 || st.Queued != 0 {
			t.Fatalf("%+v", st)
		}
	})
	for _, room := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("with a batch that waits for room in the queue, of which %d are in", room), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Queue: 10, KeepAlive: noPing})
				acks := make(chan stream.Receipt, 20)
				offer(s, 100, 111-room, 1, acks) // one of these publications is in flight, so the queue holds 10-room
				first := streamtest.Next[frames.Publish](c)
				ctx, cancel := context.WithCancelCause(t.Context())
				in := make(chan frames.Message, 5)
				for n := range 5 {
					in <- numbered(n, 1)
				}
				out := s.PublishFrom(ctx, in)
				synctest.Wait()
				if len(in) != 0 {
					t.Fatalf("%d messages were not received", len(in))
				}
				cancel(reason)
				for n := range 5 {
					wantStagedError(t, out, n, stream.ErrNotSent, reason)
				}
				wantEnd(t, out)
				// The queue has the same room as before, and accepts publications again.
				if room > 0 && !accepts(s, publishing(111-room, 1, acks)) {
					t.Fatal("none is accepted")
				}
				c.Complete(first)
				last := 111 - room
				if room == 0 {
					last--
				}
				for n := 101; n <= last; n++ {
					p := streamtest.Next[frames.Publish](c)
					if atoi(t, p) != n {
						t.Fatalf("%+v, want number %d", p, n)
					}
					c.Complete(p)
				}
				c.ExpectQuiet(time.Hour)
			})
		})
	}
	t.Run("with a full queue", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Window: 2, Queue: 4, KeepAlive: noPing})
			ctx, cancel := context.WithCancelCause(t.Context())
			in := make(chan frames.Message, 100)
			for n := range 50 {
				in <- numbered(n, 1)
			}
			out := s.PublishFrom(ctx, in)
			synctest.Wait()
			if accepts(s, publishing(99, 0, nil)) {
				t.Fatal("the queue is not full")
			}
			taken := 50 - len(in)
			cancel(reason)
			for n := range 2 {
				wantStagedError(t, out, n, stream.ErrUnconfirmed, reason)
			}
			for n := 2; n < taken; n++ {
				wantStagedError(t, out, n, stream.ErrNotSent, reason)
			}
			wantEnd(t, out)
			if taken < 6 || taken != 50-len(in) {
				t.Fatalf("the stage had received %d messages, now %d", taken, 50-len(in))
			}
			nextPublishes(t, c, 2)
			c.ExpectQuiet(time.Hour)
			if !accepts(s, publishing(99, 0, nil)) {
				t.Fatal("the queue is full")
			}
		})
	})
	t.Run("offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1000, nil)
			s := open(t, b, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out := s.PublishFrom(ctx, filled(10, 0, 1, 2))
			elapse(time.Minute)
			for n := range 10 {
				wantStagedError(t, out, n, stream.ErrNotSent, context.DeadlineExceeded)
			}
			wantEnd(t, out)
		})
	})
	t.Run("without a message", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, nil)
			ctx, cancel := context.WithCancel(t.Context())
			idle := s.PublishFrom(ctx, make(chan frames.Message))
			wantIdle(t, idle)
			cancel()
			wantEnd(t, idle)
		})
	})
	t.Run("that has ended before", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for r := range s.PublishFrom(ctx, filled(10, 1)) {
				wantError(t, r.Err, context.Canceled)
				if errors.Is(r.Err, stream.ErrUnconfirmed) {
					c.Complete(streamtest.Next[frames.Publish](c))
				}
			}
			c.ExpectQuiet(time.Hour)
		})
	})
}

// A message that cannot be published gets a Receipt too, in the order of the messages.
func TestBadMessageGetsItsReceiptInPlace(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		in := make(chan frames.Message, 10)
		in <- numbered(0, 1)
		in <- frames.Message{Topic: "a/#", Payload: []byte("1")}
		in <- numbered(2, 2)
		in <- frames.Message{Topic: "n", QoS: 3, Payload: []byte("3")}
		in <- frames.Message{Topic: "", Payload: []byte("4")}
		in <- numbered(5, 1)
		close(in)
		out := s.PublishFrom(t.Context(), in)
		packets := nextPublishes(t, c, 3)
		c.Complete(packets[1])
		c.Complete(packets[2])
		wantIdle(t, out)
		c.Complete(packets[0])
		wantStaged(t, out, 0, 1)
		bad := func(n int) {
			t.Helper()
			r := wantStagedError(t, out, n, stream.ErrNotSent)
			var invalid *frames.InvalidError
			if !errors.As(r.Err, &invalid) || r.ID != 0 {
				t.Errorf("Receipt %+v", r)
			}
		}
		bad(1)
		wantStaged(t, out, 2, 3)
		bad(3)
		bad(4)
		wantStaged(t, out, 5, 6)
		wantEnd(t, out)
	})
	t.Run("and nothing else", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
			in := make(chan frames.Message, 1000)
			for range 1000 {
				in <- frames.Message{Topic: "+"}
			}
			close(in)
			n := 0
			for r := range s.PublishFrom(t.Context(), in) {
				wantError(t, r.Err, stream.ErrNotSent)
				n++
			}
			if n != 1000 {
				t.Fatalf("%d Receipts", n)
			}
			c.ExpectQuiet(time.Hour)
		})
	})
}

func TestStageOfValuesEncodesThem(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		odd := errors.New("odd")
		in := make(chan int, 5)
		for n := range 5 {
			in <- n
		}
		close(in)
		out := stream.PublishFrom(t.Context(), s, func(n int) (frames.Message, error) {
			if n%2 == 1 {
				return frames.Message{}, odd
			}
			return numbered(n, 1), nil
		}, in)
		for range 3 {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		for n := range 5 {
			if n%2 == 0 {
				wantStaged(t, out, n, n+1)
				continue
			}
			r := takeFrom(t, out)
			wantError(t, r.Err, odd, stream.ErrNotSent)
			if r.Tag != n {
				t.Errorf("Receipt %+v, want value %d", r, n)
			}
		}
		wantEnd(t, out)
	})
}

// If nobody reads the Receipts of a stage, that stage stops. Other stages go on.
func TestStageWhoseReceiptsNobodyReadsStopsAlone(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Respond(new(streamtest.Responder))
		s := open(t, b, &stream.Options{Window: 10, Queue: 20})
		endless := make(chan frames.Message)
		stop := make(chan struct{})
		taken := 0
		go func() {
			for {
				select {
				case endless <- numbered(taken, frames.QoS(taken%3)):
					taken++
				case <-stop:
					return
				}
			}
		}()
		unread := s.PublishFrom(t.Context(), endless)
		synctest.Wait()
		if taken > 256+10+20 || taken < 256 {
			t.Fatalf("%d messages were received", taken)
		}
		n := 0
		for r := range s.PublishFrom(t.Context(), filled(5000, 1, 2, 0)) {
			if r.Err != nil || string(r.Payload) != strconv.Itoa(n) {
				t.Fatalf("Receipt %+v, want number %d", r, n)
			}
			n++
		}
		if n != 5000 {
			t.Fatalf("%d Receipts", n)
		}
		if err := s.Publish(t.Context(), message("t", "", 2)); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := taken
		wantStaged(t, unread, 0, 100) // reading again resumes the stage
		synctest.Wait()
		if taken != before+100 {
			t.Fatalf("%d messages were received after 100 Receipts", taken-before)
		}
		wantText(t, callClose(t, s).within(time.Second, 2*time.Second), fmt.Sprintf("%d Receipts", taken-100-256))
		wantStaged(t, unread, 100, 356)
		wantEnd(t, unread)
		close(stop)
	})
}

// A stage receives a bounded number of messages while none is sent.
func TestStageTakesNoMoreThanWindowAndQueue(t *testing.T) {
	for _, row := range []struct{ window, queue int }{{1, 1}, {5, 3}, {100, 1000}} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, &stream.Options{Window: row.window, Queue: row.queue})
			in := make(chan frames.Message, 3000)
			for n := range cap(in) {
				in <- numbered(n, 1)
			}
			s.PublishFrom(t.Context(), in)
			synctest.Wait()
			if taken := cap(in) - len(in); taken > row.window+row.queue || taken < row.queue {
				t.Fatalf("%d received with a window of %d and a queue of %d", taken, row.window, row.queue)
			}
		})
	}
}

func TestSessionsEndEndsStages(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *stream.Session, c *streamtest.Conn){
		"Close":           func(_ *testing.T, s *stream.Session, _ *streamtest.Conn) { s.Close() },
		"connection lost": func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) { c.Drop() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Window: 3, Queue: 4, NoReconnect: true})
				in := make(chan frames.Message, 100)
				for n := range 50 {
					in <- numbered(n, 1)
				}
				out := s.PublishFrom(t.Context(), in)
				other := s.PublishFrom(t.Context(), make(chan frames.Message))
				c.Complete(nextPublishes(t, c, 3)[0])
				nextPublishes(t, c, 1)
				synctest.Wait()
				end(t, s, c)
				<-s.Done()
				wantStaged(t, out, 0, 1)
				for n := 1; n < 4; n++ {
					wantStagedError(t, out, n, stream.ErrUnconfirmed)
				}
				for n := 4; n < 50-len(in); n++ {
					wantStagedError(t, out, n, stream.ErrNotSent, stream.ErrClosed)
				}
				wantEnd(t, out)
				wantEnd(t, other)
			})
		})
	}
}

// Stages and publishers share the queue. All of them make progress, and each has its messages sent
// in order.
func TestStagesAndPublishersShareTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Respond(new(streamtest.Responder))
		s := open(t, b, &stream.Options{Window: 3, Queue: 5})
		const n = 2000
		ended := make(chan error, 8)
		for range 4 {
			go func() {
				next := 0
				for r := range s.PublishFrom(t.Context(), filled(n, 1, 2, 0)) {
					if r.Err != nil || string(r.Payload) != strconv.Itoa(next) {
						ended <- fmt.Errorf("Receipt %+v, want number %d", r, next)
						return
					}
					next++
				}
				if next != n {
					ended <- fmt.Errorf("%d Receipts", next)
					return
				}
				ended <- nil
			}()
		}
		for range 4 {
			go func() {
				for i := range n / 4 {
					if err := s.Publish(t.Context(), numbered(i, frames.QoS(i%3))); err != nil {
						ended <- err
						return
					}
				}
				ended <- nil
			}()
		}
		for range 8 {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The context of a stage may end at any moment. Each message that the stage received still gets one
// Receipt, in order, and the session keeps no message of the stage.
func TestStagesThatAreCutOffAtAnyMoment(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Respond(new(streamtest.Responder))
		s := open(t, b, &stream.Options{Window: 3, Queue: 5})
		<-s.Online()
		r := rand.New(rand.NewPCG(7, 8))
		for range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			in := make(chan frames.Message, 100)
			for n := range 100 {
				in <- numbered(n, frames.QoS(r.IntN(3)))
			}
			stopAt, next := r.IntN(100), 0
			for r := range s.PublishFrom(ctx, in) {
				if string(r.Payload) != strconv.Itoa(next) {
					t.Fatalf("Receipt %+v, want number %d", r, next)
				}
				if next++; next == stopAt || next == 100 {
					cancel()
				}
			}
			cancel()
			if next+len(in) != 100 {
				t.Fatalf("%d Receipts, %d messages left", next, len(in))
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// The session reports completed publications to a stage as runs of consecutive sequence numbers and
// identifiers. A publication of another caller interrupts such a run.
func TestStageReceiptsHaveTheirIdentifiersWhenOthersPublishInBetween(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10, KeepAlive: noPing})
		in := make(chan frames.Message)
		out := s.PublishFrom(t.Context(), in)
		var acks []frames.Packet
		var want []uint16
		for i := range 6 {
			m := message("t", fmt.Sprint(i), atLeast)
			if i%2 == 0 {
				in <- m
			} else {
				s.Publishes() <- stream.Publishing{Message: m}
			}
			id := streamtest.Next[frames.Publish](c).ID
			acks = append(acks, ack(puback, id))
			if i%2 == 0 {
				want = append(want, id)
			}
		}
		close(in)
		c.Send(acks...)
		for _, id := range want {
			if r := <-out; r.ID != id || r.Err != nil {
				t.Errorf("Receipt %+v, want identifier %d", r, id)
			}
		}
	})
}
