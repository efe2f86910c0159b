package flow

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// inMessage is a message that was delivered. All duplicates of a message share one inMessage.
type inMessage struct {
	qos     frames.QoS
	id      uint16
	conn    int
	pending map[uint64]bool // unacknowledged deliveries
	numbers Numbers

	doubt   bool // the broker may have lost it
	code    frames.ReasonCode
	refused []refusedDelivery // of this connection, in order of their numbers
	counted counted           // at QoS 2, on this connection
}

// arrival is one PUBLISH of this connection.
type arrival struct {
	*inMessage
	again    bool // a duplicate, delivered to no consumer
	released bool // PUBREL released its identifier, so no ack is due
	counted  counted
}

// receiverRun drives a Receiver and a naive model side by side, with a store that lacks the
// uncommitted changes.
type receiverRun struct {
	*testing.T
	rnd *rand.Rand
	log []string

	r       *Receiver
	journal *Journal

	conn     int
	arrivals []*arrival            // arrivals whose acks have not been sent
	held     map[uint16]*inMessage // QoS 2 messages until PUBREL, by identifier
	earlier  map[uint16]Numbers    // QoS 1 messages of earlier connections without an ack
	waiting  map[uint64]*inMessage // unacknowledged deliveries, by number
	last     uint64                // the number of the last delivery
	quota    quota                 // limit, resumed and surplus

	mirror      map[uint16]bool // the identifiers that remain after all journaled changes
	store       *MemoryStore    // receives changes when the writer commits
	uncommitted []Change
}

func newReceiverRun(t *testing.T, rnd *rand.Rand) *receiverRun {
	r := &receiverRun{T: t, rnd: rnd, store: NewMemoryStore(), mirror: map[uint16]bool{}}
	if _, err := r.store.Attach("a"); err != nil {
		t.Fatal(err)
	}
	r.open()
	return r
}

func (r *receiverRun) open() {
	r.journal = new(Journal)
	r.r = NewReceiver(r.journal)
	r.arrivals, r.held, r.waiting, r.last = nil, map[uint16]*inMessage{}, map[uint64]*inMessage{}, 0
	r.earlier = map[uint16]Numbers{}
	r.quota = quota{}
	r.setQuota(r.rnd.IntN(2) == 0)
}

func (r *receiverRun) logf(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *receiverRun) fail(format string, args ...any) {
	r.Helper()
	for _, line := range r.log[max(0, len(r.log)-40):] {
		r.Log(line)
	}
	r.Fatalf(format, args...)
}

func (r *receiverRun) step() {
	switch r.rnd.IntN(20) {
	case 0, 1, 2, 3, 4:
		r.arrive()
	case 5, 6, 7, 8, 9, 10:
		r.ack()
	case 11, 12, 13:
		r.next()
	case 14, 15:
		r.release()
	case 16, 17:
		_ = r.store.Commit(r.uncommitted)
		r.uncommitted = nil
		r.r.Shrink()
	case 18:
		if r.rnd.IntN(3) == 0 {
			r.lost()
		}
	case 19:
		if r.rnd.IntN(5) == 0 {
			r.crash()
		}
	}
	r.check()
}

// inboundIDs holds a few identifiers, some of which share a slot in a short table.
var inboundIDs = []uint16{1, 2, 3, 4, 17, 33, 65_535}

func (r *receiverRun) arrive() {
	qos, id, n := frames.QoS(1+r.rnd.IntN(2)), pick(r.rnd, inboundIDs), 1+r.rnd.IntN(1+r.rnd.IntN(4))
	dup := r.rnd.IntN(2) == 0
	was := r.r.Repeated(id)
	if want, ok := r.earlier[id]; was.To != want.To || was.From < want.From || ok && was.From >= was.To {
		r.fail("#%d repeats %v, want %v", id, was, want)
	}
	if !r.admits(qos, id, dup) {
		return
	}
	if qos == qos1 {
		delete(r.earlier, id)
	}
	first, isNew := r.r.Arrive(qos, id, dup, n)
	r.logf("QoS %d #%d DUP %v for %d: %d, %v", qos, id, dup, n, first, isNew)
	if m := r.held[id]; qos == qos2 && m != nil && m.doubt && !dup {
		r.released(id)
	}
	m := r.held[id]
	if qos == qos1 {
		m = nil
	}
	if isNew != (m == nil) {
		r.fail("new: %v, want %v", isNew, m == nil)
	}
	if !isNew {
		r.arrivals = append(r.arrivals, &arrival{inMessage: m, again: true})
		if m.counted == uncounted {
			m.counted = r.count(dup)
		}
		return
	}
	if first <= r.last {
		r.fail("delivery %d after %d", first, r.last)
	}
	m = &inMessage{qos: qos, id: id, conn: r.conn, pending: map[uint64]bool{}, numbers: Numbers{first, first + uint64(n)}}
	for seq := first; seq < first+uint64(n); seq++ {
		m.pending[seq], r.waiting[seq] = true, m
	}
	r.last = first + uint64(n) - 1
	a := &arrival{inMessage: m}
	r.arrivals = append(r.arrivals, a)
	if qos == qos2 {
		r.held[id], m.counted = m, r.count(dup)
	} else {
		a.counted = r.count(dup)
	}
}

// ack acknowledges or rejects a random delivery of any connection. The delivery is often pending,
// and may not even exist.
func (r *receiverRun) ack() {
	seq := uint64(r.rnd.IntN(int(r.last) + 3))
	if len(r.waiting) > 0 && r.rnd.IntN(4) > 0 {
		seq = pick(r.rnd, slices.Sorted(maps.Keys(r.waiting)))
	}
	m := r.waiting[seq]
	if got := r.r.Pending(seq); got != (m != nil) {
		r.fail("pending: %v, want %v", got, m != nil)
	}
	if r.rnd.IntN(3) == 0 {
		r.reject(m, seq)
	} else {
		r.logf("ack %d", seq)
		r.r.Ack(seq)
	}
	if m != nil {
		delete(m.pending, seq)
		delete(r.waiting, seq)
	}
}

// next checks the arrivals in order. The ack of a message may be sent when all its deliveries are
// acknowledged. After PUBREL no ack is due.
func (r *receiverRun) next() {
	got, ok := r.r.Next()
	r.logf("next: %v#%d, %v", got.Kind, got.ID, ok)
	var want frames.Ack
	var reason, gotReason string
	for len(r.arrivals) > 0 {
		a := r.arrivals[0]
		if len(a.pending) > 0 && !(a.again && a.released) {
			break
		}
		r.arrivals = r.arrivals[1:]
		if a.released {
			continue
		}
		if want = (frames.Ack{Kind: frames.TypePubrec, ID: a.id}); a.qos == qos1 {
			want.Kind = frames.TypePuback
		}
		want.Code, reason = a.code, a.reason()
		r.answered(a)
		break
	}
	if got.Properties != nil {
		gotReason = got.Properties.Reason
		got.Properties = nil
	}
	if got != want || ok != (want.ID != 0) || gotReason != reason {
		r.fail("ack %v#%d %#02x %q, %v, want %v#%d %#02x %q", got.Kind, got.ID, byte(got.Code), gotReason, ok,
			want.Kind, want.ID, byte(want.Code), reason)
	}
	r.readJournal()
	if got.Kind == frames.TypePubrec && got.Code == frames.Success && !r.mirror[got.ID] {
		r.fail("PUBREC#%d is sent before its change is journaled", got.ID)
	}
}

func (r *receiverRun) release() {
	id := pick(r.rnd, inboundIDs)
	r.logf("PUBREL#%d", id)
	r.r.Release(id)
	r.released(id)
}

// released removes an identifier from the model, if the model holds it.
func (r *receiverRun) released(id uint16) {
	m := r.held[id]
	if m == nil {
		return
	}
	delete(r.held, id)
	for _, a := range r.arrivals {
		if a.inMessage == m {
			a.released = true
		}
	}
	if m.conn != r.conn {
		r.forget(m)
	}
}

// forget drops the pending deliveries of m.
func (r *receiverRun) forget(m *inMessage) {
	for seq := range m.pending {
		delete(r.waiting, seq)
	}
	clear(m.pending)
}

func (r *receiverRun) lost() {
	keep := r.rnd.IntN(4) > 0
	r.logf("lost, keep %v", keep)
	r.r.Lost(keep)
	for _, a := range r.arrivals {
		if a.qos == qos1 {
			r.earlier[a.id] = a.numbers
		}
	}
	r.arrivals = nil
	r.conn++
	for _, m := range r.held {
		m.counted, m.refused = uncounted, nil
	}
	if !keep || r.rnd.IntN(4) == 0 {
		if keep {
			r.logf("the broker has no session")
			r.r.Clear()
		}
		clear(r.held)
		clear(r.earlier)
	}
	if r.rnd.IntN(3) == 0 {
		r.logf("the broker does not say whether it has the session")
		r.r.Doubt()
		for _, m := range r.held {
			m.doubt = true
		}
	}
	r.setQuota(keep)
	for _, m := range r.waiting {
		if r.held[m.id] != m {
			r.forget(m)
		}
	}
}

// crash loses all uncommitted changes.
func (r *receiverRun) crash() {
	r.logf("crash, %d changes not committed", len(r.uncommitted))
	r.uncommitted = nil
	_ = r.store.Detach()
	snap, err := r.store.Attach("a")
	if err != nil {
		r.fail("%v", err)
	}
	r.open()
	clear(r.mirror)
	for _, id := range snap.Received {
		r.r.Restore(id)
		r.held[id] = &inMessage{qos: qos2, id: id, conn: -1}
		r.mirror[id] = true
	}
}

func (r *receiverRun) readJournal() {
	at := len(r.uncommitted)
	r.uncommitted = r.journal.MoveTo(r.uncommitted)
	for _, c := range r.uncommitted[at:] {
		if got, want := r.mirror[c.ID], c.Kind == Forgotten; got != want {
			r.fail("the journal has %+v, and the store holds the identifier: %v", c, got)
		}
		r.mirror[c.ID] = c.Kind == Received
	}
}

// check verifies the invariants; it runs after every step.
func (r *receiverRun) check() {
	r.readJournal()
	r.checkQuota()
	for _, id := range inboundIDs {
		m := r.held[id]
		if want := m != nil && len(m.pending) == 0 && m.code == frames.Success; r.mirror[id] != want {
			r.fail("the store holds #%d: %v, want %v", id, r.mirror[id], want)
		}
	}
	if r.r.Unacked() != len(r.arrivals) || r.r.Waiting() != len(r.waiting) || r.r.Held() != len(r.held) {
		r.fail("unacked %d, waiting %d, held %d; want %d, %d, %d", r.r.Unacked(), r.r.Waiting(), r.r.Held(),
			len(r.arrivals), len(r.waiting), len(r.held))
	}
}

func TestReceiverAgreesWithTheModel(t *testing.T) {
	randomly(t, 2000, func(t *testing.T, rnd *rand.Rand) {
		r := newReceiverRun(t, rnd)
		for range 150 {
			r.step()
		}
	})
}
