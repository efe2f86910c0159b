package flow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// pub is a publication in the model. The model is one slice in order of acceptance, which is always
// searched from the front.
type pub struct {
	token    int // the payload; outside a run, the owner too
	run      int // the token of the first message of the run, which is the owner of the whole run; 0: not in a run
	qos      frames.QoS
	seq      uint64
	handle   Handle
	id       uint16
	released bool
	owned    bool

	batch    uint64            // the batch in which it was transmitted on this connection; 0: none
	sent     bool              // the session knows that the writer has received it
	earlier  bool              // it may have been sent in a session that the broker has lost
	resumed  bool              // PUBREL may have been sent before
	code     frames.ReasonCode // of PUBREC
	attempts int
	due      time.Duration
	at       time.Duration // when it was accepted
	until    time.Duration // when it expires; 0: never
	stored   frames.QoS    // in the store, which Lower does not change
	lowered  bool
}

func (p *pub) waits() bool { return p.id == 0 && (p.qos > 0 || p.batch == 0) }

func (p *pub) owner() int {
	switch {
	case !p.owned:
		return 0
	case p.run != 0:
		return p.run
	}
	return p.token
}

// senderRun drives a Sender and the model side by side, with a store that lacks the uncommitted
// changes.
type senderRun struct {
	*testing.T
	rnd *rand.Rand
	log []string

	s       *Sender[int]
	ids     *Identifiers
	journal *Journal
	retry   *Retry
	window  int
	limit   QueueLimit
	now     time.Duration
	batch   uint64
	filling []packet // the packets in batch

	pubs    []*pub
	foreign []uint16 // identifiers of SUBSCRIBE packets
	handles []Handle
	tokens  int
	ended   map[int]bool
	lastSeq uint64 // the last seq transmitted on this connection
	wires   map[int]*wire
	runs    map[int][]frames.Message // the slices of AddRun, by their first token

	mirror      *MemoryStore // receives every journaled change
	store       *MemoryStore // receives changes when the writer commits
	uncommitted []Change
	saved       []Publication // the expected content of store
}

func newSenderRun(t *testing.T, rnd *rand.Rand) *senderRun {
	r := &senderRun{
		T: t, rnd: rnd, batch: 1, window: 1 + rnd.IntN(1+rnd.IntN(12)), ended: map[int]bool{},
		wires: map[int]*wire{}, runs: map[int][]frames.Message{}, mirror: NewMemoryStore(), store: NewMemoryStore(),
	}
	r.limit = QueueLimit{Messages: 1 + rnd.IntN(8), Bytes: rnd.IntN(3) * 300, Full: Full(rnd.IntN(3))}
	if rnd.IntN(2) == 0 {
		r.retry = &Retry{Initial: time.Second, Max: 8 * time.Second, Bandwidth: 1, Factor: 2}
	}
	if _, err := r.store.Attach("a"); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.ids.last = uint16(rnd.IntN(1 << 16))
	if rnd.IntN(2) == 0 {
		r.ids.last = uint16(65_535 - rnd.IntN(10))
	}
	return r
}

func (r *senderRun) open() {
	last := uint16(0)
	if r.ids != nil {
		last = r.ids.last
	}
	r.ids, r.journal = &Identifiers{last: last}, new(Journal)
	r.s = NewSender[int](r.window, r.ids, r.retry, r.journal)
	r.s.Limit(r.limit)
	r.foreign, r.handles, r.filling = nil, nil, nil
	r.ended = map[int]bool{}
	r.lastSeq = 0
}

func (r *senderRun) logf(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *senderRun) fail(format string, args ...any) {
	r.Helper()
	for _, line := range r.log[max(0, len(r.log)-40):] {
		r.Log(line)
	}
	r.Fatalf(format, args...)
}

func (r *senderRun) step() {
	switch r.rnd.IntN(29) {
	case 0, 1, 2, 3:
		r.add()
	case 24:
		r.addRun()
	case 4, 5, 6, 7:
		r.next()
	case 8, 9, 10:
		r.take()
	case 11:
		r.written()
	case 12, 13, 14, 15:
		r.rightAck()
	case 16:
		r.anyAck()
	case 17:
		if r.rnd.IntN(2) == 0 {
			r.withdraw()
		} else {
			r.withdrawRun()
		}
	case 18:
		if r.rnd.IntN(2) == 0 {
			r.lost(r.rnd.IntN(4) > 0)
		}
	case 19:
		r.now += time.Duration(r.rnd.IntN(4000)) * time.Millisecond
		r.overdue()
	case 20:
		r.subscribe()
	case 21:
		r.s.Shrink()
	case 22:
		if r.rnd.IntN(8) == 0 {
			r.crash()
		}
	case 23:
		if r.rnd.IntN(8) == 0 {
			r.drain()
		}
	case 25:
		r.now += time.Duration(r.rnd.IntN(3000)) * time.Millisecond
		r.expire()
	case 26:
		if r.rnd.IntN(3) == 0 {
			r.drop()
		}
	case 27:
		r.lower()
	case 28:
		r.evict()
	}
	r.check()
}

func (r *senderRun) add() {
	r.tokens++
	p := &pub{token: r.tokens, qos: frames.QoS(r.rnd.IntN(3)), owned: true, at: r.now}
	p.stored = p.qos
	if r.rnd.IntN(3) == 0 {
		p.until = r.now + time.Duration(1+r.rnd.IntN(4000))*time.Millisecond
	}
	r.logf("add %d at QoS %d, until %v", p.token, p.qos, p.until)
	p.handle = r.s.Add(message(p.qos, p.token), p.token, r.now, p.expiry())
	p.seq = p.handle.seq
	if n := len(r.pubs); n > 0 && p.seq <= r.pubs[n-1].seq {
		r.fail("seq %d behind seq %d", p.seq, r.pubs[n-1].seq)
	}
	r.pubs, r.handles = append(r.pubs, p), append(r.handles, p.handle)
	r.wires[p.token] = &wire{fresh: true}
}

// next transmits the first publication that was not transmitted on this connection, unless it has
// QoS 1 or 2 and the window is full.
func (r *senderRun) next() {
	for range 1 + r.rnd.IntN(4) {
		i := slices.IndexFunc(r.pubs, func(p *pub) bool { return p.batch == 0 })
		want := i >= 0 && (r.pubs[i].qos == 0 || r.outstanding() < r.window)
		r.s.Next()
		out, ok := r.s.Next() // returns the same again
		n := 1
		if most := len(out.Messages); most > 0 {
			n += r.rnd.IntN(most)
		}
		r.logf("next: %v, %d of %d", ok, n, len(out.Messages))
		if ok != want {
			r.fail("something to send: %v, want %v", ok, want)
		}
		if !ok {
			return
		}
		for k, p := range r.pubs[i:][:n] {
			r.transmit(p, out.Single(k))
		}
		r.s.Transmitted(n, r.batch, r.now)
	}
}

func (r *senderRun) transmit(p *pub, out Single) {
	if p.seq <= r.lastSeq {
		r.fail("seq %d after seq %d", p.seq, r.lastSeq)
	}
	r.lastSeq = p.seq
	if p.qos > 0 && p.id == 0 {
		p.id = out.Publish.ID
		if p.id == 0 || slices.Contains(r.foreign, p.id) || r.find(p.id) != p {
			r.fail("identifier %d is in use", p.id)
		}
	}
	p.batch, p.attempts, p.due = r.batch, 0, r.now
	r.wait(p)
	r.send(p, out)
}

// send compares out with the packet that p must send, and adds out to the batch.
func (r *senderRun) send(p *pub, out Single) {
	if p.released {
		if out.Type != frames.TypePubrel || out.Publish.ID != p.id {
			r.fail("sends %s in place of PUBREL#%d", packetText(out), p.id)
		}
	} else if m := out.Publish; out.Type != frames.TypePublish || m.ID != p.id || m.DUP != p.sent ||
		m.QoS != p.qos || m.Topic != "t" || token(m.Message) != p.token || out.Until != p.until {
		r.fail("sends %s, QoS %d, in place of %+v", packetText(out), m.QoS, *p)
	}
	r.filling = append(r.filling, packet{token: p.token, released: p.released, dup: out.Publish.DUP})
}

func (r *senderRun) wait(p *pub) {
	switch {
	case r.retry == nil:
	case p.released:
		p.due = r.now + r.retry.Control(p.attempts)
	default:
		p.due = r.now + r.retry.Publish(len(fmt.Sprint(p.token)), p.attempts)
	}
}

func (r *senderRun) find(id uint16) *pub {
	for _, p := range r.pubs {
		if p.id == id && id != 0 {
			return p
		}
	}
	return nil
}

// end checks that e fits p, and that p ends only once.
func (r *senderRun) end(p *pub, e Ended[int]) {
	if e.Owner != p.owner() || e.Seq != p.seq || e.ID != p.id || token(e.Message) != p.token || e.Lowered != p.lowered || e.Message.QoS != p.qos {
		r.fail("%d of %d ended with identifier %d in place of %+v", token(e.Message), e.Owner, e.ID, *p)
	}
	if r.ended[p.token] {
		r.fail("%d ended twice", p.token)
	}
	r.ended[p.token] = true
	r.pubs = slices.DeleteFunc(r.pubs, func(q *pub) bool { return q == p })
}

func (r *senderRun) written() {
	upTo := r.batch - uint64(1+r.rnd.IntN(3))
	if upTo >= r.batch { // below 0
		return
	}
	r.logf("batch %d is written", upTo)
	r.endQoS0(upTo, func(end func(Ended[int])) { r.s.Written(upTo, end) })
}

func (r *senderRun) endQoS0(upTo uint64, call func(end func(Ended[int]))) {
	var want []*pub
	for _, p := range r.pubs {
		if p.qos == 0 && p.batch != 0 && p.batch <= upTo {
			want = append(want, p)
		}
	}
	r.ends(want, call)
}

// ends compares the publications that call ends with want, in order.
func (r *senderRun) ends(want []*pub, call func(end func(Ended[int]))) {
	call(func(e Ended[int]) {
		for _, e := range oneByOne(e) {
			if len(want) == 0 {
				r.fail("%d ended", token(e.Message))
			}
			r.end(want[0], e)
			want = want[1:]
		}
	})
	if len(want) > 0 {
		r.fail("%d did not end", want[0].token)
	}
}

func (r *senderRun) withdraw() {
	if len(r.handles) == 0 {
		return
	}
	h := pick(r.rnd, r.handles)
	i := slices.IndexFunc(r.pubs, func(p *pub) bool { return p.handle == h })
	e, found := r.s.Find(h)
	gone, ok := r.s.Withdraw(h)
	r.logf("withdraw seq %d: %v, %v", h.seq, gone, ok)
	if ok != (i >= 0) || found != ok {
		r.fail("withdrawn %v, found %v, want %v", ok, found, i >= 0)
	}
	if !ok {
		return
	}
	p := r.pubs[i]
	if token(e.Message) != p.token || e.Owner != p.owner() {
		r.fail("found %d of %d in place of %d", token(e.Message), e.Owner, p.token)
	}
	if gone != p.waits() {
		r.fail("gone: %v, want %v", gone, p.waits())
	}
	if gone {
		r.pubs, r.ended[p.token] = slices.Delete(r.pubs, i, i+1), true
		return
	}
	p.owned = false
	clear(e.Message.Payload) // the owner may overwrite the payload of an ended publication
	if again, _ := r.s.Find(h); token(again.Message) != p.token {
		r.fail("the payload is not its own")
	}
}

func (r *senderRun) subscribe() {
	if len(r.foreign) > 0 && r.rnd.IntN(2) == 0 {
		i := r.rnd.IntN(len(r.foreign))
		r.ids.Release(r.foreign[i])
		r.foreign = slices.Delete(r.foreign, i, i+1)
		return
	}
	id, ok := r.ids.Acquire(-int32(r.rnd.IntN(5)))
	r.logf("subscribe#%d", id)
	if !ok || id == 0 || slices.Contains(r.foreign, id) || r.find(id) != nil {
		r.fail("identifier %d, %v", id, ok)
	}
	r.foreign = append(r.foreign, id)
}

func TestSenderAgreesWithTheModel(t *testing.T) {
	randomly(t, 2000, func(t *testing.T, rnd *rand.Rand) {
		r := newSenderRun(t, rnd)
		for range 100 {
			r.step()
		}
	})
}
