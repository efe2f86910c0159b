package stream

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
)

// An inboxModel is the plain form of three inboxes: a slice each, in order of arrival. inboxes must
// agree with it after any steps.
type inboxModel struct {
	real    *inboxes
	boxes   []*inbox
	lines   [][]modelMessage
	age     []string // the names of waiting QoS 0 messages, oldest first
	dropped uint64
	next    int
	taken   [][][]Delivery // chunks that consumers took and did not put back, for each inbox
}

type modelMessage struct {
	name string
	qos  frames.QoS
	size int
}

const modelLimit = 2000 // bytes: about ten messages

func newInboxModel() *inboxModel {
	m := &inboxModel{real: newInboxes(modelLimit, modelLimit/2, newLife()), lines: make([][]modelMessage, 3), taken: make([][][]Delivery, 3)}
	m.boxes = []*inbox{m.real.unclaimed, m.real.newInbox(), m.real.newInbox()}
	return m
}

func (m *inboxModel) used() (u usage) {
	for _, line := range m.lines {
		for _, msg := range line {
			u.add(msg.qos, msg.size)
		}
	}
	return u
}

// evict drops the oldest QoS 0 messages until size more bytes fit.
func (m *inboxModel) evict(size int) {
	for m.used().qos0+size > modelLimit && len(m.age) > 0 {
		name := m.age[0]
		m.age = m.age[1:]
		m.dropped++
		for i := range m.lines {
			m.lines[i] = slices.DeleteFunc(m.lines[i], func(x modelMessage) bool { return x.name == name })
		}
	}
}

func (m *inboxModel) push(t *rapid.T) {
	i, qos := rapid.IntRange(0, 2).Draw(t, "inbox"), frames.QoS(rapid.IntRange(0, 2).Draw(t, "QoS"))
	m.next++
	name := fmt.Sprintf("m%d", m.next)
	d := Delivery{Message: frames.Message{Topic: name, QoS: qos, Payload: bytes.Repeat([]byte{byte(m.next)}, rapid.IntRange(0, 200).Draw(t, "bytes"))}}
	m.real.lock()
	m.real.push(m.boxes[i], &d, false)
	m.real.unlock()
	if qos == 0 {
		m.evict(cost(&d))
	}
	m.lines[i] = append(m.lines[i], modelMessage{name, qos, cost(&d)})
	if qos == 0 {
		m.age = append(m.age, name)
	}
}

// sort puts a line, and the QoS 0 messages, into the order of arrival.
func (m *inboxModel) sort(i int) {
	arrived := func(name string) (n int) {
		fmt.Sscanf(name, "m%d", &n)
		return n
	}
	slices.SortFunc(m.lines[i], func(a, b modelMessage) int { return arrived(a.name) - arrived(b.name) })
	slices.SortFunc(m.age, func(a, b string) int { return arrived(a) - arrived(b) })
}

// forget takes a message out of the list of QoS 0 messages.
func (m *inboxModel) forget(name string) {
	m.age = slices.DeleteFunc(m.age, func(x string) bool { return x == name })
}

// takeUsual takes a chunk of the usual size.
func takeUsual(b *inbox, cancel <-chan struct{}) []Delivery {
	var c chunk
	b.take(cancel, &c)
	return c.deliveries
}

func (m *inboxModel) take(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "inbox")
	if len(m.lines[i]) == 0 || len(m.taken[i]) > 2 {
		return
	}
	canceled := make(chan struct{})
	close(canceled)
	got := takeUsual(m.boxes[i], canceled)
	for k, d := range got {
		if want := m.lines[i][k].name; d.Topic != want {
			t.Fatalf("message %d of inbox %d is %s, want %s", k, i, d.Topic, want)
		}
		m.forget(d.Topic)
	}
	m.lines[i], m.taken[i] = m.lines[i][len(got):], append(m.taken[i], got)
}

// putBack returns some of the messages that were taken. The others count as handed over.
func (m *inboxModel) putBack(t *rapid.T) {
	i := rapid.IntRange(0, 2).Draw(t, "inbox")
	if len(m.taken[i]) == 0 {
		return
	}
	k := rapid.IntRange(0, len(m.taken[i])-1).Draw(t, "consumer")
	rest := m.taken[i][k]
	rest = rest[min(len(rest), rapid.IntRange(0, 5).Draw(t, "handed over")):]
	m.taken[i] = slices.Delete(m.taken[i], k, k+1)
	m.boxes[i].done(&chunk{deliveries: rest}, 0)
	var line []modelMessage
	var names []string
	for k := range rest {
		line = append(line, modelMessage{rest[k].Topic, rest[k].QoS, cost(&rest[k])})
		if rest[k].QoS == 0 {
			names = append(names, rest[k].Topic)
		}
	}
	m.lines[i], m.age = append(line, m.lines[i]...), append(names, m.age...)
	m.sort(i)
	m.evict(0)
}

func (m *inboxModel) move(t *rapid.T) {
	from, to := rapid.IntRange(0, 2).Draw(t, "from"), rapid.IntRange(0, 2).Draw(t, "to")
	if from == to {
		return
	}
	qos := frames.QoS(rapid.IntRange(0, 2).Draw(t, "QoS"))
	m.real.move(m.boxes[from], m.boxes[to], func(d *Delivery) bool { return d.QoS == qos })
	var stay []modelMessage
	for _, msg := range m.lines[from] {
		if msg.qos == qos {
			m.lines[to] = append(m.lines[to], msg)
			m.sort(to)
		} else {
			stay = append(stay, msg)
		}
	}
	m.lines[from] = stay
}

func (m *inboxModel) drop(t *rapid.T) {
	i, qos := rapid.IntRange(0, 2).Draw(t, "inbox"), frames.QoS(rapid.IntRange(0, 2).Draw(t, "QoS"))
	var got []string
	m.real.drop(m.boxes[i], func(s *slot) bool { return s.delivery.QoS == qos }, func(d *Delivery) { got = append(got, d.Topic) })
	var want []string
	m.lines[i] = slices.DeleteFunc(m.lines[i], func(x modelMessage) bool {
		if x.qos == qos {
			want = append(want, x.name)
			m.forget(x.name)
		}
		return x.qos == qos
	})
	if !slices.Equal(got, want) {
		t.Fatalf("dropped %v, want %v", got, want)
	}
}

// readInto begins a read buffer. The larger ones make the inboxes copy the waiting messages.
func (m *inboxModel) readInto(t *rapid.T) {
	m.real.readInto(make([]byte, rapid.IntRange(200, 100_000).Draw(t, "buffer")))
}

// checkBuffers compares the counts of the read buffers with the slots, and looks at the payloads.
func (m *inboxModel) checkBuffers(t *rapid.T) {
	r := m.real.buffers
	if r == nil {
		return
	}
	want := make([]readBuffer, len(r.all))
	live, charge := 0, 0
	for i := range m.real.slots {
		s := &m.real.slots[i]
		if s.delivery.from == nil {
			continue
		}
		n := 0
		fmt.Sscanf(s.delivery.Topic, "m%d", &n)
		if p := s.delivery.Payload; len(bytes.Trim(p, string([]byte{byte(n)}))) > 0 {
			t.Fatalf("message %d has the payload %x", n, p)
		}
		if s.buffer != 0 {
			want[s.buffer].messages++
			want[s.buffer].live += len(s.delivery.Payload)
			live += len(s.delivery.Payload)
		}
	}
	for i := range want {
		if got := r.all[i]; got.messages != want[i].messages || got.live != want[i].live {
			t.Fatalf("buffer %d counts %+v, want %+v", i, got, want[i])
		}
		want[i].size = r.all[i].size
		if want[i].messages > 0 {
			charge += want[i].size
		}
		if free := slices.Contains(r.free, int32(i)); free && (want[i].messages > 0 || r.current == int32(i)) {
			t.Fatalf("buffer %d is free and in use", i)
		}
	}
	if r.live != live || r.charge != charge {
		t.Fatalf("%d bytes in %d, want %d in %d", r.live, r.charge, live, charge)
	}
	if r.unused() > m.real.used.total()+sparseBytes {
		t.Fatalf("%d bytes are unused while %+v waits", r.unused(), m.real.used)
	}
}

func (m *inboxModel) shrink(*rapid.T) { m.real.shrink() }

// check compares every figure and every line.
func (m *inboxModel) check(t *rapid.T) {
	count := 0
	for i, line := range m.lines {
		var names []string
		var used usage
		m.real.walk(&m.boxes[i].line, func(s int32) { names = append(names, m.real.slots[s].delivery.Topic) })
		for k, msg := range line {
			used.add(msg.qos, msg.size)
			if k >= len(names) || names[k] != msg.name {
				t.Fatalf("inbox %d holds %v, want %v", i, names, line)
			}
		}
		if len(names) != len(line) || m.boxes[i].count != len(line) || m.boxes[i].used != used {
			t.Fatalf("inbox %d counts %d and %+v, want %d and %+v", i, m.boxes[i].count, m.boxes[i].used, len(line), used)
		}
		count += len(line)
	}
	if m.real.count != count || m.real.used != m.used() || m.real.dropped != m.dropped {
		t.Fatalf("counted %d, %+v, %d dropped, want %d, %+v, %d",
			m.real.count, m.real.used, m.real.dropped, count, m.used(), m.dropped)
	}
}

func TestInboxesAgreeWithPlainLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newInboxModel()
		t.Repeat(map[string]func(*rapid.T){
			"push": m.push, "take": m.take, "putBack": m.putBack, "move": m.move, "drop": m.drop,
			"shrink": m.shrink, "readInto": m.readInto, "": func(t *rapid.T) { m.check(t); m.checkBuffers(t) },
		})
	})
}

// The consumer that brings the inboxes down to a mark wakes the loop, once.
func TestTheLoopIsWokenOnceWhenThereIsRoom(t *testing.T) {
	for _, q := range []frames.QoS{frames.AtMostOnce, frames.AtLeastOnce} {
		l := newLife()
		b := newInboxes(1<<20, 1<<19, l)
		d := Delivery{Message: frames.Message{Topic: "t", QoS: q}}
		b.lock()
		for range 3 * chunkMessages {
			b.push(b.unclaimed, &d, false)
		}
		b.unlock()
		b.measure(func(used usage, _ uint64) usage {
			var want usage
			if want.add(q, 3*chunkMessages*cost(&d)); used != want {
				t.Errorf("%+v wait, want %+v", used, want)
			}
			mark := noUsage
			mark.add(q, 1+chunkMessages*cost(&d))
			return mark
		})
		for i, wakes := range []int{0, 1, 0} {
			takeUsual(b.unclaimed, nil)
			if got := len(l.wakeups); got != wakes {
				t.Errorf("%v: %d wake-ups after chunk %d", q, got, i+1)
			}
			if wakes > 0 {
				<-l.wakeups
			}
		}
	}
}

func TestWaitingConsumersGetNewMessages(t *testing.T) {
	b := newInboxes(1000, 500, newLife())
	got := make(chan []Delivery)
	for range 2 {
		go func() { got <- takeUsual(b.unclaimed, nil) }()
	}
	for _, name := range []string{"a", "b"} {
		b.lock()
		b.push(b.unclaimed, &Delivery{Message: frames.Message{Topic: name}}, false)
		b.unlock()
	}
	b.unclaimed.finish(nil) // a consumer that got nothing waits no longer
	if n := len(<-got) + len(<-got); n != 2 {
		t.Errorf("two consumers took %d messages of 2", n)
	}
	b.stopAll()
	if rest := takeUsual(b.unclaimed, nil); len(rest) != 0 {
		t.Errorf("%d messages after the end", len(rest))
	}
}

// U-T. One read brings more messages than a consumer takes at once, and wakes only one consumer,
// which wakes the next one.
func TestAConsumerThatTakesAPartWakesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInboxes(1<<20, 1<<19, newLife())
		got := make(chan int, 2)
		for range 2 {
			go func() { got <- len(takeUsual(b.unclaimed, nil)) }()
		}
		synctest.Wait()
		b.lock()
		for range chunkMessages + 1 {
			b.push(b.unclaimed, &Delivery{Message: frames.Message{Topic: "t"}}, false)
		}
		b.unlock()
		synctest.Wait()
		if len(got) != 2 || <-got+<-got != chunkMessages+1 {
			t.Error("a message is left while a consumer waits")
		}
		b.stopAll()
	})
}
