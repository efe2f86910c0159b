package flow

import (
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// publisher is a Sender with a full window, whose oldest publication is
// acknowledged and replaced at each step.
func publisher(tb testing.TB, qos frames.QoS, window int) (step func()) {
	var ids Identifiers
	s := NewSender[int](window, &ids, nil, nil)
	m := message(qos, 1)
	inFlight := make([]uint16, window)
	send := func() uint16 {
		s.Add(m, 1)
		out, ok := s.Next(1, 0)
		if !ok {
			tb.Fatal("nothing to send")
		}
		return out.Publish.ID
	}
	for i := range inFlight {
		inFlight[i] = send()
	}
	i := 0
	return func() {
		last := puback
		if qos == qos2 {
			s.Acknowledge(pubrec, inFlight[i], allTaken, 0)
			last = pubcomp
		}
		if _, outcome := s.Acknowledge(last, inFlight[i], allTaken, 0); outcome != Completed {
			tb.Fatalf("outcome %d", outcome)
		}
		inFlight[i] = send()
		if i++; i == window {
			i = 0
		}
	}
}

// consumer is a Receiver with unacked messages, the oldest of which is settled
// and followed by a new one at each step.
func consumer(tb testing.TB, qos frames.QoS, unacked int) (step func()) {
	r := NewReceiver(nil)
	id := uint16(0)
	arrive := func() uint64 {
		if id++; id == 0 {
			id = 1
		}
		seq, fresh := r.Arrive(qos, id, false, 1)
		if !fresh {
			tb.Fatal("not fresh")
		}
		return seq
	}
	oldest := arrive()
	for range unacked - 1 {
		arrive()
	}
	return func() {
		r.Settle(oldest)
		oldest++
		ack, ok := r.Next()
		if !ok {
			tb.Fatal("no ack")
		}
		r.Release(ack.ID) // QoS 1: of nothing
		arrive()
	}
}

var windows = []int{16, 1000, 60_000}

func eachSteadyState(visit func(name string, start func(tb testing.TB) (step func()))) {
	for qos := qos1; qos <= qos2; qos++ {
		for _, n := range windows {
			visit(fmt.Sprintf("publish/QoS%d/window%d", qos, n),
				func(tb testing.TB) func() { return publisher(tb, qos, n) })
			visit(fmt.Sprintf("receive/QoS%d/unacked%d", qos, n),
				func(tb testing.TB) func() { return consumer(tb, qos, n) })
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	eachSteadyState(func(name string, start func(testing.TB) func()) {
		step := start(t)
		for range 1000 {
			step()
		}
		if n := testing.AllocsPerRun(1000, step); n != 0 {
			t.Errorf("%s: %v allocations a message", name, n)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	eachSteadyState(func(name string, start func(testing.TB) func()) {
		b.Run(name, func(b *testing.B) {
			step := start(b)
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	})
}
