package stream_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// bench is a session connected to a responder in memory.
type bench struct {
	s    *stream.Session
	sub  *stream.Subscription
	r    *streamtest.Responder
	conn *streamtest.PipeConn
}

func newBench(tb testing.TB, window int) *bench { return newBenchWith(tb, window, nil) }

func newBenchWith(tb testing.TB, window int, o *stream.Observer) *bench {
	tb.Helper()
	b := streamtest.New(tb)
	r := &streamtest.Responder{Window: window}
	r.Connack.NoSubscriptionIDs = true // to add them costs the broker more than all else
	b.Respond(r)
	rig := &bench{r: r}
	s, err := stream.Dial(context.Background(), "mqtt://broker", &stream.Options{
		DialContext: func(ctx context.Context, n, a string) (net.Conn, error) {
			c, err := b.Dial(ctx, n, a)
			rig.conn = c.(*streamtest.PipeConn)
			return c, err
		}, Version: version, Window: window, Queue: max(1024, window), ReceiveBytes: 64 << 20, Observer: o,
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

// publishFrom publishes n messages through one stage.
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

// publishes sends n messages to the channel of Publishes. All their Receipts go to one Ack channel.
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

// publish calls Publish for n messages from 100 goroutines. Each call returns before its goroutine
// makes the next.
func (b *bench) publish(tb testing.TB, q frames.QoS, n int) {
	m := frames.Message{Topic: "out/topic", Payload: payload(), QoS: q}
	var begun atomic.Int64
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			for begun.Add(1) <= int64(n) {
				if err := b.s.Publish(context.Background(), m); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
}

// feed lets the responder publish n messages to the session. The responder waits when too many
// messages are unread.
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

func (b *bench) batches(_ testing.TB, n int) {
	for batch := range b.sub.Batches(100, 0) {
		batch.Ack()
		if n -= len(batch); n == 0 {
			return
		}
	}
}

// latest receives n messages, of which none is superseded.
func (b *bench) latest(n int) {
	ch := b.sub.Latest(stream.LatestOptions{N: n})
	for range n {
		<-ch
	}
}

// superseding feeds n messages and receives the newest now and then, until the last was received.
func (b *bench) superseding(q frames.QoS, n int) {
	before, ch := b.s.Stats().Superseded, b.sub.Latest(stream.LatestOptions{})
	b.feed(q, n)
	for received := 0; received+int(b.s.Stats().Superseded-before) < n; received++ {
		<-ch
	}
}

func (b *bench) lent(_ testing.TB, n int) {
	for batch := range b.sub.AllBatches(context.Background(), 1000) {
		if n -= len(batch); n == 0 {
			batch.Ack()
			return
		}
	}
}
