package flow

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// exchange connects a Sender to a Receiver. Its tests cut the connection and kill either process.
// Sender and Receiver commit to their stores before they send the packets of the same batch. Each
// QoS 1 message must arrive, each QoS 2 message must arrive once, and first deliveries must be in
// order.
type exchange struct {
	*testing.T
	rnd *rand.Rand

	s        *Sender[int]
	sJournal *Journal
	sStore   *MemoryStore
	sBatch   uint64
	sOut     []any // Single packets of the current batch

	r        *Receiver
	rJournal *Journal
	rStore   *MemoryStore
	rOut     []any // the acks of the current batch

	toR, toS []any // packets on the wire to the Receiver and to the Sender

	window       int
	tokens       int
	qos          []frames.QoS // by token
	open         map[uint64]int
	delivered    []int        // tokens in order of their first delivery
	acked        map[int]int  // by token: number of acks in the receiver's store
	unstoredAcks []int        // tokens of acknowledged messages, not committed yet
	ended        map[int]bool // tokens ended by PUBACK or PUBCOMP
}

func newExchange(t *testing.T, rnd *rand.Rand) *exchange {
	x := &exchange{
		T: t, rnd: rnd, window: 1 + rnd.IntN(6), sStore: NewMemoryStore(), rStore: NewMemoryStore(),
		qos: []frames.QoS{0}, acked: map[int]int{}, ended: map[int]bool{},
	}
	for _, s := range []*MemoryStore{x.sStore, x.rStore} {
		if _, err := s.Attach("a"); err != nil {
			t.Fatal(err)
		}
	}
	x.openSender()
	x.openReceiver()
	return x
}

func (x *exchange) openSender() {
	_ = x.sStore.Detach()
	snap, _ := x.sStore.Attach("a")
	x.sJournal = new(Journal)
	x.s = NewSender[int](x.window, new(Identifiers), nil, x.sJournal)
	for _, p := range snap.Publications {
		if !x.s.Restore(p, token(p.Message), 0) {
			x.Fatalf("%+v was rejected", p)
		}
	}
	x.sBatch, x.sOut = 1, nil
}

func (x *exchange) openReceiver() {
	_ = x.rStore.Detach()
	snap, _ := x.rStore.Attach("a")
	x.rJournal = new(Journal)
	x.r = NewReceiver(x.rJournal)
	for _, id := range snap.Received {
		x.r.Restore(id)
	}
	x.rOut, x.open, x.unstoredAcks = nil, map[uint64]int{}, nil
}

func (x *exchange) step(faults bool) {
	op := x.rnd.IntN(100)
	switch {
	case op < 15 && faults:
		x.tokens++
		qos := frames.QoS(1 + x.rnd.IntN(2))
		x.qos = append(x.qos, qos)
		x.s.Add(message(qos, x.tokens), x.tokens, 0, Expiry{})
	case op < 30:
		if out, ok := x.s.Send(x.sBatch, 0); ok {
			x.sOut = append(x.sOut, out)
		}
	case op < 45:
		_ = x.sStore.Commit(x.sJournal.MoveTo(nil))
		x.toR, x.sOut = append(x.toR, x.sOut...), nil
		x.sBatch++
	case op < 60:
		_ = x.rStore.Commit(x.rJournal.MoveTo(nil))
		x.toS, x.rOut = append(x.toS, x.rOut...), nil
		for _, token := range x.unstoredAcks {
			x.acked[token]++
		}
		x.unstoredAcks = nil
	case op < 75 && len(x.toR) > 0:
		out := x.toR[0].(Single)
		x.toR = x.toR[1:]
		x.receive(out)
	case op < 85 && len(x.toS) > 0:
		ack := x.toS[0].(frames.Ack)
		x.toS = x.toS[1:]
		x.acknowledge(ack)
	case op < 95 && len(x.open) > 0:
		seq := pick(x.rnd, slices.Sorted(maps.Keys(x.open)))
		x.r.Ack(seq)
		x.unstoredAcks = append(x.unstoredAcks, x.open[seq])
		delete(x.open, seq)
		for ack, ok := x.r.Next(); ok; ack, ok = x.r.Next() {
			x.rOut = append(x.rOut, ack)
		}
	case op == 95 && faults:
		x.cut()
	case op == 96 && faults:
		x.cut()
		x.openSender()
	case op == 97 && faults:
		x.cut()
		x.openReceiver()
	}
}

func (x *exchange) receive(out Single) {
	if out.Type == frames.TypePubrel {
		x.r.Release(out.Publish.ID)
		x.rOut = append(x.rOut, frames.Ack{Kind: pubcomp, ID: out.Publish.ID})
		return
	}
	token := token(out.Publish.Message)
	if seq, isNew := x.r.Arrive(out.Publish.QoS, out.Publish.ID, out.Publish.DUP, 1); isNew {
		x.open[seq] = token
		if !slices.Contains(x.delivered, token) {
			x.delivered = append(x.delivered, token)
		}
	}
	for ack, ok := x.r.Next(); ok; ack, ok = x.r.Next() {
		x.rOut = append(x.rOut, ack)
	}
}

func (x *exchange) acknowledge(ack frames.Ack) {
	e, outcome := x.s.Acknowledge(ack.Kind, ack.ID, 0, allHanded, 0)
	switch outcome {
	case Confirmed:
		if x.acked[e.Owner] == 0 {
			x.Fatalf("%d ended before it was acknowledged", e.Owner)
		}
		x.ended[e.Owner] = true
	case Release, ReleaseUnknown:
		x.sOut = append(x.sOut, Single{Type: frames.TypePubrel, Publish: frames.Publish{ID: ack.ID}})
	case Violation, Downgraded:
		x.Fatalf("%v#%d between a sender and a receiver that conform: outcome %d", ack.Kind, ack.ID, outcome)
	}
}

func (x *exchange) cut() {
	x.toR, x.toS, x.sOut, x.rOut = nil, nil, nil, nil
	x.s.Lost(x.sBatch-1, true, func(e Ended[int]) { x.Fatalf("%d ended with the connection", e.Owner) })
	x.r.Lost(true)
	for _, seq := range slices.Sorted(maps.Keys(x.open)) {
		if x.rnd.IntN(2) == 0 && !x.r.Pending(seq) { // the broker sends a QoS 1 message again, so a consumer may give up
			delete(x.open, seq)
		}
	}
}

func TestQoS2ArrivesOnceAndQoS1AtLeastOnceWhateverIsCutOrKilled(t *testing.T) {
	randomly(t, 400, func(t *testing.T, rnd *rand.Rand) {
		x := newExchange(t, rnd)
		for range 600 {
			x.step(true)
		}
		accepted := x.s.Len()
		for range 20_000 {
			x.step(false)
			if x.s.Len() == 0 && len(x.toR)+len(x.sOut)+len(x.toS)+len(x.rOut)+len(x.open)+len(x.unstoredAcks) == 0 &&
				x.sJournal.Len()+x.rJournal.Len() == 0 {
				break
			}
		}
		if x.s.Len() != 0 {
			t.Fatalf("%d of %d never end", x.s.Len(), accepted)
		}
		if len(x.sStore.publications)+len(x.rStore.received) != 0 {
			t.Fatalf("the stores still hold %+v and %v", x.sStore.publications, x.rStore.received)
		}
		if !slices.IsSorted(x.delivered) {
			t.Fatalf("first deliveries in disorder: %v", x.delivered)
		}
		for token, n := range x.acked {
			if x.qos[token] == qos2 && n != 1 {
				t.Fatalf("%d was delivered and acked %d times", token, n)
			}
		}
		for token := range x.ended {
			if !slices.Contains(x.delivered, token) {
				t.Fatalf("%d ended undelivered", token)
			}
		}
	})
}
