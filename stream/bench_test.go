package stream_test

import (
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// The ways to publish and to receive. The benchmarks and the test of the cost of a message use
// them.
var (
	waysOut = []struct {
		name string
		send func(b *bench, tb testing.TB, q frames.QoS, n int)
	}{
		{"PublishFrom", (*bench).publishFrom},
		{"Publishes", (*bench).publishes},
		{"Publish", (*bench).publish},
	}
	waysIn = []struct {
		name string
		take func(b *bench, tb testing.TB, n int)
	}{
		{"All", (*bench).all},
		{"Deliveries", (*bench).deliveries},
		{"Messages", (*bench).messages},
		{"Batches", (*bench).batches},
		{"AllBatches", (*bench).lent},
	}
)

func BenchmarkPublish(b *testing.B) {
	for _, c := range waysOut {
		for _, q := range levels {
			b.Run(c.name+"/"+q.String(), func(b *testing.B) {
				rig := newBench(b, 1000)
				before := rig.s.Stats()
				b.ReportAllocs()
				b.ResetTimer()
				c.send(rig, b, q, b.N)
				b.StopTimer()
				after := rig.s.Stats()
				b.ReportMetric(float64(after.Writes-before.Writes)/float64(b.N), "writes/op")
			})
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, c := range waysIn {
		for _, q := range levels {
			b.Run(c.name+"/"+q.String(), func(b *testing.B) {
				rig := newBench(b, 1000)
				b.ReportAllocs()
				b.ResetTimer()
				rig.feed(q, b.N)
				c.take(rig, b, b.N)
			})
		}
	}
}
