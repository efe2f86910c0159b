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
	r.q.count(e, 1)
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
	if r.q.cursor == 0 {
		return
	}
	i := r.part(t, r.q.cursor)
	e := &r.q.entries[i]
	if r.q.cursor != i {
		t.Fatalf("the cursor is at slot %d after a split that returned %d", r.q.cursor, i)
	}
	if e.state == queued {
		r.q.count(e, -1)
	}
	for _, w := range r.modelOf(i) {
		w.waits, w.passed = false, true
	}
	if e.state == queued && rapid.Bool().Draw(t, "QoS 0") {
		r.batch++
		r.q.leave(i)
		r.u.push(&r.q.slab, i, r.batch)
		for _, w := range r.modelOf(i) {
			w.batch = r.batch
		}
		return
	}
	e.state = published
	r.q.cursor = r.q.links[i].Next
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
	if e := &r.q.entries[i]; e.state == queued {
		r.q.count(e, -1)
	}
	gone := r.modelOf(i)
	r.model = slices.DeleteFunc(r.model, func(w *waiting) bool { return slices.Contains(gone, w) })
	r.q.leave(i)
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
	if r.q.Queued() != n || r.q.QueuedBytes() != int64(bytes) || r.u.messages != len(r.model)-r.listed() {
		t.Fatalf("%d of %d bytes wait, want %d of %d; %d are unwritten", r.q.Queued(), r.q.QueuedBytes(), n, bytes, r.u.messages)
	}
	if at := r.q.ExpiresAt(); (at == 0) != (first == 0) || at > first {
		t.Fatalf("the first deadline is %v, and Expire is due at %v", first, at)
	}
	if got := seqAt(r.q.oldest()); got != oldest {
		t.Fatalf("the oldest that waits is %d, want %d", got, oldest)
	}
	if got := seqAt(r.q.evictable()); got != evictable {
		t.Fatalf("the first that may give way is %d, want %d", got, evictable)
	}
	if got := seqAt(r.q.cursor); got != next {
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
		r.q.Limit(QueueLimit{Messages: 9, Bytes: 1000})
		t.Repeat(map[string]func(*rapid.T){
			"": r.check, "add": r.add, "send": r.send, "end": r.end, "lost": func(*rapid.T) { r.lost() },
		})
	})
}

func TestAHandleIsInvalidAfterASplitAndAfterTheEnd(t *testing.T) {
	var q queue[string]
	i := q.alloc()
	q.entries[i].seq, q.entries[i].run = 5, make([]frames.Message, 3)
	q.push(i)
	q.count(&q.entries[i], 1)
	whole := Handle{i, 5}
	equal(t, "queued", q.IsQueued(whole), true)
	part := q.split(i, 2)
	equal(t, "the rest under the old handle", q.IsQueued(whole), false)
	equal(t, "the part", q.IsQueued(Handle{part, 5}), true)
	equal(t, "the rest", q.IsQueued(Handle{i, 7}), true)
	q.leave(part)
	q.release(part)
	equal(t, "the part after its end", q.IsQueued(Handle{part, 5}), false)
}
