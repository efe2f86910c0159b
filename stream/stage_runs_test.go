package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A stage receives runs of messages of one QoS, and runs of values that cannot be encoded. The
// Receipts come in order, whatever the lengths of the runs.
func TestStageOfRunsOfAnyLength(t *testing.T) {
	const n, odd = 8_000, 3
	refused := errors.New("odd")
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			kinds := make([]int, n) // a QoS, or the constant odd for a value that cannot be encoded
			for i := 0; i < n; {
				kind, length := r.IntN(odd+1), 1+r.IntN(1+r.IntN(1+r.IntN(700)))
				for ; length > 0 && i < n; length, i = length-1, i+1 {
					kinds[i] = kind
				}
			}
			b := streamtest.New(t)
			b.Respond(&streamtest.Responder{Loopback: true})
			s := open(t, b, &stream.Options{Window: 1 + r.IntN(50), Queue: 1 + r.IntN(2000)})
			sub, err := s.Subscribe(t.Context(), frames.Filter{Topic: "n", QoS: frames.ExactlyOnce})
			if err != nil {
				t.Fatal(err)
			}
			in := make(chan int, r.IntN(1000))
			go func() {
				defer close(in)
				for i := range n {
					in <- i
				}
			}()
			out := stream.PublishFrom(t.Context(), s, func(i int) (frames.Message, error) {
				if kinds[i] == odd {
					return frames.Message{}, refused
				}
				return numbered(i, frames.QoS(kinds[i])), nil
			}, in)
			next := 0
			for r := range out {
				kind := kinds[next]
				switch {
				case kind == odd && (!errors.Is(r.Err, refused) || r.Tag != next || r.ID != 0),
					kind != odd && (r.Err != nil || r.Tag != nil || string(r.Payload) != strconv.Itoa(next)),
					kind != odd && int(r.QoS) != kind,
					kind == 0 && r.ID != 0,
					(kind == 1 || kind == 2) && r.ID == 0:
					t.Fatalf("Receipt %+v, want number %d, kind %d", r, next, kind)
				}
				next++
			}
			if next != n {
				t.Fatalf("%d Receipts", next)
			}
			var want, got [odd + 1][]string
			for i, kind := range kinds {
				want[kind] = append(want[kind], strconv.Itoa(i))
			}
			for range n - len(want[odd]) {
				m := <-sub.Messages()
				got[m.QoS] = append(got[m.QoS], string(m.Payload))
			}
			for q := range odd {
				if !slices.Equal(got[q], want[q]) {
					t.Errorf("at QoS %d received %q, want %q", q, got[q], want[q])
				}
			}
		})
	}
}

// stalled starts a stage on a connection that accepts no bytes. The stage has n QoS 0 messages of 1
// KiB each.
func stalled(ctx context.Context, s *stream.Session, c *streamtest.Conn, n int) <-chan stream.Receipt {
	c.Stall()
	in := make(chan frames.Message, n)
	for i := range n {
		m := numbered(i, frames.AtMostOnce)
		m.Payload = append(m.Payload, bytes.Repeat([]byte{' '}, 1<<10)...)
		in <- m
	}
	close(in)
	out := s.PublishFrom(ctx, in)
	synctest.Wait()
	return out
}

// number returns the number of a message, given its payload.
func number(payload []byte) int {
	n, err := strconv.Atoi(string(bytes.TrimRight(payload, " ")))
	if err != nil {
		return -1
	}
	return n
}

// When a stage is idle, the memory of its earlier messages can be freed.
func TestIdleStageKeepsNothing(t *testing.T) {
	b := streamtest.New(t)
	b.Respond(new(streamtest.Responder))
	s := open(t, b, nil)
	in := make(chan frames.Message)
	defer close(in)
	out := s.PublishFrom(t.Context(), in)
	freed := make(chan struct{})
	func() {
		m := frames.Message{Topic: "t", Payload: make([]byte, 1<<10)} // small objects share memory
		runtime.AddCleanup(&m.Payload[0], func(struct{}) { close(freed) }, struct{}{})
		in <- m
		<-out
	}()
	for deadline := time.After(10 * time.Second); ; {
		runtime.GC()
		select {
		case <-freed:
			return
		case <-deadline:
			t.Fatal("the payload is still reachable")
		default:
			runtime.Gosched()
		}
	}
}

// If a connection ends before the write of a batch begins, the next connection carries its
// messages. That also holds if the run of these messages extends over several batches.
func TestStageContinuesWithUnwrittenMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		const n = 500
		s, c := connected(t, b, &stream.Options{Queue: 2 * n, KeepAlive: noPing})
		out := stalled(t.Context(), s, c, n)
		c.Abort()
		began := 0
		for r := range out { // first the Receipts of the batch that was being written
			if r.Err == nil {
				t.Fatalf("Receipt %+v", r)
			}
			wantError(t, r.Err, stream.ErrUnconfirmed)
			if number(r.Payload) != began {
				t.Fatalf("the Receipt of %d, want that of %d", number(r.Payload), began)
			}
			if began++; began*1024 > 60<<10 {
				break
			}
		}
		c = b.Handshake(false)
		first := number(streamtest.Next[frames.Publish](c).Payload)
		if first < began || first > 70 {
			t.Fatalf("continued with %d after %d Receipts", first, began)
		}
		for i := first + 1; i < n; i++ {
			if got := number(streamtest.Next[frames.Publish](c).Payload); got != i {
				t.Fatalf("received %d, want %d", got, i)
			}
		}
		for i := began; i < n; i++ {
			r := takeFrom(t, out)
			if (r.Err != nil) != (i < first) || number(r.Payload) != i {
				t.Fatalf("the Receipt of %d, error %v; want that of %d, and %d was the first of the new connection", number(r.Payload), r.Err, i, first)
			}
		}
		wantEnd(t, out)
	})
}

// When the context of a stage ends, messages in a batch are unconfirmed, and all other messages are
// withdrawn. The caller may then change the payloads. Messages in a batch may still be sent, with
// their original payloads.
func TestStageIsWithdrawnInTheMiddleOfItsRows(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		const n = 500
		s, c := connected(t, b, &stream.Options{Queue: 2 * n, KeepAlive: noPing})
		ctx, cancel := context.WithCancel(t.Context())
		out := stalled(ctx, s, c, n)
		cancel()
		unconfirmed := 0
		for i := range n {
			r := takeFrom(t, out)
			if number(r.Payload) != i {
				t.Fatalf("the Receipt of %d, want that of %d", number(r.Payload), i)
			}
			switch {
			case errors.Is(r.Err, stream.ErrUnconfirmed) && unconfirmed == i:
				unconfirmed++
			case !errors.Is(r.Err, stream.ErrNotSent) || !errors.Is(r.Err, context.Canceled):
				t.Fatalf("Receipt of %d: %v", i, r.Err)
			}
			clear(r.Payload)
		}
		wantEnd(t, out)
		if st := s.Stats(); st.Queued != 0 || unconfirmed == 0 || unconfirmed == n {
			t.Fatalf("%d queued, %d unconfirmed", st.Queued, unconfirmed)
		}
		c.Abort()
		c = b.Handshake(false)
		first := number(streamtest.Next[frames.Publish](c).Payload)
		for i := first + 1; i < unconfirmed; i++ {
			if got := number(streamtest.Next[frames.Publish](c).Payload); got != i {
				t.Fatalf("received %d, want %d", got, i)
			}
		}
		if first < 1 {
			t.Fatalf("received %d first", first)
		}
		c.ExpectNone()
	})
}

// The queue accepts the part of a run for which it has room. While the other part waits, the queue
// accepts no runs of other stages.
func TestRowsKeepToTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Hold(1000)
		const window, queue, n = 20, 100, 500
		s := open(t, b, &stream.Options{Window: window, Queue: queue})
		for range 2 {
			out := s.PublishFrom(t.Context(), filled(n, frames.AtMostOnce))
			t.Cleanup(func() { // runs after Close
				got := 0
				for range out {
					got++
				}
				if got == 0 || got > window+queue {
					t.Errorf("%d Receipts, want one for each message that a stage accepts, at most %d", got, window+queue)
				}
			})
		}
		synctest.Wait()
		if st := s.Stats(); st.Queued < queue || st.Queued > queue+window+queue {
			t.Errorf("%d queued by two stages, want a full queue and at most one waiting run", st.Queued)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
