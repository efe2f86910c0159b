package flow

import (
	"slices"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// queueRun drives a queue and the unwritten runs beside a model, which is a slice of messages in
// order of acceptance.
type queueRun struct {
	q     queue[int]
	u     unwritten[int]
	model []*waiting
	seq   uint64
	batch uint64
}

type waiting struct {
	seq    uint64
	cost   int
	until  time.Duration
	waits  bool
	passed bool // the cursor has passed it
	sent   bool // in an earlier session
	batch  uint64
}

func (r *queueRun) add(t *rapid.T) {
	i := r.q.alloc()
	e := &r.q.entries[i]
	e.seq, e.until = r.seq+1, time.Duration(rapid.IntRange(0, 5).Draw(t, "until"))
	n := rapid.IntRange(1, 4).Draw(t, "messages")
	if n == 1 {
		if rapid.Bool().Draw(t, "sent") {
			e.sent = sentEarlier
		}
	} else {
		e.run = make([]frames.Message, n)
	}
	for k := range e.messages() {
		e.messages()[k].Payload = make([]byte, rapid.IntRange(0, 99).Draw(t, "payload"))
		r.seq++
		r.model = append(r.model, &waiting{seq: r.seq, cost: Cost(&e.messages()[k]), until: e.until, waits: true, sent: e.sent != unsent})
	}
	r.q.push(i)
}

// modelOf returns the part of the model that is the entry in slot i.
func (r *queueRun) modelOf(i int32) []*waiting {
	e := &r.q.entries[i]
	at := slices.IndexFunc(r.model, func(w *waiting) bool { return w.seq == e.seq })
	return r.model[at:][:e.len()]
}

// part splits some messages off the entry in slot i.
func (r *queueRun) part(t *rapid.T, i int32) int32 {
	return r.q.split(i, rapid.IntRange(1, r.q.entries[i].len()).Draw(t, "part"))
}

// send passes the cursor over an entry, which goes in flight or becomes unwritten.
func (r *queueRun) send(t *rapid.T) {
	if r.q.next() == 0 {
		return
	}
	e := r.q.at(r.q.next())
	if e.state == queued && rapid.Bool().Draw(t, "QoS 0") {
		r.sendQoS0(t)
		return
	}
	i := r.part(t, r.q.next())
	e = r.q.at(i)
	if r.q.next() != i {
		t.Fatalf("the cursor is at slot %d after a split that returned %d", r.q.next(), i)
	}
	if e.state == queued {
		r.q.start(e, 1)
	}
	for _, w := range r.modelOf(i) {
		w.waits, w.passed = false, true
	}
	r.q.advance()
}

// sendQoS0 moves some messages of the next entry to the unwritten runs.
func (r *queueRun) sendQoS0(t *rapid.T) {
	i := r.q.next()
	n := rapid.IntRange(1, r.q.at(i).len()).Draw(t, "part")
	r.batch++
	for _, w := range r.modelOf(i)[:n] {
		w.waits, w.passed, w.batch = false, true, r.batch
	}
	r.q.moveTo(&r.u, n, r.batch)
}

// stop lets the next entry wait again, if it was sent on an earlier connection.
func (r *queueRun) stop() {
	i := r.q.next()
	if i == 0 || r.q.at(i).state == queued {
		return
	}
	r.q.stop(r.q.at(i))
	for _, w := range r.modelOf(i) {
		w.waits = true
	}
}

// expire ends the entries whose deadline has passed at some time.
func (r *queueRun) expire(t *rapid.T) {
	now := time.Duration(rapid.IntRange(0, 5).Draw(t, "now"))
	r.q.expired(now, func(i int32) {
		if e := r.q.at(i); e.until > now {
			t.Fatalf("at %v, an entry expires that has the deadline %v", now, e.until)
		}
		r.endSlot(i)
	})
	for _, w := range r.model {
		if w.waits && w.until != 0 && w.until <= now {
			t.Fatalf("at %v, publication %d with the deadline %v still waits", now, w.seq, w.until)
		}
	}
}

// end removes some entry of the queue.
func (r *queueRun) end(t *rapid.T) {
	var slots []int32
	for i := range r.q.all {
		slots = append(slots, i)
	}
	if len(slots) == 0 {
		return
	}
	i := r.part(t, rapid.SampledFrom(slots).Draw(t, "slot"))
	r.endSlot(i)
}

// endSlot removes the entry in slot i.
func (r *queueRun) endSlot(i int32) {
	gone := r.modelOf(i)
	r.model = slices.DeleteFunc(r.model, func(w *waiting) bool { return slices.Contains(gone, w) })
	r.q.remove(i)
	r.q.release(i)
}

// lost puts the unwritten runs back and begins a connection.
func (r *queueRun) lost() {
	r.q.putBack(&r.u)
	r.q.rewind()
	for _, w := range r.model {
		w.passed, w.waits, w.batch = false, w.waits || w.batch != 0, 0
	}
}

func (r *queueRun) check(t *rapid.T) {
	var oldest, evictable, next uint64
	n, bytes, first := 0, 0, time.Duration(0)
	for _, w := range r.model {
		if next == 0 && !w.passed {
			next = w.seq
		}
		if !w.waits {
			continue
		}
		if n++; oldest == 0 {
			oldest = w.seq
		}
		if evictable == 0 && !w.sent {
			evictable = w.seq
		}
		if bytes += w.cost; w.until != 0 && (first == 0 || w.until < first) {
			first = w.until
		}
	}
	seqAt := func(i int32) uint64 {
		if i == 0 {
			return 0
		}
		return r.q.entries[i].seq
	}
	if r.q.waiting() != n || r.q.waitingBytes() != int64(bytes) || r.u.messages != len(r.model)-r.listed() {
		t.Fatalf("%d of %d bytes wait, want %d of %d; %d are unwritten", r.q.waiting(), r.q.waitingBytes(), n, bytes, r.u.messages)
	}
	if at := r.q.expiresAt(); (at == 0) != (first == 0) || at > first {
		t.Fatalf("the first deadline is %v, and Expire is due at %v", first, at)
	}
	if got := seqAt(r.q.oldest()); got != oldest {
		t.Fatalf("the oldest that waits is %d, want %d", got, oldest)
	}
	if got := seqAt(r.q.evictable()); got != evictable {
		t.Fatalf("the first that may give way is %d, want %d", got, evictable)
	}
	if got := seqAt(r.q.next()); got != next {
		t.Fatalf("the cursor is at %d, want %d", got, next)
	}
}

// listed counts the messages in the queue.
func (r *queueRun) listed() (n int) {
	for _, e := range r.q.all {
		n += e.len()
	}
	return n
}

func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := new(queueRun)
		r.q.setLimit(QueueLimit{Messages: 9, Bytes: 1000})
		t.Repeat(map[string]func(*rapid.T){
			"": r.check, "add": r.add, "send": r.send, "end": r.end, "lost": func(*rapid.T) { r.lost() },
			"stop": func(*rapid.T) { r.stop() }, "expire": r.expire,
		})
	})
}

func TestAHandleIsInvalidAfterASplitAndAfterTheEnd(t *testing.T) {
	var q queue[string]
	i := q.alloc()
	q.at(i).seq, q.at(i).run = 5, make([]frames.Message, 3)
	q.push(i)
	found := func(h Handle) bool { return q.find(h) != nil }
	whole := Handle{i, 5}
	equal(t, "the run", found(whole), true)
	part := q.split(i, 2)
	equal(t, "the rest under the old handle", found(whole), false)
	equal(t, "the part", found(Handle{part, 5}), true)
	equal(t, "the rest", found(Handle{i, 7}), true)
	q.remove(part)
	q.release(part)
	equal(t, "the part after its end", found(Handle{part, 5}), false)
}
