package stream_test

import (
	"strconv"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// A ledger is what both sides of a fuzzed session are held to, over all its
// connections.
type ledger struct {
	t *testing.T

	// Publications by number, which is their payload.
	out     []fuzzPublication
	current map[uint16]int // identifiers on the wire
	acks    map[ackKey]int // sent to the client, less those that a Receipt has used

	// Messages to the client by number, which is their payload.
	in       []fuzzMessage
	held     map[uint16]int  // QoS 2 identifiers between PUBLISH and PUBREL
	unsure   map[uint16]bool // those whose PUBREL the client may not have seen
	phantoms map[uint16]bool // identifiers of PUBREC for what the client could not write
	discard  bool            // messages may be acknowledged without a consumer
	stalled  bool            // the client could not write at times
}

type ackKey struct {
	kind frames.Type
	id   uint16
}

type fuzzPublication struct {
	qos      frames.QoS
	id       uint16 // of the last PUBLISH
	seen     bool   // it came
	known    bool   // and the broker's session remembers it
	received bool   // PUBREC was sent for it
	released bool   // its PUBREL came
	receipts int
}

type fuzzMessage struct {
	qos       frames.QoS
	delivered map[int]bool // by consumer
	settled   bool
}

func newLedger(t *testing.T) *ledger {
	return &ledger{
		t: t, current: make(map[uint16]int), acks: make(map[ackKey]int),
		phantoms: make(map[uint16]bool), held: make(map[uint16]int), unsure: make(map[uint16]bool),
	}
}

// arrive takes down a PUBLISH to the client. It is a new message unless its QoS
// 2 identifier is held.
func (l *ledger) arrive(p frames.Publish) arrival {
	n, _ := strconv.Atoi(string(p.Payload))
	if p.QoS == frames.ExactlyOnce {
		l.held[p.ID] = n
	}
	return arrival{qos: p.QoS, id: p.ID, number: n, unsure: l.unsure[p.ID]}
}

// numberOf is the number of the message in a PUBLISH with this identifier.
func (l *ledger) numberOf(q frames.QoS, id uint16) int {
	if n, ok := l.held[id]; ok && q == frames.ExactlyOnce {
		return n
	}
	l.in = append(l.in, fuzzMessage{qos: q})
	return len(l.in) - 1
}

// deliver takes down that a consumer was handed a message.
func (l *ledger) deliver(d stream.Delivery, consumer int) int {
	n, err := strconv.Atoi(string(d.Payload))
	if err != nil || n >= len(l.in) {
		l.t.Fatalf("a message that nobody sent: %q", d.Payload)
	}
	m := &l.in[n]
	if m.delivered[consumer] {
		l.t.Fatalf("message %d was delivered twice to consumer %d", n, consumer)
	}
	if m.delivered == nil {
		m.delivered = make(map[int]bool)
	}
	m.delivered[consumer] = true
	return n
}

func (l *ledger) maySettle(n int) bool { return l.in[n].settled || l.discard }

// accepted takes down a publication and gives it a number.
func (l *ledger) accepted(q frames.QoS) { l.out = append(l.out, fuzzPublication{qos: q}) }

// receipt checks the end of a publication. An end without an error needs the
// acks of its exchange.
func (l *ledger) receipt(n int, err error) {
	p := &l.out[n]
	if p.receipts++; p.receipts > 1 {
		l.t.Fatalf("%d Receipts of %d", p.receipts, n)
	}
	if err != nil {
		return
	}
	if !p.seen && !l.stalled {
		l.t.Fatalf("publication %d ended well and never came", n)
	}
	if !p.seen {
		return
	}
	switch p.qos {
	case frames.AtLeastOnce:
		l.use(puback, p.id, n)
	case frames.ExactlyOnce:
		l.use(pubrec, p.id, n)
		l.use(pubcomp, p.id, n)
	}
}

func (l *ledger) use(kind frames.Type, id uint16, n int) {
	key := ackKey{kind, id}
	if l.acks[key]--; l.acks[key] < 0 {
		l.t.Fatalf("publication %d ended well without %v %d", n, kind, id)
	}
}

// lost takes down the end of a connection. kept: the identifiers of both sides
// outlive it.
func (l *ledger) lost(w *fuzzWire, kept bool) {
	for id, n := range w.pubrels {
		if n > 0 {
			l.unsure[id] = true
		}
	}
	if !kept {
		l.forget()
	}
}

// forget takes down that the broker's half of the session is gone.
func (l *ledger) forget() {
	clear(l.held)
	clear(l.unsure)
	for id, n := range l.current {
		if !l.out[n].received { // what is received goes on with PUBREL
			delete(l.current, id)
		}
	}
	for n := range l.out {
		if p := &l.out[n]; !p.released && p.qos > frames.AtMostOnce {
			p.known = false
		}
	}
}
