package stream

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
)

// handoversModel keeps the deliveries that await the ack of their consumer in a map.
type handoversModel struct {
	handovers
	waits  map[uint64]time.Duration // 0: not handed over
	last   uint64                   // the highest number
	oldest uint64                   // acks of lower numbers were sent
	clock  time.Duration
	seen   []Acked
}

func newHandoversModel() *handoversModel {
	m := &handoversModel{waits: make(map[uint64]time.Duration), oldest: 1}
	m.handovers = handovers{clock: &clock{}, timings: new(timings)}
	m.observer = &observer{Observer: Observer{Acked: func(row []Acked) { m.seen = append(m.seen, row...) }}}
	return m
}

func (m *handoversModel) tick(t *rapid.T) {
	m.clock += time.Duration(rapid.IntRange(1, 100).Draw(t, "ns"))
}

// arrive adds a delivery; the numbers have gaps.
func (m *handoversModel) arrive(t *rapid.T) {
	m.last = max(m.last, m.oldest-1) + uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
	m.expect(&Delivery{Message: frames.Message{Topic: "t", QoS: frames.AtLeastOnce}, seq: m.last, ID: uint16(m.last)})
	m.waits[m.last] = 0
}

// some draws a number that is in use, was in use, or never will be.
func (m *handoversModel) some(t *rapid.T) uint64 {
	return uint64(rapid.IntRange(max(0, int(m.oldest)-3), int(m.last)+2).Draw(t, "number"))
}

func (m *handoversModel) handOver(t *rapid.T) {
	m.tick(t)
	seq := m.some(t)
	m.number([]Delivery{{}, {seq: seq}}, m.clock)
	if _, ok := m.waits[seq]; ok {
		m.waits[seq] = m.clock
	}
}

// again adds a delivery that was requeued.
func (m *handoversModel) again(t *rapid.T) {
	seq := m.some(t)
	if _, ok := m.waits[seq]; ok {
		m.expect(&Delivery{Message: frames.Message{Topic: "t", QoS: frames.AtLeastOnce}, seq: seq, ID: uint16(seq)})
		m.waits[seq] = 0
	}
}

func (m *handoversModel) leave(t *rapid.T) {
	seq := m.some(t)
	m.forget(seq)
	delete(m.waits, seq)
}

func (m *handoversModel) ack(t *rapid.T) {
	m.tick(t)
	seq := m.some(t)
	m.seen = nil
	m.acked([]uint64{seq, seq}, map[uint64]rejection{seq: {code: frames.NotAuthorized}}, m.oldest, m.clock)
	at, ok := m.waits[seq]
	delete(m.waits, seq)
	if !ok {
		if len(m.seen) > 0 {
			t.Fatalf("an ack of %d, which waits for none: %+v", seq, m.seen)
		}
		return
	}
	if at == 0 {
		at = m.clock
	}
	want := Acked{Topic: "t", QoS: frames.AtLeastOnce, ID: uint16(seq), Code: frames.NotAuthorized,
		HandedOver: time.Time{}.Add(at), Took: m.clock - at}
	if len(m.seen) != 1 || m.seen[0] != want {
		t.Fatalf("ack of %d: got %+v, want %+v", seq, m.seen, want)
	}
}

// send sends the acks of some deliveries, also of deliveries that a lost connection has dropped.
func (m *handoversModel) send(t *rapid.T) {
	m.oldest = max(m.oldest, m.some(t))
	for seq := range m.waits {
		if seq < m.oldest {
			delete(m.waits, seq)
		}
	}
	m.shrink(m.oldest)
	if len(m.ring) == 0 && len(m.waits) > 0 {
		t.Fatalf("no memory is left for %d deliveries", len(m.waits))
	}
}

func TestHandoversAreTimedAsInAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newHandoversModel()
		t.Repeat(map[string]func(*rapid.T){
			"arrive": m.arrive, "arrive too": m.arrive, "hand over": m.handOver, "again": m.again, "leave": m.leave, "ack": m.ack, "send": m.send,
		})
	})
}

// Deliveries cost nothing while neither Timings nor an Observer needs times.
func TestTimesAreNotTakenByDefault(t *testing.T) {
	h := handovers{timings: new(timings)}
	if h.wanted() || h.arrivesAt(5) != 0 {
		t.Error("times are wanted")
	}
	h.timings.read(new(Timings))
	if !h.wanted() || h.arrivesAt(0) == 0 || h.arrivesAt(5) != 5 {
		t.Error("times are not wanted after Timings was read")
	}
	for wanted, o := range map[bool]*Observer{false: {Published: func([]Published) {}}, true: {Acked: func([]Acked) {}}} {
		h = handovers{timings: new(timings), observer: &observer{Observer: *o}}
		if h.wanted() != wanted {
			t.Errorf("times are wanted: %v, want %v", !wanted, wanted)
		}
	}
}
