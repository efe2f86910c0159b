package flow

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Single is a packet of Outgoing, as tests keep it.
type Single struct {
	Type    frames.Type
	Publish frames.Publish
	Until   time.Duration
}

// Single returns packet k of an Outgoing.
func (o *Outgoing) Single(k int) Single {
	one := Single{Type: o.Type, Publish: frames.Publish{ID: o.ID, DUP: o.DUP}, Until: o.Until}
	if o.Type == frames.TypePublish {
		one.Publish.Message = o.Messages[k]
	}
	return one
}

// Send transmits the next packet alone.
func (s *Sender[T]) Send(batch uint64, now time.Duration) (Single, bool) {
	out, ok := s.Next()
	if !ok {
		return Single{}, false
	}
	one := out.Single(0)
	s.Transmitted(1, batch, now)
	return one, true
}

// The functions here let the exploration copy and compare states.

func (x *Identifiers) Clone() *Identifiers {
	c := *x
	c.table.slots = slices.Clone(x.table.slots)
	return &c
}

func (j *Journal) Clone() *Journal {
	c := *j
	c.changes = slices.Clone(j.changes)
	return &c
}

func (s *MemoryStore) Clone() *MemoryStore {
	return &MemoryStore{
		attached: s.attached, owner: s.owner,
		publications: maps.Clone(s.publications), received: maps.Clone(s.received),
	}
}

func (s *Sender[T]) Clone(ids *Identifiers, j *Journal) *Sender[T] {
	c := *s
	c.window.ids, c.journal = ids, j
	slab := &c.queue.slab
	slab.entries, slab.links, slab.free = slices.Clone(slab.entries), slices.Clone(slab.links), slices.Clone(slab.free)
	return &c
}

func (r *Receiver) Clone(j *Journal) *Receiver {
	c := *r
	c.journal = j
	c.ring, c.ids.slots = slices.Clone(r.ring), slices.Clone(r.ids.slots)
	c.parked, c.earlier = maps.Clone(r.parked), maps.Clone(r.earlier)
	c.open, c.reasons = maps.Clone(r.open), maps.Clone(r.reasons)
	return &c
}

// AppendState appends the state of a sender, its identifiers and its journal to b. Two states whose
// encodings are equal behave alike.
func (s *Sender[T]) AppendState(b []byte, handed uint64) []byte {
	b = append(b, byte(s.window.ids.last), byte(s.window.outstanding), byte(s.window.inFlight), byte(s.Queued()), byte(s.seq))
	for _, head := range []int32{s.queue.first(), s.unwritten.first()} {
		for i := head; i != 0; i = s.queue.links[i].Next {
			e := s.queue.at(i)
			batch := byte(0)
			switch {
			case e.batch > handed:
				batch = 2
			case e.batch > 0:
				batch = 1
			}
			b = append(b, byte(e.seq), byte(e.id), byte(e.state), bit(e.sent == sentNow)|bit(e.resumed)<<1|bit(e.lowered)<<2, batch,
				bit(i == s.queue.next()), byte(e.code), byte(e.first().QoS), bit(e.until != 0))
		}
		b = append(b, 0xFF)
	}
	for _, c := range s.journal.changes {
		b = append(b, byte(c.Kind), byte(c.ID), byte(c.Seq))
	}
	return append(b, 0xFF)
}

// AppendState appends the state of a receiver to b, with numbers relative to the next one.
func (r *Receiver) AppendState(b []byte) []byte {
	for seq := r.head; seq != r.tail; seq++ {
		d := r.at(seq)
		b = append(b, byte(d.id), byte(d.qos), bit(d.last)|bit(d.acked)<<1|bit(d.duplicate)<<2, byte(d.code), byte(d.counted))
	}
	b = append(b, 0xFF, byte(r.tail-r.connStart), byte(r.unacked), byte(r.pending),
		byte(r.limit), bit(r.resumed), byte(r.used), byte(r.extra), byte(r.message.code))
	for id := range uint16(8) {
		if in := r.ids.find(id); in != nil {
			duplicate := byte(0)
			if in.duplicate != 0 {
				duplicate = byte(r.tail - in.duplicate)
			}
			b = append(b, byte(id), byte(in.pending), byte(in.queuedAcks), duplicate, bit(in.stored)|bit(in.doubt)<<1, byte(in.code), byte(in.counted))
		}
	}
	b = append(b, 0xFF)
	for _, seq := range slices.Sorted(maps.Keys(r.parked)) {
		b = append(b, byte(r.tail-seq), byte(r.parked[seq]))
	}
	b = append(b, 0xFF)
	for _, id := range slices.Sorted(maps.Keys(r.earlier)) {
		n := r.earlier[id]
		b = append(b, byte(id), byte(r.tail-n.From), byte(r.tail-n.To))
	}
	return append(b, 0xFF)
}

// AppendState appends the content of a store to b.
func (s *MemoryStore) AppendState(b []byte) []byte {
	for _, seq := range slices.Sorted(maps.Keys(s.publications)) {
		p := s.publications[seq]
		b = append(b, byte(seq), byte(p.ID), bit(p.Released))
	}
	b = append(b, 0xFF)
	for _, id := range slices.Sorted(maps.Keys(s.received)) {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, 0xFF)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// NextNumber returns the number of the next delivery.
func (r *Receiver) NextNumber() uint64 { return r.tail }
