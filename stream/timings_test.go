package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// timings returns the present Timings.
func timings(s *stream.Session) (t stream.Timings) {
	synctest.Wait()
	s.Timings(&t)
	return t
}

// wantTimes compares the number of durations and their sum.
func wantTimes(t *testing.T, name string, h stream.Histogram, count int, sum time.Duration) {
	t.Helper()
	if h.Count != uint64(count) || h.Sum != sum {
		t.Errorf("%s: %d durations of %v in sum, want %d of %v", name, h.Count, h.Sum, count, sum)
	}
}

const work = 250 * time.Millisecond // the time that a consumer takes for each message or Batch

// waysToReceive has a function for each way to receive two messages, and the times of two messages
// that arrived a second before.
var waysToReceive = []struct {
	name          string
	receive       func(s *stream.Session, sub *stream.Subscription)
	handed, acked time.Duration // in sum
}{
	{"All", func(_ *stream.Session, sub *stream.Subscription) {
		n := 0
		for range sub.All(context.Background()) {
			if elapse(work); n == 1 {
				break
			}
			n++
		}
	}, 2*time.Second + work, work},
	{"Deliveries", func(_ *stream.Session, sub *stream.Subscription) { ackEach(sub.Deliveries()) }, 2 * time.Second, 3 * work},
	{"Decode", func(_ *stream.Session, sub *stream.Subscription) {
		ackEach(stream.Decode(sub, func(frames.Message) (int, error) { return 0, nil }))
	}, 2 * time.Second, 3 * work},
	{"Merge", func(_ *stream.Session, sub *stream.Subscription) { ackEach(stream.Merge(sub)) }, 2*time.Second + work, 2 * work},
	{"Messages", func(_ *stream.Session, sub *stream.Subscription) { receiveTwo(sub.Messages()) }, 2*time.Second + work, 0},
	{"Latest", func(_ *stream.Session, sub *stream.Subscription) { receiveTwo(sub.Latest(stream.LatestOptions{N: 2})) }, 2*time.Second + work, 0},
	{"Batches", func(_ *stream.Session, sub *stream.Subscription) {
		batch := <-sub.Batches(2, 0)
		elapse(work)
		batch.Ack()
	}, 2 * time.Second, 2 * work},
	{"AllBatches", func(_ *stream.Session, sub *stream.Subscription) {
		for batch := range sub.AllBatches(context.Background(), 2) {
			elapse(work)
			batch.Ack()
			break
		}
	}, 2 * time.Second, 2 * work},
	{"All of two chunks", func(_ *stream.Session, sub *stream.Subscription) {
		for range 2 { // the break puts the second message back
			for d := range sub.All(context.Background()) {
				elapse(work)
				d.Ack()
				break
			}
		}
	}, 2*time.Second + work, 2 * work},
}

func ackEach[T interface{ Ack() }](ch <-chan T) {
	for range 2 {
		d := <-ch
		elapse(work)
		d.Ack()
	}
}

func receiveTwo[T any](ch <-chan T) {
	for range 2 {
		<-ch
		elapse(work)
	}
}

func TestTimingsOfEachWayToReceive(t *testing.T) {
	for _, way := range waysToReceive {
		t.Run(way.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				var seen observed
				s, c := connected(t, b, &stream.Options{Observer: seen.observer()})
				timings(s)
				sub := subscribed(t, s, c, "a", atLeast)
				elapse(time.Second)
				began := time.Now()
				c.Send(inboundRun("a", atLeast, 1, 2)...)
				elapse(time.Second)
				way.receive(s, sub)
				got, acks := timings(s), 2
				if way.name == "All" { // the break leaves the second unacknowledged
					acks = 1
				}
				wantTimes(t, "HandedOver", got.HandedOver, 2, way.handed)
				wantTimes(t, "Acked", got.Acked, acks, way.acked)
				if st := s.Stats(); st.HandedOver != 2 || st.Inbox != 0 {
					t.Errorf("%d messages handed over and %d in the inbox", st.HandedOver, st.Inbox)
				}
				seen.wantDelivered(t, began, way.handed, way.name != "Latest")
				seen.wantAcked(t, acks, way.acked)
			})
		})
	}
}

// A message was handed over before the Decoder gets the next one.
func TestADecoderDoesNotDelayTheTimesOfTheMessageBefore(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var seen observed
		s, c := connected(t, b, &stream.Options{Observer: seen.observer()})
		timings(s)
		sub := subscribed(t, s, c, "a", atLeast)
		elapse(time.Second)
		ch := stream.Decode(sub, func(frames.Message) (int, error) { elapse(work); return 0, nil })
		began := time.Now()
		c.Send(inboundRun("a", atLeast, 1, 2)...)
		(<-ch).Ack()
		(<-ch).Ack()
		wantTimes(t, "HandedOver", timings(s).HandedOver, 2, 3*work)
		seen.wantDelivered(t, began, 3*work, true)
	})
}

func TestARequeuedMessageIsTimedAnew(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		timings(s)
		sub := subscribed(t, s, c, "a", atLeast)
		elapse(time.Second)
		c.Send(inboundRun("a", atLeast, 1, 1)...)
		elapse(3 * time.Second)
		for d := range sub.All(t.Context()) {
			d.Requeue(time.Minute)
			break
		}
		elapse(time.Minute + time.Second)
		for d := range sub.All(t.Context()) {
			elapse(work)
			d.Ack()
			break
		}
		got := timings(s)
		wantTimes(t, "HandedOver", got.HandedOver, 2, 4*time.Second)
		wantTimes(t, "Acked", got.Acked, 1, work)
		if st := s.Stats(); st.Requeued != 1 || st.HandedOver != 2 {
			t.Errorf("%d requeued, %d handed over", st.Requeued, st.HandedOver)
		}
	})
}

func TestTimingsOfPublications(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		receipts := make(chan stream.Receipt, 10)
		s, c := connected(t, b, &stream.Options{Window: 2, Ack: receipts})
		s.Publishes() <- stream.Publishing{Message: message("a", "early", atLeast)}
		c.Complete(streamtest.Next[frames.Publish](c))
		timings(s)
		for q := range exactly + 1 {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", q)}
			p := streamtest.Next[frames.Publish](c)
			elapse(time.Duration(q) * time.Second)
			c.Complete(p)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, s.Publish(ctx, message("a", "withdrawn", atLeast)), stream.ErrUnconfirmed)
		got := timings(s)
		wantTimes(t, "QoS 0", got.Published[0], 1, 0)
		wantTimes(t, "QoS 1", got.Published[1], 1, time.Second)
		wantTimes(t, "QoS 2", got.Published[2], 1, 2*time.Second)
		c.Complete(streamtest.Next[frames.Publish](c)) // it counts as withdrawn already
		again := timings(s)
		again.Published[1].Sub(&got.Published[1])
		wantTimes(t, "the withdrawn one", again.Published[1], 0, 0)
		if st := s.Stats(); st.Unconfirmed != 1 || st.NotSent != 0 || st.Failed != 0 {
			t.Errorf("%d unconfirmed, %d not sent, %d failed", st.Unconfirmed, st.NotSent, st.Failed)
		}
	})
}

func TestTimingsOfEachWayToPublish(t *testing.T) {
	const n = 40 // enough for a run at QoS 0
	ways := map[string]func(*stream.Session, frames.Message) int{
		"Publish": func(s *stream.Session, m frames.Message) int { s.Publish(context.Background(), m); return 1 },
		"Publishes": func(s *stream.Session, m frames.Message) int {
			done := make(chan stream.Receipt)
			s.Publishes() <- stream.Publishing{Message: m, Ack: done}
			<-done
			return 1
		},
		"PublishFrom": func(s *stream.Session, m frames.Message) (got int) {
			in := make(chan frames.Message, n)
			for range n {
				in <- m
			}
			close(in)
			for range s.PublishFrom(context.Background(), in) {
				got++
			}
			return got
		},
		"PublishBatches": func(s *stream.Session, m frames.Message) (got int) {
			in := make(chan []frames.Message, 1)
			batch := make([]frames.Message, n)
			for i := range batch {
				batch[i] = m
			}
			in <- batch
			close(in)
			for r := range s.PublishBatches(context.Background(), in) {
				got += r.Len()
			}
			return got
		},
	}
	for name, publish := range ways {
		for q := range exactly + 1 {
			t.Run(name+" "+q.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					b.Respond(&streamtest.Responder{})
					var seen observed
					s := open(t, b, &stream.Options{Window: 10, Observer: seen.observer()})
					<-s.Online()
					timings(s)
					published := publish(s, message("a", "x", q))
					wantTimes(t, name, timings(s).Published[q], published, 0)
					if len(seen.published) != published {
						t.Errorf("the Observer saw %d publications, want %d", len(seen.published), published)
					}
				})
			})
		}
	}
}

func TestTimingsOfConnectionsPingsAndCommits(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := keepingSession()
		o.Store = &slowStore{flow.NewMemoryStore(), func() { elapse(30 * time.Millisecond) }}
		o.Reconnect, o.KeepAlive = everySecond(), 100*time.Second
		var seen observed
		o.Observer = seen.observer()
		began := time.Now()
		b.Refuse(1, errors.New("no route"))
		s := open(t, b, o)
		timings(s)
		synctest.Wait()
		if next := s.State().Next; !next.Equal(began.Add(time.Second)) {
			t.Errorf("the next attempt is at %v", next)
		}
		c := b.Accept()
		c.ExpectConnect()
		elapse(2 * time.Second)
		c.Connack(true, frames.Success)
		<-s.Online()
		s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
		c.Complete(streamtest.Next[frames.Publish](c))
		c.Expect(frames.Pingreq{})
		elapse(7 * time.Second)
		c.Send(frames.Pingresp{})
		got := timings(s)
		wantTimes(t, "Connect", got.Connect, 1, 2*time.Second)
		wantTimes(t, "Ping", got.Ping, 1, 7*time.Second)
		st := s.Stats()
		if got.Commit.Count != st.Commits || st.Commits < 2 || got.Commit.Sum < 30*time.Millisecond {
			t.Errorf("%d commits of %v in sum, %d counted", got.Commit.Count, got.Commit.Sum, st.Commits)
		}
		c.Drop()
		lost(t, s)
		b.Handshake(true)
		<-s.Online()
		if st := s.Stats(); st.Attempts != 3 || st.Connections != 2 || st.Lost != 1 || !s.State().Next.IsZero() {
			t.Errorf("%d attempts, %d connections, %d lost", st.Attempts, st.Connections, st.Lost)
		}
		want := []stream.Attempted{
			{Number: 1, Began: began},
			{Number: 2, Began: began.Add(time.Second), Took: 2 * time.Second, Version: version, Resumed: true},
			{Number: 1, Version: version, Resumed: true},
		}
		for i, a := range seen.attempts {
			w := want[i]
			if i == 2 {
				w.Began = a.Began
			}
			w.Endpoint, w.Err = "mqtt://broker:1883", a.Err
			if a != w || (a.Err != nil) != (i == 0) {
				t.Errorf("attempt %d: got %+v, want %+v", i, a, w)
			}
		}
	})
}

// Events from before the first call of Timings are not recorded, and the figures stay after the
// end.
func TestTimingsBeginWithTheFirstCallAndStayAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 1)...)
		if got := timings(s); got != (stream.Timings{}) {
			t.Fatalf("before the first call: %+v", got)
		}
		takeFrom(t, sub.Deliveries()).Ack()
		c.Send(inboundRun("a", atLeast, 2, 1)...)
		takeFrom(t, sub.Deliveries())
		s.Close()
		got := timings(s)
		wantTimes(t, "HandedOver", got.HandedOver, 1, 0)
		wantTimes(t, "Acked", got.Acked, 0, 0)
	})
}

func TestTimingsAllocateNothing(t *testing.T) {
	rig := newBench(t, 10)
	var to stream.Timings
	rig.s.Timings(&to)
	if n := testing.AllocsPerRun(100, func() { rig.s.Timings(&to) }); n != 0 {
		t.Errorf("%v allocations for each call of Timings", n)
	}
}

// With Timings and an Observer a message costs no allocation more: the bounds are those of
// TestAMessageCostsFewAllocationsAndFewWrites. They would hide one allocation in ten messages, so
// TestARecordedEventAllocatesNothing measures the recording alone.
func TestTimingsAndAnObserverCostNoAllocation(t *testing.T) {
	const n = 10_000
	watched := func(tb testing.TB) *bench {
		var seen int
		rig := newBenchWith(tb, 1000, &stream.Observer{
			Published: func(row []stream.Published) { seen += len(row) },
			Delivered: func([]stream.Delivered) {},
			Acked:     func(row []stream.Acked) { seen += len(row) },
			Warned:    func(slog.Record) {},
		})
		rig.s.Timings(new(stream.Timings))
		return rig
	}
	for _, q := range levels {
		for _, c := range waysOut {
			wantCostOf(t, watched(t), c.name, q, n, perPublished, func(b *bench) { c.send(b, t, q, n) })
		}
		for _, c := range waysIn {
			wantCostOf(t, watched(t), c.name, q, n, perReceived, func(b *bench) { b.feed(q, n); c.take(b, t, n) })
		}
		wantCostOf(t, watched(t), "Latest", q, n, perReceived, func(b *bench) { b.superseding(q, n) })
	}
}

func TestTimingsWithoutAPlaceBeginsTheRecording(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		for range 2 {
			s.Timings(nil)
			c.Send(publish("a", "", atLeast, 1, false))
			(<-sub.Deliveries()).Ack()
			c.Expect(ack(puback, 1))
		}
		wantTimes(t, "acked", timings(s).Acked, 2, 0)
	})
}
