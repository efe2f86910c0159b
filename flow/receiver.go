package flow

import "github.com/go-millrace/mqtt/frames"

// Receiver keeps the QoS 1 and 2 messages of one connection in order of arrival
// until they are settled, and the identifiers of QoS 2 messages for as long as
// the session lasts, so that a second copy is not delivered again.
//
// Each hand-over of a message has a number, which rises over all connections of
// the session. A message that goes to n consumers has n numbers in a row; the
// last one bears the ack, so the ack waits for all of them.
type Receiver struct {
	journal *Journal

	// A ring of hand-overs, indexed by number. Those from head to tail came on
	// this connection and their acks have not gone out.
	ring       []delivery
	head, tail uint64
	connStart  uint64 // the first number of this connection
	unacked    int    // messages among them, second copies included
	pending    int    // hand-overs that are waited for, parked ones included

	// QoS 2 identifiers between PUBLISH and PUBREL.
	ids table[inbound]

	// Hand-overs of earlier connections that are not settled, with their QoS 2
	// identifiers. Their message comes again and must not be delivered again.
	parked map[uint64]uint16
}

type delivery struct {
	id        uint16 // 0: the identifier has been released, no ack is owed
	qos       frames.QoS
	last      bool // of its message: it bears the ack
	acked     bool
	duplicate bool // a second copy: nobody was handed it
}

type inbound struct {
	pending    int    // hand-overs that are not settled, of this connection or parked
	queuedAcks int    // acks in the ring
	duplicate  uint64 // the second copy on this connection, whose PUBREC waits for them; 0: none
	stored     bool   // the journal has it
	doubt      bool   // of an earlier connection, and nobody knows whether the broker has it too
}

// MaxUnacked is how many messages may be without an ack: as many as there are
// packet identifiers. A broker that sends more breaks the standard, or resends
// without end.
const MaxUnacked = 65_535

// NewReceiver returns an empty receiver; journal may be nil.
func NewReceiver(journal *Journal) *Receiver {
	return &Receiver{journal: journal, head: 1, tail: 1, connStart: 1}
}

// Restore takes a QoS 2 identifier out of a store.
func (r *Receiver) Restore(id uint16) {
	if id != 0 && r.ids.find(id) == nil {
		r.ids.force(id, inbound{stored: true})
	}
}

// Arrive takes a QoS 1 or 2 PUBLISH that n consumers want, n > 0. It returns
// the number of the first hand-over; false when the message has been delivered
// before and only its ack is due.
//
// At QoS 1 the same identifier is a new message whatever DUP says
// [MQTT-4.3.2-2]; at QoS 2 it is the same message until PUBREL, whatever DUP
// says [MQTT-4.3.3-2] [MQTT-3.3.1-3], unless Doubt has been cast on it.
func (r *Receiver) Arrive(qos frames.QoS, id uint16, dup bool, n int) (first uint64, isNew bool) {
	if qos == frames.AtLeastOnce {
		r.pending += n
		return r.push(delivery{id: id, qos: qos}, n), true
	}
	in := r.ids.find(id)
	if in != nil && in.doubt && !dup {
		r.Release(id) // a broker that still had the message would have set DUP
		in = nil
	}
	if in == nil {
		r.ids.force(id, inbound{pending: n, queuedAcks: 1})
		r.pending += n
		return r.push(delivery{id: id, qos: qos}, n), true
	}
	in.queuedAcks++
	// A third copy comes behind the second, so it need not wait by itself.
	wait := in.pending > 0 && in.duplicate == 0
	seq := r.push(delivery{id: id, qos: qos, duplicate: true, acked: !wait}, 1)
	if wait {
		in.duplicate = seq
	}
	return 0, false
}

// push appends n hand-overs, the last of which bears the ack.
func (r *Receiver) push(d delivery, n int) (first uint64) {
	first = r.tail
	r.unacked++
	for int(r.tail-r.head)+n > len(r.ring) {
		r.grow()
	}
	for i := range n {
		d.last = i == n-1
		*r.at(r.tail) = d
		r.tail++
	}
	return first
}

func (r *Receiver) at(seq uint64) *delivery { return &r.ring[seq&uint64(len(r.ring)-1)] }

func (r *Receiver) grow() {
	old, mask := r.ring, uint64(len(r.ring)-1)
	r.ring = make([]delivery, max(16, 2*len(old)))
	for seq := r.head; seq != r.tail; seq++ {
		*r.at(seq) = old[seq&mask]
	}
}

// Ack takes note that the consumer is done with hand-over seq. It may come
// in any order, twice, or after the connection is gone.
func (r *Receiver) Ack(seq uint64) {
	id, qos2 := uint16(0), true
	switch {
	case !r.Pending(seq):
		return
	case seq >= r.connStart:
		d := r.at(seq)
		d.acked = true
		id, qos2 = d.id, d.qos == frames.ExactlyOnce
	default:
		id = r.parked[seq]
		delete(r.parked, seq)
	}
	r.pending--
	if in := r.ids.find(id); in != nil && qos2 {
		if in.pending--; in.pending == 0 {
			r.allAcked(id, in)
		}
	}
}

// Pending reports whether hand-over seq is waited for.
func (r *Receiver) Pending(seq uint64) bool {
	if seq < r.connStart {
		_, ok := r.parked[seq]
		return ok
	}
	return seq >= r.head && seq < r.tail && !r.at(seq).acked && !r.at(seq).duplicate
}

// done records a QoS 2 message whose consumers have all settled it: not before,
// so that a process that dies in between is given the message again, and ahead
// of its PUBREC. The PUBREC of a second copy that waited is due.
func (r *Receiver) allAcked(id uint16, in *inbound) {
	if !in.stored {
		in.stored = true
		r.journal.record(Change{Kind: Received, ID: id})
	}
	if in.duplicate != 0 {
		r.at(in.duplicate).acked = true
	}
}

// Next returns the next ack that may leave, in order of arrival whatever the
// order of settling was [MQTT-4.6.0-2] [MQTT-4.6.0-3]; false when the message
// at the head is not settled.
func (r *Receiver) Next() (frames.Ack, bool) {
	for r.head != r.tail {
		d := r.at(r.head)
		if !d.acked {
			break
		}
		r.head++
		if !d.last {
			continue
		}
		r.unacked--
		if d.id == 0 {
			continue
		}
		if d.qos == frames.AtLeastOnce {
			return frames.Ack{Kind: frames.TypePuback, ID: d.id}, true
		}
		if in := r.ids.find(d.id); in != nil {
			in.queuedAcks--
		}
		return frames.Ack{Kind: frames.TypePubrec, ID: d.id}, true
	}
	return frames.Ack{}, false
}

// Release takes a PUBREL: the identifier is free for a new message. PUBCOMP is
// due for every PUBREL, for an unknown identifier too [MQTT-4.3.3-2].
func (r *Receiver) Release(id uint16) {
	in := r.ids.find(id)
	if in == nil {
		return
	}
	if in.stored {
		r.journal.record(Change{Kind: Forgotten, ID: id})
	} else {
		r.dropParked(id)
	}
	if in.queuedAcks > 0 { // they would name the next message of this identifier
		r.cancelAcks(id)
	}
	r.ids.remove(id)
}

// withhold takes the ack from hand-overs of id that wait for it.
func (r *Receiver) cancelAcks(id uint16) {
	for seq := r.head; seq != r.tail; seq++ {
		if d := r.at(seq); d.id == id && d.qos == frames.ExactlyOnce {
			d.id = 0
			d.acked = d.acked || d.duplicate // nobody settles a copy
		}
	}
}

// forget stops waiting for parked hand-overs of id.
func (r *Receiver) dropParked(id uint16) {
	for seq, parked := range r.parked {
		if parked == id {
			delete(r.parked, seq)
			r.pending--
		}
	}
}

// Lost takes note that the connection is gone. No ack of it goes out on the
// next one. With keep, the QoS 2 identifiers stay, and hand-overs that are not
// settled are waited for.
func (r *Receiver) Lost(keep bool) {
	if keep {
		r.park()
	} else {
		r.Clear()
	}
	r.head, r.connStart = r.tail, r.tail
	r.unacked, r.pending = 0, len(r.parked)
	r.Shrink()
}

// Shrink gives the memory of an idle receiver back.
func (r *Receiver) Shrink() {
	if r.head == r.tail && len(r.ring) > 64 {
		r.ring = nil
	}
	r.ids.shrink()
}

func (r *Receiver) park() {
	r.ids.each(func(_ uint16, in *inbound) { in.duplicate, in.queuedAcks = 0, 0 })
	for seq := r.head; seq != r.tail; seq++ {
		d := r.at(seq)
		if d.acked || d.duplicate || d.qos != frames.ExactlyOnce {
			continue
		}
		if r.ids.find(d.id) == nil {
			continue // released
		}
		if r.parked == nil {
			r.parked = make(map[uint64]uint16)
		}
		r.parked[seq] = d.id
	}
}

// Clear forgets every identifier: the session is gone at the broker's side, so
// the next message of an identifier is a new one. It comes before the first
// Arrive of a connection.
func (r *Receiver) Clear() {
	r.ids.each(func(id uint16, in *inbound) {
		if in.stored {
			r.journal.record(Change{Kind: Forgotten, ID: id})
		}
	})
	r.ids = table[inbound]{}
	r.pending -= len(r.parked)
	r.parked = nil
}

// Doubt takes note that a connection has begun on which the broker does not
// tell whether it has our session, as on 3.1. A broker that lost it gives the
// identifiers that we hold to new messages, and those are the ones without DUP:
// what is sent a second time has it set (MQTT 3.1, section 2.1).
func (r *Receiver) Doubt() {
	r.ids.each(func(_ uint16, in *inbound) { in.doubt = true })
}

// Unacked returns how many messages of this connection await their ack.
func (r *Receiver) Unacked() int { return r.unacked }

// Waiting returns how many hand-overs are not settled, those of earlier
// connections that are still waited for included.
func (r *Receiver) Waiting() int { return r.pending }

// Held returns how many QoS 2 identifiers are between PUBLISH and PUBREL.
func (r *Receiver) Held() int { return r.ids.used }
