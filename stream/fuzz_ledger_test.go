package stream_test

import (
	"strconv"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// A ledger records all messages of a fuzzed session, on all its connections. The checks of the
// client and of the broker use it.
type ledger struct {
	t *testing.T

	// Publications by number. The payload of a publication is its number.
	out     []fuzzPublication
	current map[uint16]int // identifiers in use by the client, with the number of the publication
	acks    map[ackKey]int // acks sent to the client that have not yet explained a Receipt

	// Messages to the client by number. The payload of a message is its number.
	in       []fuzzMessage
	held     map[uint16]int  // QoS 2 identifiers between PUBLISH and PUBREL
	unsure   map[uint16]bool // held identifiers whose PUBREL the client may have missed
	phantoms map[uint16]bool // identifiers for which a PUBREC was sent although the client had not written the PUBLISH
	discard  bool            // the session may ack messages that no consumer received
	stalled  bool            // the client could not write for a time
}

type ackKey struct {
	kind frames.Type
	id   uint16
}

type fuzzPublication struct {
	qos      frames.QoS
	id       uint16 // packet identifier of the last PUBLISH
	seen     bool   // its PUBLISH arrived
	known    bool   // the publication is in the broker's session
	received bool   // its PUBREC was sent
	released bool   // its PUBREL arrived
	receipts int
}

type fuzzMessage struct {
	qos       frames.QoS
	delivered map[int]bool // the consumers that have received the message
	settled   bool
}

func newLedger(t *testing.T) *ledger {
	return &ledger{
		t: t, current: make(map[uint16]int), acks: make(map[ackKey]int),
		phantoms: make(map[uint16]bool), held: make(map[uint16]int), unsure: make(map[uint16]bool),
	}
}

// arrive records a PUBLISH to the client. The PUBLISH is a new message unless it has QoS 2 and its
// identifier still awaits PUBREL.
func (l *ledger) arrive(p frames.Publish) arrival {
	n, _ := strconv.Atoi(string(p.Payload))
	if p.QoS == frames.ExactlyOnce {
		l.held[p.ID] = n
	}
	return arrival{qos: p.QoS, id: p.ID, number: n, unsure: l.unsure[p.ID]}
}

// numberOf returns the number of the message that a PUBLISH with this QoS and identifier carries.
func (l *ledger) numberOf(q frames.QoS, id uint16) int {
	if n, ok := l.held[id]; ok && q == frames.ExactlyOnce {
		return n
	}
	l.in = append(l.in, fuzzMessage{qos: q})
	return len(l.in) - 1
}

// deliver records that a consumer received a message.
func (l *ledger) deliver(d stream.Delivery, consumer int) int {
	n, err := strconv.Atoi(string(d.Payload))
	if err != nil || n >= len(l.in) {
		l.t.Fatalf("delivered a message that the broker did not send: %q", d.Payload)
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

// accepted records a publication that the session accepted, and gives it the next number.
func (l *ledger) accepted(q frames.QoS) { l.out = append(l.out, fuzzPublication{qos: q}) }

// receipt checks the Receipt of a publication. If the Receipt reports success, all acks of the
// exchange must have been sent.
func (l *ledger) receipt(n int, err error) {
	p := &l.out[n]
	if p.receipts++; p.receipts > 1 {
		l.t.Fatalf("%d Receipts for publication %d", p.receipts, n)
	}
	if err != nil {
		return
	}
	if !p.seen && !l.stalled {
		l.t.Fatalf("publication %d succeeded but never arrived", n)
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
		l.t.Fatalf("publication %d succeeded without %v %d", n, kind, id)
	}
}

// lost records the end of a connection. The parameter kept reports whether the session continues on
// the next connection.
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

// forget records that the broker lost its session state.
func (l *ledger) forget() {
	clear(l.held)
	clear(l.unsure)
	clear(l.current)
	for n := range l.out {
		if p := &l.out[n]; !p.released && p.qos > frames.AtMostOnce {
			p.known = false
		}
	}
}
