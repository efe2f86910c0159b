package stream_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// wantFate expects the Receipt of a message that was not sent for the reason want, or that was sent
// if want is nil.
func wantFate(t *testing.T, acks <-chan stream.Receipt, payload string, want error) {
	t.Helper()
	select {
	case r := <-acks:
		if string(r.Payload) != payload || (want == nil) != (r.Err == nil) {
			t.Fatalf("the Receipt is of %q, want %q: %v", r.Payload, payload, r.Err)
		}
		if want != nil {
			wantError(t, r.Err, stream.ErrNotSent, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no Receipt of %q", payload)
	}
}

// numberedAll returns the messages from to to-1.
func numberedAll(from, to int, q frames.QoS) (all []frames.Message) {
	for n := from; n < to; n++ {
		all = append(all, numbered(n, q))
	}
	return all
}

// completed returns the payloads of n PUBLISH packets, each of which is acknowledged.
func completed(c *streamtest.Conn, n int) (got []string) {
	for range n {
		p := streamtest.Next[frames.Publish](c)
		got = append(got, string(p.Payload))
		c.Complete(p)
	}
	return got
}

// numbers returns the texts of from to to-1.
func numbers(from, to int) (all []string) {
	for n := from; n < to; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return all
}

func wantSent(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// wantWarnings expects n records about a full queue since the last call. The log handler runs on a
// goroutine of its own.
func wantWarnings(t *testing.T, book *logbook, n int) {
	t.Helper()
	synctest.Wait()
	for _, e := range book.take() {
		if _, ok := e.attrs["queued"]; ok && e.level == slog.LevelWarn {
			n--
		}
	}
	if n != 0 {
		t.Errorf("%d warnings more or less than expected", n)
	}
}

// Offline, the queue keeps the newest messages, or the oldest.
func TestFullAppliesToAnOfflineQueue(t *testing.T) {
	for q := range frames.QoS(3) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			acks, book := make(chan stream.Receipt, 20), &logbook{level: slog.LevelWarn}
			s := open(t, b, &stream.Options{Queue: 4, Full: flow.EvictOldest, Ack: acks, Logger: slog.New(book)})
			sendAll(s, numberedAll(0, 10, q)...)
			for n := range 6 {
				wantFate(t, acks, strconv.Itoa(n), stream.ErrEvicted)
			}
			if st := s.Stats(); st.Evicted != 6 || st.NotQueued != 0 || st.Queued != 4 || st.QueuedBytes != 0 {
				t.Errorf("%+v", st)
			}
			wantWarnings(t, book, 1)
			c := b.Handshake(false)
			wantSent(t, completed(c, 4), numbers(6, 10))
			for n := range 4 {
				wantFate(t, acks, strconv.Itoa(6+n), nil)
			}
		})
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			acks, book := make(chan stream.Receipt, 20), &logbook{level: slog.LevelWarn}
			s := open(t, b, &stream.Options{Queue: 4, Full: flow.Refuse, Ack: acks, Logger: slog.New(book)})
			sendAll(s, numberedAll(0, 10, q)...)
			for n := range 6 {
				wantFate(t, acks, strconv.Itoa(4+n), stream.ErrFull)
			}
			if st := s.Stats(); st.Evicted != 0 || st.NotQueued != 6 || st.Queued != 4 {
				t.Errorf("%+v", st)
			}
			wantWarnings(t, book, 1)
			c := b.Handshake(false)
			wantSent(t, completed(c, 4), numbers(0, 4))
			synctest.Wait()
			b.Hold(1)
			c.Drop()
			synctest.Wait() // until the session is offline
			sendAll(s, numberedAll(20, 30, q)...)
			wantWarnings(t, book, 1) // of a new period
		})
	}
}

// A queue that blocks is full in normal use, while the broker is slower than the publishers.
// Without a connection it may be full for hours, so that is logged, once for each period.
func TestAFullQueueThatBlocksIsLoggedWhileOffline(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks, book := make(chan stream.Receipt, 20), &logbook{level: slog.LevelWarn}
		s := open(t, b, &stream.Options{Queue: 4, Window: 10, Ack: acks, Logger: slog.New(book)})
		sendAll(s, numberedAll(0, 3, 1)...)
		synctest.Wait()
		wantWarnings(t, book, 0)
		sendAll(s, numberedAll(3, 4, 1)...)
		synctest.Wait()
		wantWarnings(t, book, 1)
		c := b.Handshake(false)
		wantSent(t, completed(c, 4), numbers(0, 4))
		synctest.Wait()
		c.Drop()
		lost(t, s)
		sendAll(s, numberedAll(4, 8, 1)...)
		synctest.Wait()
		wantWarnings(t, book, 1) // of a new period
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelWarn}
		s, _ := connected(t, b, &stream.Options{Queue: 4, Window: 2, Logger: slog.New(book)})
		sendAll(s, numberedAll(0, 6, 1)...)
		synctest.Wait()
		if st := s.Stats(); st.Queued != 4 {
			t.Errorf("%+v", st)
		}
		wantWarnings(t, book, 0)
	})
}

// The bytes of the queue count with payload, topic and 128 bytes more.
func TestQueueBytesBoundsTheQueue(t *testing.T) {
	const each = 128 + 1 + 100
	m := func(name string, size int) frames.Message {
		m := message("t", name, 1)
		m.Payload = append(m.Payload, make([]byte, size-len(name))...)
		return m
	}
	kept := map[flow.Full]string{flow.Refuse: "abd", flow.EvictOldest: "bcd"}
	causes := map[flow.Full]error{flow.Refuse: stream.ErrFull, flow.EvictOldest: stream.ErrEvicted}
	for full, cause := range causes {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			acks := make(chan stream.Receipt, 20)
			s := open(t, b, &stream.Options{QueueBytes: 2*each + 150, Full: full, Ack: acks})
			sendAll(s, m("a", 100), m("b", 100), m("c", 100), m("d", 1), m("large", 1000))
			synctest.Wait()
			if n := s.Stats().QueuedBytes; n != 2*each+130 {
				t.Errorf("%d bytes are queued", n)
			}
			r := <-acks
			wantError(t, r.Err, stream.ErrNotSent, cause)
			r = <-acks
			if wantError(t, r.Err, stream.ErrNotSent, stream.ErrFull); len(r.Payload) != 1000 || stream.Retryable(r.Err) {
				t.Errorf("%q: %v", r.Payload[:1], r.Err)
			}
			got := ""
			for _, p := range completed(b.Handshake(false), 3) {
				got += p[:1]
			}
			if got != kept[full] {
				t.Errorf("sent %q, want %q", got, kept[full])
			}
		})
	}
}

// With Block a send waits, as a Publish does, until the queue has room in messages and in bytes.
func TestBlockWaitsForRoomInBytes(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 20)
		s := open(t, b, &stream.Options{QueueBytes: 300, Ack: acks})
		sendAll(s, numberedAll(0, 3, 1)...) // the third reaches the limit
		call := inBackground(func() error { return s.Publish(t.Context(), numbered(3, 1)) })
		sent := inBackground(func() error { sendAll(s, numbered(4, 1)); return nil })
		in := make(chan frames.Message, 2)
		in <- numbered(5, 1)
		in <- numbered(6, 1)
		close(in)
		out := s.PublishFrom(t.Context(), in)
		synctest.Wait()
		wantPending(t, call)
		wantPending(t, sent)
		if st := s.Stats(); st.Queued != 3 || st.NotQueued+st.Evicted != 0 {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, s.Publish(ctx, numbered(9, 1)), stream.ErrNotSent, context.DeadlineExceeded)
		c := b.Handshake(false)
		got := completed(c, 7)
		if slices.Sort(got); !slices.Equal(got, numbers(0, 7)) {
			t.Errorf("sent %q", got)
		}
		wantError(t, <-call, nil)
		wantError(t, <-sent, nil)
		for range 2 {
			wantError(t, (<-out).Err, nil)
		}
	})
}

// A publication in flight is never evicted: the Receipt says that it was not sent, and that would
// not be true. Its place in the Window does not count in the queue.
func TestAPublicationInFlightIsNotEvicted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 20)
		s, c := connected(t, b, &stream.Options{Queue: 1, Window: 2, Full: flow.EvictOldest, Ack: acks, KeepSession: true, ClientID: "k"})
		sendAll(s, numberedAll(0, 2, 1)...)
		first, second := streamtest.Next[frames.Publish](c), streamtest.Next[frames.Publish](c)
		sendAll(s, numberedAll(2, 5, 1)...)
		wantFate(t, acks, "2", stream.ErrEvicted)
		wantFate(t, acks, "3", stream.ErrEvicted)
		c.Drop()
		synctest.Wait()
		sendAll(s, numbered(5, 1))
		wantFate(t, acks, "4", stream.ErrEvicted)
		c = b.Handshake(true)
		first.DUP, second.DUP = true, true
		c.Expect(first, second)
		c.Complete(first)
		wantSent(t, completed(c, 1), []string{"5"})
		c.Complete(second)
		for _, n := range []string{"0", "5", "1"} {
			wantFate(t, acks, n, nil)
		}
	})
}

// A connection that takes the messages at once leaves nothing in the queue, however short it is.
func TestNothingIsEvictedWhileTheConnectionTakesIt(t *testing.T) {
	for _, full := range []flow.Full{flow.Refuse, flow.EvictOldest} {
		for q := range frames.QoS(3) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 300)
				s, c := connected(t, b, &stream.Options{Queue: 1, QueueBytes: 200, Window: 1000, Full: full, Ack: acks})
				go sendAll(s, numberedAll(0, 300, q)...)
				for n, p := range nextPublishes(t, c, 300) {
					if string(p.Payload) != strconv.Itoa(n) {
						t.Fatalf("sent %q, want %d", p.Payload, n)
					}
				}
				synctest.Wait()
				if st := s.Stats(); st.Evicted+st.NotQueued != 0 {
					t.Errorf("%d evicted, %d refused", st.Evicted, st.NotQueued)
				}
			})
		}
	}
}

// A batch that is longer than the queue is sent in parts, and a message that can never fit is
// refused at its place.
func TestABatchIsRefusedOnlyWhereItNeverFits(t *testing.T) {
	for _, full := range []flow.Full{flow.Refuse, flow.EvictOldest} {
		for q := range frames.QoS(2) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Queue: 3, QueueBytes: 400, Window: 1000, Full: full})
				batch := numberedAll(0, 100, q)
				for _, n := range []int{40, 41, 60} {
					batch[n].Payload = make([]byte, 400)
				}
				in := make(chan []frames.Message, 1)
				in <- batch
				close(in)
				out := s.PublishBatches(t.Context(), in)
				completed(c, 97)
				for n, r := range (<-out).All() {
					if large := n == 40 || n == 41 || n == 60; large != (r.Err != nil) {
						t.Errorf("message %d: %v", n, r.Err)
					}
				}
			})
		}
	}
}

// Each way to publish meets the same queue.
func TestEveryWayToPublishMeetsAFullQueue(t *testing.T) {
	for full, want := range map[flow.Full]error{flow.Refuse: stream.ErrFull, flow.EvictOldest: stream.ErrEvicted} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, &stream.Options{Queue: 2, Full: full})
			calls := make(chan error, 3)
			for n := range 3 {
				go func() { calls <- s.Publish(t.Context(), numbered(n, 1)) }()
			}
			wantError(t, <-calls, stream.ErrNotSent, want)
			synctest.Wait()
			if len(calls) != 0 {
				t.Error("a Publish with room has ended")
			}
			in := make(chan []frames.Message, 1)
			in <- append(numberedAll(10, 40, 0), numbered(40, 1))
			close(in)
			out := s.PublishBatches(t.Context(), in)
			synctest.Wait()
			if full == flow.EvictOldest {
				wantError(t, <-calls, stream.ErrNotSent, want)
				wantError(t, <-calls, stream.ErrNotSent, want)
			}
			c := b.Handshake(false)
			completed(c, 2)
			failed := 0
			for _, r := range (<-out).All() {
				if r.Err != nil {
					wantError(t, r.Err, stream.ErrNotSent, want)
					failed++
				}
			}
			if lost := map[flow.Full]int{flow.Refuse: 31, flow.EvictOldest: 29}[full]; failed != lost {
				t.Errorf("%d messages failed, want %d", failed, lost)
			}
		})
	}
}

// PublishFrom returns its Receipts in order. So with Refuse it stops reading when Window+Queue
// messages await theirs, and with EvictOldest it goes on while somebody takes the Receipts.
func TestPublishFromGoesOnWithTheNewestAndWaitsBehindTheOldest(t *testing.T) {
	for full, taken := range map[flow.Full]int{flow.Refuse: 5, flow.EvictOldest: 50} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, &stream.Options{Queue: 4, Full: full})
			in := make(chan frames.Message)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := s.PublishFrom(ctx, in)
			n := 0
			for ; n < 50; n++ {
				select {
				case in <- numbered(n, 1):
					continue
				case r := <-out:
					wantError(t, r.Err, stream.ErrEvicted)
					n--
					continue
				case <-time.After(time.Second):
				}
				break
			}
			if n != taken {
				t.Errorf("%d messages were taken, want %d", n, taken)
			}
			cancel()
			for range out {
			}
		})
	}
}

// With a Store the next client finds only the messages that were kept. One that exceeds the limits
// of the next client is kept until a new message needs the room.
func TestTheNextClientOfTheStoreFindsTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		o := stream.Options{Queue: 4, Full: flow.EvictOldest, KeepSession: true, ClientID: "k", Store: store, Ack: make(chan stream.Receipt, 20)}
		s := open(t, b, &o)
		for _, m := range numberedAll(0, 10, 1) {
			sendAll(s, m)
			wantError(t, s.Sync(t.Context()), nil)
		}
		go s.Close()
		<-s.Done()

		acks := make(chan stream.Receipt, 20)
		o.Queue, o.Ack = 2, acks
		s = open(t, b, &o)
		if st := s.Stats(); st.Queued != 4 || st.Evicted != 0 {
			t.Errorf("%+v", st)
		}
		sendAll(s, numbered(10, 1))
		for _, n := range numbers(6, 9) {
			wantFate(t, acks, n, stream.ErrEvicted)
		}
		wantError(t, s.Sync(t.Context()), nil)
		go s.Close()
		<-s.Done()
		snap, err := store.Attach("k")
		if err != nil || len(snap.Publications) != 2 || string(snap.Publications[0].Message.Payload) != "9" ||
			string(snap.Publications[1].Message.Payload) != "10" {
			t.Errorf("the Store has %+v, %v", snap.Publications, err)
		}
	})
}

// The evicted message leaves the Store in the commit in which the new one comes.
func TestAnEvictedMessageLeavesTheStoreAsTheNewOneComes(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var commits [][]flow.Change
		store := &countingStore{Store: flow.NewMemoryStore(), commits: &commits}
		s := open(t, b, &stream.Options{Queue: 1, Full: flow.EvictOldest, KeepSession: true, ClientID: "k", Store: store})
		for n := range 2 {
			sendAll(s, numbered(n, 1))
			wantError(t, s.Sync(t.Context()), nil)
		}
		go s.Close()
		<-s.Done()
		if len(commits) < 2 || len(commits[1]) != 2 || commits[1][0].Kind != flow.Completed || commits[1][1].Kind != flow.Accepted {
			t.Errorf("the commits are %+v", commits)
		}
	})
}

// A countingStore records its commits.
type countingStore struct {
	flow.Store
	commits *[][]flow.Change
}

func (s *countingStore) Commit(changes []flow.Change) error {
	if !recordsOnly(changes) {
		*s.commits = append(*s.commits, slices.Clone(changes))
	}
	return s.Store.Commit(changes)
}

// A request that finds no room ends with the same error.
func TestARequestIsRefusedByAFullQueue(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{Queue: 1, Full: flow.Refuse, V5: stream.OptionsV5{ReplyTopic: "replies"}}, nil)
		go func() { _, _ = s.Request(t.Context(), numbered(0, 1)) }()
		c.Grant(streamtest.Next[frames.Subscribe](c))
		streamtest.Next[frames.Publish](c) // fills the Window
		sendAll(s, numbered(1, 1))
		_, err := s.Request(t.Context(), numbered(2, 1))
		wantError(t, err, stream.ErrNotSent, stream.ErrFull)
	})
}

// With the smallest QueueBytes there is room for the smallest message, and for no other.
func TestTheSmallestQueueBytesTakeTheSmallestMessage(t *testing.T) {
	for _, full := range []flow.Full{flow.Refuse, flow.EvictOldest} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, &stream.Options{QueueBytes: 129, Full: full})
			ended := inBackground(func() error { return s.Publish(t.Context(), message("a", "", atMost)) })
			synctest.Wait()
			if n := s.Stats().QueuedBytes; n != 129 {
				t.Errorf("%v: %d bytes are in the queue", full, n)
			}
			wantError(t, s.Publish(t.Context(), message("a", "x", atMost)), stream.ErrNotSent, stream.ErrFull)
			s.Close()
			<-ended
		})
	}
}
