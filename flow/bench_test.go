package flow

import (
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// publisher returns a function for a Sender with a full window. Each call acknowledges the oldest
// publication and adds a new one.
func publisher(tb testing.TB, qos frames.QoS, window int) (step func()) {
	var ids Identifiers
	s := NewSender[int](window, &ids, nil, nil)
	m := message(qos, 1)
	inFlight := make([]uint16, window)
	send := func() uint16 {
		s.Add(m, 1, 0, Expiry{})
		out, ok := s.Next()
		if !ok {
			tb.Fatal("nothing to send")
		}
		s.Transmitted(1, 1, 0)
		return out.ID
	}
	for i := range inFlight {
		inFlight[i] = send()
	}
	i := 0
	return func() {
		last := puback
		if qos == qos2 {
			s.Acknowledge(pubrec, inFlight[i], 0, allHanded, 0)
			last = pubcomp
		}
		if _, outcome := s.Acknowledge(last, inFlight[i], 0, allHanded, 0); outcome != Confirmed {
			tb.Fatalf("outcome %d", outcome)
		}
		inFlight[i] = send()
		if i++; i == window {
			i = 0
		}
	}
}

// writer returns a function for a Sender with unwritten QoS 0 publications, each in a batch of its
// own. Each call confirms that the oldest publication was written, and adds a new one.
func writer(tb testing.TB, unwritten int) (step func()) {
	var ids Identifiers
	s := NewSender[int](1, &ids, nil, nil)
	m := message(frames.AtMostOnce, 1)
	batch, ended := uint64(0), 0
	end := func(Ended[int]) { ended++ }
	send := func() {
		batch++
		s.Add(m, 1, 0, Expiry{})
		if _, ok := s.Next(); !ok {
			tb.Fatal("nothing to send")
		}
		s.Transmitted(1, batch, 0)
	}
	for range unwritten {
		send()
	}
	return func() {
		ended = 0
		if s.Written(batch-uint64(unwritten)+1, end); ended != 1 {
			tb.Fatalf("%d ended", ended)
		}
		send()
	}
}

// consumer returns a function for a Receiver with unacknowledged messages. Each call acknowledges
// the oldest message and adds a new one.
func consumer(tb testing.TB, qos frames.QoS, unacked int) (step func()) {
	r := NewReceiver(nil)
	id := uint16(0)
	arrive := func() uint64 {
		if id++; id == 0 {
			id = 1
		}
		seq, isNew := r.Arrive(qos, id, false, 1)
		if !isNew {
			tb.Fatal("not a new message")
		}
		return seq
	}
	oldest := arrive()
	for range unacked - 1 {
		arrive()
	}
	return func() {
		r.Ack(oldest)
		oldest++
		ack, ok := r.Next()
		if !ok {
			tb.Fatal("no ack")
		}
		r.Release(ack.ID) // no effect at QoS 1
		arrive()
	}
}

// loads lists numbers of messages in flight. The cost of one more message must not grow with these
// numbers.
var loads = []int{16, 1000, 60_000}

func eachSteadyState(visit func(name string, start func(tb testing.TB) (step func()))) {
	for _, n := range loads {
		visit(fmt.Sprintf("publish/QoS0/inflight%d", n), func(tb testing.TB) func() { return writer(tb, n) })
	}
	for qos := qos1; qos <= qos2; qos++ {
		for _, n := range loads {
			visit(fmt.Sprintf("publish/QoS%d/inflight%d", qos, n),
				func(tb testing.TB) func() { return publisher(tb, qos, n) })
		}
	}
	for qos := qos1; qos <= qos2; qos++ {
		for _, n := range loads {
			visit(fmt.Sprintf("receive/QoS%d/inflight%d", qos, n),
				func(tb testing.TB) func() { return consumer(tb, qos, n) })
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	eachSteadyState(func(name string, start func(testing.TB) func()) {
		step := start(t)
		// AllocsPerRun rounds down: one allocation in ten messages would count as 0.
		n := testing.AllocsPerRun(10, func() {
			for range 1000 {
				step()
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations in 1,000 messages", name, n)
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
