package stream

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
)

// A lendModel is a reader and the consumers of two inboxes. Each payload repeats one byte. A buffer
// that is used again is first overwritten with zeros.
type lendModel struct {
	boxes  *inboxes
	box    [2]*inbox
	buffer []byte // its free part
	next   byte
	reused int

	kept []Delivery
	lent []lentChunk
}

type lentChunk struct {
	of *inbox
	chunk
}

const lendBuffer = 1000

func newLendModel() *lendModel {
	m := &lendModel{boxes: newInboxes(50_000, 25_000, newLife())}
	m.box = [2]*inbox{m.boxes.newInbox(), m.boxes.newInbox()}
	m.newBuffer(nil)
	return m
}

func (m *lendModel) newBuffer(*rapid.T) {
	m.buffer = m.boxes.spares.get(lendBuffer)
	if m.buffer == nil {
		m.buffer = make([]byte, lendBuffer)
	} else {
		clear(m.buffer)
		m.reused++
	}
	m.boxes.readInto(m.buffer)
}

// arrive adds a message to one inbox or to both.
func (m *lendModel) arrive(t *rapid.T) {
	n, to := rapid.IntRange(0, 300).Draw(t, "bytes"), rapid.IntRange(1, 3).Draw(t, "inboxes")
	if n > len(m.buffer) {
		m.newBuffer(t)
	}
	m.next = max(1, m.next+1)
	payload := m.buffer[:n:n]
	m.buffer = m.buffer[n:]
	for i := range payload {
		payload[i] = m.next
	}
	d := Delivery{Message: frames.Message{Topic: string([]byte{m.next}), Payload: payload, QoS: frames.QoS(rapid.IntRange(0, 1).Draw(t, "QoS"))}}
	m.boxes.lock()
	defer m.boxes.unlock()
	for i, box := range m.box {
		if to&(1<<i) != 0 {
			m.boxes.push(box, &d, to == 3)
		}
	}
}

// take takes a chunk, lent or to be kept.
func (m *lendModel) take(t *rapid.T) {
	box := m.box[rapid.IntRange(0, 1).Draw(t, "inbox")]
	if box.line.Head == 0 {
		return
	}
	c := chunk{messages: rapid.IntRange(1, 8).Draw(t, "max"), bytes: fullBatch, lends: rapid.IntRange(0, 4).Draw(t, "kept") > 0}
	box.takeInto(nil, &c)
	if c.lends {
		m.lent = append(m.lent, lentChunk{box, c})
		return
	}
	box.done(&c, len(c.deliveries))
	m.kept = append(m.kept, c.deliveries...)
}

// giveBack ends a loan. Rarely, the consumer keeps the messages, or has not used them.
func (m *lendModel) giveBack(t *rapid.T) {
	if len(m.lent) == 0 {
		return
	}
	k := rapid.IntRange(0, len(m.lent)-1).Draw(t, "loan")
	l := m.lent[k]
	m.lent = slices.Delete(m.lent, k, k+1)
	switch rapid.IntRange(0, 9).Draw(t, "end") {
	case 0:
		l.of.giveBack(&l.chunk, true)
		l.of.done(&l.chunk, len(l.deliveries))
		m.kept = append(m.kept, l.deliveries...)
	case 1:
		l.of.giveBack(&l.chunk, true)
		l.of.done(&l.chunk, 0)
	default:
		l.of.giveBack(&l.chunk, false)
		l.of.done(&l.chunk, len(l.deliveries))
	}
}

func (m *lendModel) compact(*rapid.T) {
	m.boxes.lock()
	defer m.boxes.unlock()
	m.boxes.compact()
}

func (m *lendModel) shrink(t *rapid.T) { m.boxes.shrink() }

// check reads every payload that somebody may still use.
func (m *lendModel) check(t *rapid.T) {
	look := func(where string, d *Delivery) {
		if rest := bytes.Trim(d.Payload, d.Topic); len(rest) > 0 {
			t.Fatalf("%s: the payload of message %q has %x", where, d.Topic, rest)
		}
	}
	for i := range m.boxes.slots {
		if s := &m.boxes.slots[i]; s.delivery.from != nil {
			look("waiting", &s.delivery)
		}
	}
	for i := range m.kept {
		look("kept", &m.kept[i])
	}
	for _, l := range m.lent {
		for i := range l.deliveries {
			look("lent", &l.deliveries[i])
		}
	}
}

func TestAReadBufferIsNotUsedAgainWhileAMessageInItIsInUse(t *testing.T) {
	for range 5 {
		reused := 0
		rapid.Check(t, func(t *rapid.T) {
			m := newLendModel()
			t.Repeat(map[string]func(*rapid.T){
				"arrive": m.arrive, "arrive too": m.arrive, "take": m.take, "take too": m.take, "giveBack": m.giveBack,
				"newBuffer": m.newBuffer, "compact": m.compact, "shrink": m.shrink, "": m.check,
			})
			reused += m.reused
		})
		if reused > 0 {
			return
		}
	}
	t.Error("no buffer was used again")
}

func TestAReadBufferIsUsedAgainWhenItsLastMessageIsGivenBack(t *testing.T) {
	m := newLendModel()
	push := func() {
		d := Delivery{Message: frames.Message{Topic: "a", Payload: m.buffer[:10]}}
		m.boxes.lock()
		m.boxes.push(m.box[0], &d, false)
		m.boxes.push(m.box[1], &d, false)
		m.boxes.unlock()
	}
	push() // the size of the first buffer is known, but not the buffer
	m.newBuffer(nil)
	push()
	var one, two chunk
	for i, c := range []*chunk{&one, &two} {
		c.messages, c.bytes, c.lends = 10, fullBatch, true
		m.box[i].takeInto(nil, c)
	}
	m.newBuffer(nil)
	for i, c := range []*chunk{&one, &two} {
		if m.boxes.spares.bytes != 0 {
			t.Fatal("the buffer is spare while a message in it is lent")
		}
		m.box[i].giveBack(c, false)
	}
	if m.boxes.spares.bytes != lendBuffer {
		t.Errorf("%d bytes are spare, want one buffer", m.boxes.spares.bytes)
	}
}
