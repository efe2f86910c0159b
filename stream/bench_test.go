package stream_test

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// bench is a session against a responder over a connection in memory.
type bench struct {
	s    *stream.Session
	sub  *stream.Subscription
	r    *streamtest.Responder
	conn *streamtest.PipeConn
}

func newBench(tb testing.TB, window int) *bench {
	tb.Helper()
	b := streamtest.New(tb)
	r := &streamtest.Responder{Window: window}
	b.Respond(r)
	rig := &bench{r: r}
	s, err := stream.Dial(context.Background(), "mqtt://broker", &stream.Options{
		DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
			c, err := b.Dial(ctx, n, a)
			rig.conn = c.(*streamtest.PipeConn)
			return c, err
		}, Window: window, Queue: max(1024, window), ReceiveBytes: 64 << 20,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	rig.s = s
	if rig.sub, err = s.Subscribe(context.Background(), frames.Filter{Topic: "bench/#", QoS: frames.ExactlyOnce}); err != nil {
		tb.Fatal(err)
	}
	return rig
}

var levels = []frames.QoS{frames.AtMostOnce, frames.AtLeastOnce, frames.ExactlyOnce}

func payload() []byte { return make([]byte, 64) }

// publishFrom sends n messages through one stage.
func (b *bench) publishFrom(tb testing.TB, q frames.QoS, n int) {
	in := make(chan frames.Message, 256)
	m := frames.Message{Topic: "out/topic", Payload: payload(), QoS: q}
	go func() {
		defer close(in)
		for range n {
			in <- m
		}
	}()
	for r := range b.s.PublishFrom(context.Background(), in) {
		if r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
}

// publishes sends n messages through the channel, with one shared Ack channel.
func (b *bench) publishes(tb testing.TB, q frames.QoS, n int) {
	acks := make(chan stream.Receipt, 4096)
	m := frames.Message{Topic: "out/topic", Payload: payload(), QoS: q}
	go func() {
		for range n {
			b.s.Publishes() <- stream.Publishing{Message: m, Ack: acks}
		}
	}()
	for range n {
		if r := <-acks; r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
}

// feed has the responder publish n messages to the session, ahead of the reader
// by a bounded amount.
func (b *bench) feed(q frames.QoS, n int) {
	m := frames.Message{Topic: "bench/topic", Payload: payload(), QoS: q}
	some := make([]frames.Message, 64)
	for i := range some {
		some[i] = m
	}
	go func() {
		for n > 0 {
			k := min(n, len(some))
			b.r.Publish(some[:k]...)
			n -= k
		}
	}()
}

func (b *bench) all(tb testing.TB, n int) {
	for d, err := range b.sub.All(context.Background()) {
		if err != nil {
			tb.Fatal(err)
		}
		if n--; n == 0 {
			d.Ack()
			return
		}
	}
}

func (b *bench) deliveries(_ testing.TB, n int) {
	for d := range b.sub.Deliveries() {
		d.Ack()
		if n--; n == 0 {
			return
		}
	}
}

func (b *bench) messages(_ testing.TB, n int) {
	for range b.sub.Messages() {
		if n--; n == 0 {
			return
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	for name, send := range map[string]func(*bench, testing.TB, frames.QoS, int){
		"PublishFrom": (*bench).publishFrom, "Publishes": (*bench).publishes,
	} {
		for _, q := range levels {
			b.Run(name+"/"+q.String(), func(b *testing.B) {
				rig := newBench(b, 1000)
				before := rig.s.Stats()
				b.ReportAllocs()
				b.ResetTimer()
				send(rig, b, q, b.N)
				b.StopTimer()
				after := rig.s.Stats()
				b.ReportMetric(float64(after.Writes-before.Writes)/float64(b.N), "writes/op")
			})
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	for name, take := range map[string]func(*bench, testing.TB, int){
		"All": (*bench).all, "Deliveries": (*bench).deliveries, "Messages": (*bench).messages,
	} {
		for _, q := range levels {
			b.Run(name+"/"+q.String(), func(b *testing.B) {
				rig := newBench(b, 1000)
				b.ReportAllocs()
				b.ResetTimer()
				rig.feed(q, b.N)
				take(rig, b, b.N)
			})
		}
	}
}

// What the benchmarks show is held: allocations per message, and one write call
// for each batch.
func TestAMessageCostsFewAllocationsAndFewWrites(t *testing.T) {
	const n = 10_000
	for name, run := range map[string]func(*bench, frames.QoS){
		"PublishFrom": func(b *bench, q frames.QoS) { b.publishFrom(t, q, n) },
		"Publishes":   func(b *bench, q frames.QoS) { b.publishes(t, q, n) },
		"All":         func(b *bench, q frames.QoS) { b.feed(q, n); b.all(t, n) },
		"Deliveries":  func(b *bench, q frames.QoS) { b.feed(q, n); b.deliveries(t, n) },
	} {
		for _, q := range levels {
			rig := newBench(t, 1000)
			run(rig, q) // buffers grow to their size
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			run(rig, q)
			runtime.ReadMemStats(&after)
			if got := float64(after.Mallocs-before.Mallocs) / n; got > 0.5 {
				t.Errorf("%s, %v: %.2f allocations for each message", name, q, got)
			}
			rig.s.Close()
			writes, batches := rig.conn.Writes()-1, rig.s.Stats().Writes // but for CONNECT
			if uint64(writes) != batches {
				t.Errorf("%s, %v: %d write calls for %d batches", name, q, writes, batches)
			}
		}
	}
}
