package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// numberedBatch returns the messages from, from+1, … to-1, whose QoS cycles through levels.
func numberedBatch(from, to int, levels ...frames.QoS) (batch []frames.Message) {
	for n := from; n < to; n++ {
		batch = append(batch, numbered(n, levels[n%len(levels)]))
	}
	return batch
}

// batchesOf returns a closed channel with batches of these lengths, whose messages are numbered.
func batchesOf(levels []frames.QoS, lengths ...int) <-chan []frames.Message {
	in, n := make(chan []frames.Message, len(lengths)), 0
	for _, length := range lengths {
		in <- numberedBatch(n, n+length, levels...)
		n += length
	}
	close(in)
	return in
}

// wantBatchReceipts expects the Receipts of a batch of the messages from to to-1, without errors.
func wantBatchReceipts(t *testing.T, receipts stream.Receipts, from, to int) {
	t.Helper()
	if receipts.Len() != to-from || receipts.Err() != nil {
		t.Fatalf("%d Receipts, %v, want %d", receipts.Len(), receipts.Err(), to-from)
	}
	for i, r := range receipts.All() {
		if r.Err != nil || string(r.Payload) != strconv.Itoa(from+i) || (r.ID == 0) != (r.QoS == 0) {
			t.Fatalf("Receipt %+v, want number %d", r, from+i)
		}
	}
}

// The Receipts of a batch come together, when all its messages and all earlier ones have ended.
func TestPublishBatchesReturnsTheReceiptsOfEachBatchInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		out := s.PublishBatches(t.Context(), batchesOf([]frames.QoS{1}, 3, 0, 2, 5))
		packets := nextPublishes(t, c, 10)
		for i := 9; i > 0; i-- {
			c.Send(ack(puback, packets[i].ID))
			wantIdle(t, out)
		}
		c.Send(ack(puback, packets[0].ID))
		wantBatchReceipts(t, takeFrom(t, out), 0, 3)
		wantBatchReceipts(t, takeFrom(t, out), 3, 3)
		wantBatchReceipts(t, takeFrom(t, out), 3, 5)
		wantBatchReceipts(t, takeFrom(t, out), 5, 10)
		wantEnd(t, out)
		if st := s.Stats(); st.Receipts != 0 || st.Unreported != 0 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("acks come together", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{Window: 10})
			out := s.PublishBatches(t.Context(), batchesOf([]frames.QoS{1}, 4, 6))
			packets := nextPublishes(t, c, 10)
			acks := make([]frames.Packet, len(packets))
			for i, p := range packets {
				acks[i] = ack(puback, p.ID)
			}
			c.Send(acks...)
			for range 2 {
				for i, r := range takeFrom(t, out).All() {
					if r.ID != packets[i].ID {
						t.Errorf("Receipt %d has identifier %d, want %d", i, r.ID, packets[i].ID)
					}
				}
				packets = packets[4:]
			}
			wantEnd(t, out)
		})
	})
	t.Run("without batches", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, nil)
			wantEnd(t, s.PublishBatches(t.Context(), batchesOf(nil)))
			wantEnd(t, s.PublishBatches(t.Context(), nil))
			out := s.PublishBatches(t.Context(), batchesOf(nil, 0, 0))
			wantBatchReceipts(t, takeFrom(t, out), 0, 0)
			wantBatchReceipts(t, takeFrom(t, out), 0, 0)
			wantEnd(t, out)
		})
	})
}

// Batches of any length arrive at the broker once and in order, also beside a queue that is shorter
// than a batch.
func TestPublishBatchesOfAnyLength(t *testing.T) {
	const n = 8_000
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := streamtest.New(t)
			b.Respond(&streamtest.Responder{Loopback: true})
			s := open(t, b, &stream.Options{Window: 1 + r.IntN(50), Queue: 1 + r.IntN(300)})
			sub, err := s.Subscribe(t.Context(), frames.Filter{Topic: "n", QoS: frames.ExactlyOnce})
			if err != nil {
				t.Fatal(err)
			}
			var lengths []int
			for left := n; left > 0; left -= lengths[len(lengths)-1] {
				lengths = append(lengths, min(left, r.IntN(1+r.IntN(1+r.IntN(1000)))))
			}
			levels := [][]frames.QoS{{0}, {1}, {2}, {0, 1, 2}}[seed%4]
			received := make(chan error, 1)
			go func() {
				next := 0
				for d, err := range sub.All(t.Context()) {
					if err != nil || len(levels) == 1 && string(d.Payload) != strconv.Itoa(next) { // levels overtake each other
						received <- fmt.Errorf("received %q, %v, want number %d", d.Payload, err, next)
						return
					}
					if next++; next == n {
						break
					}
				}
				received <- nil
			}()
			next, got := 0, 0
			for receipts := range s.PublishBatches(t.Context(), batchesOf(levels, lengths...)) {
				wantBatchReceipts(t, receipts, next, next+lengths[got])
				next, got = next+lengths[got], got+1
			}
			if next != n || got != len(lengths) {
				t.Fatalf("%d Receipts in %d batches, want %d in %d", next, got, n, len(lengths))
			}
			if err := <-received; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A message that cannot be sent has its error in its Receipt; the others of its batch are sent.
func TestPublishBatchesReportsEachInvalidMessage(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		batch := numberedBatch(0, 6, 1)
		batch[0].Topic, batch[3].Topic, batch[5].QoS = "a/#", "", 3
		in := make(chan []frames.Message, 2)
		in <- batch
		in <- numberedBatch(6, 7, 1)
		close(in)
		out := s.PublishBatches(t.Context(), in)
		for _, p := range nextPublishes(t, c, 4) {
			c.Send(ack(puback, p.ID))
		}
		receipts := takeFrom(t, out)
		if !errors.Is(receipts.Err(), stream.ErrNotSent) {
			t.Errorf("error %v", receipts.Err())
		}
		for i, r := range receipts.All() {
			var invalid *frames.InvalidError
			switch bad := i == 0 || i == 3 || i == 5; {
			case string(r.Payload) != strconv.Itoa(i):
				t.Errorf("Receipt %d: %+v", i, r)
			case bad && (!errors.Is(r.Err, stream.ErrNotSent) || !errors.As(r.Err, &invalid)), !bad && r.Err != nil:
				t.Errorf("Receipt %d: %v", i, r.Err)
			}
		}
		wantBatchReceipts(t, takeFrom(t, out), 6, 7)
		wantEnd(t, out)
	})
}

// When the context ends, each message of each batch has its Receipt with the fate of the message.
func TestPublishBatchesEndsWithItsContext(t *testing.T) {
	reason := errors.New("enough")
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 3, Queue: 4, KeepAlive: noPing})
		ctx, cancel := context.WithCancelCause(t.Context())
		in := make(chan []frames.Message, 2)
		in <- numberedBatch(0, 2, 1)
		in <- numberedBatch(2, 30, 1)
		out := s.PublishBatches(ctx, in)
		nextPublishes(t, c, 3)
		synctest.Wait()
		cancel(reason)
		n := 0
		for _, length := range []int{2, 28} {
			receipts := takeFrom(t, out)
			if receipts.Len() != length {
				t.Fatalf("%d Receipts, want %d", receipts.Len(), length)
			}
			for _, r := range receipts.All() {
				fate := stream.ErrNotSent
				if n < 3 {
					fate = stream.ErrUnconfirmed
				}
				if string(r.Payload) != strconv.Itoa(n) {
					t.Errorf("Receipt %+v, want number %d", r, n)
				}
				wantError(t, r.Err, fate, reason)
				n++
			}
		}
		wantEnd(t, out)
	})
}

func TestPublishBatchesAfterTheEndOfTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, nil)
		in := make(chan []frames.Message, 1)
		in <- numberedBatch(0, 1, 1)
		before := s.PublishBatches(t.Context(), in)
		synctest.Wait()
		s.Close()
		if receipts := takeFrom(t, before); receipts.Len() != 1 || receipts.Err() == nil {
			t.Errorf("%d Receipts, %v", receipts.Len(), receipts.Err())
		}
		wantEnd(t, before)
		in <- numberedBatch(1, 2, 1)
		wantEnd(t, s.PublishBatches(t.Context(), in))
	})
}

// A batch costs an allocation for the results of its messages, and few for the turns that send it.
func TestABatchCostsFewAllocations(t *testing.T) {
	b := streamtest.New(t)
	b.Respond(new(streamtest.Responder))
	s := open(t, b, &stream.Options{Window: 100, Queue: 4096})
	in := make(chan []frames.Message, 4)
	out := s.PublishBatches(t.Context(), in)
	batch := numberedBatch(0, 1000, 0)
	send := func(n int) {
		for range n {
			in <- batch
			if receipts := <-out; receipts.Len() != len(batch) {
				t.Fatalf("%d Receipts", receipts.Len())
			}
		}
	}
	send(20)
	const rounds = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	send(rounds)
	runtime.ReadMemStats(&after)
	if n := float64(after.Mallocs-before.Mallocs) / rounds; n > 20 {
		t.Errorf("%.1f allocations for a batch of %d messages", n, len(batch))
	}
	close(in)
	for range out {
		t.Error("Receipts without a batch")
	}
}

// The properties of a message are validated, whether or not its topic was validated just before.
func TestEachMessageOfAStageHasItsPropertiesValidated(t *testing.T) {
	bad := numbered(1, 1)
	bad.Properties = &frames.Properties{ContentType: "\xff"}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		in := make(chan frames.Message, 3)
		in <- numbered(0, 1)
		in <- bad
		in <- numbered(2, 1)
		close(in)
		out := s.PublishFrom(t.Context(), in)
		for _, p := range nextPublishes(t, c, 2) {
			c.Send(ack(puback, p.ID))
		}
		wantStaged(t, out, 0, 1)
		wantStagedError(t, out, 1, stream.ErrNotSent)
		wantStaged(t, out, 2, 3)
		wantEnd(t, out)
	})
}
