package flow

import "github.com/go-millrace/mqtt/frames"

// Receiver keeps the QoS 1 and 2 messages of one connection in order of arrival until their
// consumers acknowledge them. It keeps the identifiers of QoS 2 messages beyond the connection,
// until PUBREL or the end of the session, so that a duplicate is not delivered again.
//
// Each delivery of a message to a consumer has a number, and the numbers rise over all connections
// of the session. A message for n consumers takes n consecutive numbers. Its last delivery carries
// the ack, which is sent after all n deliveries are acknowledged.
type Receiver struct {
	journal *Journal

	// A ring of deliveries, indexed by number. Deliveries from head to tail arrived on this
	// connection and their acks have not been sent.
	ring       []delivery
	head, tail uint64
	connStart  uint64 // the first number of this connection
	unacked    int    // messages in the ring, duplicates included
	pending    int    // deliveries without an ack of their consumer, parked deliveries included

	// QoS 2 identifiers between PUBLISH and PUBREL.
	ids table[inbound]

	// parked maps the unacknowledged deliveries of earlier connections to their QoS 2 identifiers.
	// The broker sends their messages again, but a consumer must not get them twice.
	parked map[uint64]uint16

	// earlier holds the QoS 1 messages of earlier connections of the session by their identifiers.
	// Their acks were not sent, so the broker may send them again.
	earlier map[uint16]Numbers

	earlierOpen
	quota
	rejections
}

// Numbers are the numbers of the deliveries of one message: From to To-1.
type Numbers struct{ From, To uint64 }

type delivery struct {
	id      uint16 // 0: the identifier was released, so no ack is due
	qos     frames.QoS
	counted counted
	settled
}

// settled is its own struct because the compiler keeps a struct of at most four fields in
// registers, which takes a fifth off the time for a message.
type settled struct {
	last      bool // the last delivery of its message, which carries the ack
	acked     bool
	duplicate bool              // a duplicate, delivered to no consumer
	code      frames.ReasonCode // of the rejection, or Success
}

type inbound struct {
	pending    int    // unacknowledged deliveries, of this connection or parked
	queuedAcks int    // acks for the identifier in the ring
	duplicate  uint64 // the first duplicate on this connection, which waits for pending 0; 0: none
	stored     bool   // its Received change is in the journal or in the store
	doubt      bool   // it is of an earlier connection, and the broker may have lost it

	code    frames.ReasonCode // of the rejection, or Success
	counted counted
}

// MaxUnacked is the limit of unacknowledged messages: the number of packet identifiers. A broker
// that exceeds it violates the standard or retransmits without end.
const MaxUnacked = 65_535

// NewReceiver returns an empty receiver; journal may be nil.
func NewReceiver(journal *Journal) *Receiver {
	return &Receiver{journal: journal, head: 1, tail: 1, connStart: 1}
}

// Restore adds a QoS 2 identifier from a store.
func (r *Receiver) Restore(id uint16) {
	if id != 0 && r.ids.find(id) == nil {
		r.ids.force(id, inbound{stored: true})
	}
}

// Arrive adds a QoS 1 or 2 PUBLISH for n consumers, n > 0. It returns the number of the first
// delivery, or false when the message was delivered before and only its ack is due.
//
// At QoS 1 each PUBLISH is a new message, even if its identifier is in use and regardless of DUP
// [MQTT-4.3.2-2]; see Repeated. At QoS 2 a PUBLISH whose identifier is in use is a duplicate until
// PUBREL, regardless of DUP [MQTT-4.3.3-2] [MQTT-3.3.1-3], except after Doubt.
func (r *Receiver) Arrive(qos frames.QoS, id uint16, dup bool, n int) (first uint64, isNew bool) {
	if qos == frames.AtLeastOnce {
		r.pending += n
		if len(r.earlier) > 0 {
			delete(r.earlier, id)
		}
		return r.push(delivery{id: id, qos: qos, counted: r.count(dup)}, n), true
	}
	in := r.ids.find(id)
	if in != nil && in.doubt && !dup {
		r.Release(id) // a broker that still has the old message would set DUP
		in = nil
	}
	if in == nil {
		r.ids.force(id, inbound{pending: n, queuedAcks: 1, counted: r.count(dup)})
		r.pending += n
		return r.push(delivery{id: id, qos: qos}, n), true
	}
	in.queuedAcks++
	if in.counted == 0 {
		in.counted = r.count(dup)
	}
	// A second duplicate is behind the first in the ring, so it need not wait itself.
	wait := in.pending > 0 && in.duplicate == 0
	seq := r.push(delivery{id: id, qos: qos, settled: settled{duplicate: true, acked: !wait}}, 1)
	if wait {
		in.duplicate = seq
	}
	return 0, false
}

// Repeated returns the numbers of the QoS 1 message that had the identifier id on an earlier
// connection of the session and whose ack was not sent, or zero if there is none. Call it before
// Arrive for a PUBLISH with DUP. If that PUBLISH has the same content, it is a copy, and it takes
// the place of deliveries that were not handed over. With other content it is another message: a
// broker that was restored from an older state of the session may send messages again that were
// acknowledged since, under identifiers of messages that we hold.
func (r *Receiver) Repeated(id uint16) Numbers { return r.earlier[id] }

// push appends n deliveries of one message. The last delivery carries the ack.
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

// Ack records that the consumer acknowledged delivery seq. Deliveries may be acknowledged in any
// order, more than once, or after the connection is lost.
func (r *Receiver) Ack(seq uint64) { r.settle(seq, frames.Success) }

// settle records that the consumer acknowledged delivery seq, or rejected it with a code.
func (r *Receiver) settle(seq uint64, code frames.ReasonCode) {
	if len(r.open) > 0 {
		delete(r.open, seq)
	}
	id, qos2 := uint16(0), true
	switch {
	case !r.Pending(seq):
		return
	case seq >= r.connStart:
		d := r.at(seq)
		d.acked, d.code = true, code
		id, qos2 = d.id, d.qos == frames.ExactlyOnce
	default:
		id = r.parked[seq]
		delete(r.parked, seq)
	}
	r.pending--
	if in := r.ids.find(id); in != nil && qos2 {
		in.code = max(in.code, code)
		if in.pending--; in.pending == 0 {
			r.allAcked(id, in)
		}
	}
}

// Pending reports whether delivery seq is still unacknowledged by its consumer.
func (r *Receiver) Pending(seq uint64) bool {
	if seq < r.connStart {
		_, ok := r.parked[seq]
		return ok
	}
	return seq >= r.head && seq < r.tail && !r.at(seq).acked && !r.at(seq).duplicate
}

// allAcked writes a QoS 2 message to the journal when all its consumers have acknowledged it. An
// earlier record would be wrong: if the process dies before the last acknowledgment, the broker
// must send the message again. The record precedes PUBREC. If a duplicate waits, its PUBREC becomes
// due. A rejected message is not recorded, since its identifier is free after PUBREC.
func (r *Receiver) allAcked(id uint16, in *inbound) {
	if !in.stored && in.code == frames.Success {
		in.stored = true
		r.journal.progress(Received, 0, id)
	}
	if in.duplicate != 0 {
		r.at(in.duplicate).acked = true
	}
}

// Next returns the next ack to send, in order of arrival regardless of the order of Ack calls
// [MQTT-4.6.0-2] [MQTT-4.6.0-3]. It returns false when the oldest message is unacknowledged or no
// message is left. A message that one of its consumers rejected has the highest of their codes.
func (r *Receiver) Next() (frames.Ack, bool) {
	for r.head != r.tail {
		d := r.at(r.head)
		if !d.acked {
			break
		}
		if d.code != frames.Success {
			r.collect(d.code, r.head)
		}
		r.head++
		if !d.last {
			continue
		}
		r.unacked--
		var properties *frames.AckProperties
		code := frames.Success
		if r.message.code != frames.Success {
			code, properties = r.collected()
		}
		switch {
		case d.id == 0:
			continue
		case d.qos == frames.AtLeastOnce:
			r.uncount(d.counted)
			return frames.Ack{Kind: frames.TypePuback, ID: d.id, AckReason: frames.AckReason{Code: code, Properties: properties}}, true
		default:
			return frames.Ack{Kind: frames.TypePubrec, ID: d.id, AckReason: frames.AckReason{Code: r.received(d.id, code), Properties: properties}}, true
		}
	}
	return frames.Ack{}, false
}

// received returns the code of the next PUBREC for an identifier. After the last PUBREC with a code
// of 0x80 or above, the identifier is free [MQTT-4.3.3-9].
func (r *Receiver) received(id uint16, code frames.ReasonCode) frames.ReasonCode {
	in := r.ids.find(id)
	if in == nil {
		return code
	}
	code = in.code
	if in.queuedAcks--; code != frames.Success && in.queuedAcks == 0 {
		r.uncount(in.counted)
		r.ids.remove(id)
	}
	return code
}

// Release handles a PUBREL and frees its identifier for a new message. PUBCOMP is due for every
// PUBREL, even for an unknown identifier [MQTT-4.3.3-2], for which Release returns false.
func (r *Receiver) Release(id uint16) (known bool) {
	in := r.ids.find(id)
	if in == nil {
		return false
	}
	r.uncount(in.counted)
	if in.stored {
		r.journal.progress(Forgotten, 0, id)
	} else {
		r.dropParked(id)
	}
	if in.queuedAcks > 0 { // they would acknowledge the next message with this identifier
		r.cancelAcks(id)
	}
	r.ids.remove(id)
	return true
}

// cancelAcks cancels pending acks for id.
func (r *Receiver) cancelAcks(id uint16) {
	for seq := r.head; seq != r.tail; seq++ {
		if d := r.at(seq); d.id == id && d.qos == frames.ExactlyOnce {
			d.id = 0
			d.acked = d.acked || d.duplicate // no consumer acknowledges a duplicate
		}
	}
}

// dropParked drops the parked deliveries of id.
func (r *Receiver) dropParked(id uint16) {
	for seq, parked := range r.parked {
		if parked == id {
			delete(r.parked, seq)
			r.pending--
		}
	}
}

// Shrink frees the memory of an idle receiver.
func (r *Receiver) Shrink() {
	if r.head == r.tail && len(r.ring) > 64 {
		r.ring = nil
	}
	r.ids.shrink()
	if len(r.earlier) == 0 {
		r.earlier = nil
	}
	r.earlierOpen.shrink()
}

// Waits returns the number of the oldest delivery whose ack was not sent, and the number of the
// next delivery to come. They are equal if no ack waits.
func (r *Receiver) Waits() (oldest, next uint64) { return r.head, r.tail }

// Unacked returns how many messages of this connection have no ack yet.
func (r *Receiver) Unacked() int { return r.unacked }

// Waiting returns how many deliveries are unacknowledged by their consumers, including parked
// deliveries of earlier connections.
func (r *Receiver) Waiting() int { return r.pending }

// Held returns how many QoS 2 identifiers are between PUBLISH and PUBREL.
func (r *Receiver) Held() int { return r.ids.used }
