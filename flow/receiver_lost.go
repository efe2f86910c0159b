package flow

import "github.com/go-millrace/mqtt/frames"

// This file resets a receiver when a connection or the session is lost.

// Lost resets per-connection state: no ack of the lost connection is sent on the next one. If keep
// is set, the QoS 2 identifiers stay, and the unacknowledged deliveries of their messages stay
// pending. At QoS 1 the caller goes on to hand over its waiting messages, since the broker may not
// send them again.
func (r *Receiver) Lost(keep bool) {
	r.keepOpen()
	if keep {
		r.park()
	} else {
		r.Clear()
	}
	r.head, r.connStart = r.tail, r.tail
	r.unacked, r.pending = 0, len(r.parked)
	r.quota, r.rejections = quota{surplus: r.surplus}, rejections{}
	r.Shrink()
}

func (r *Receiver) park() {
	r.ids.each(func(_ uint16, in *inbound) { in.duplicate, in.queuedAcks, in.counted = 0, 0, 0 })
	from := r.head // of the message of delivery seq
	for seq := r.head; seq != r.tail; seq++ {
		d := r.at(seq)
		if d.qos == frames.AtLeastOnce && d.last {
			r.parkQoS1(d.id, Numbers{from, seq + 1})
		}
		if d.last {
			from = seq + 1
		}
		if d.acked || d.duplicate || d.qos != frames.ExactlyOnce {
			continue
		}
		if r.ids.find(d.id) == nil {
			continue // PUBREL has released the identifier
		}
		if r.parked == nil {
			r.parked = make(map[uint64]uint16)
		}
		r.parked[seq] = d.id
	}
}

func (r *Receiver) parkQoS1(id uint16, n Numbers) {
	if r.earlier == nil {
		r.earlier = make(map[uint16]Numbers)
	}
	r.earlier[id] = n
}

// Clear removes every identifier: the broker has lost the session, so the next message with any
// identifier is a new one. Call it before the first Arrive of a connection.
func (r *Receiver) Clear() {
	r.ids.each(func(id uint16, in *inbound) {
		if in.stored {
			r.journal.progress(Forgotten, 0, id)
		}
	})
	r.ids = table[inbound]{}
	r.pending -= len(r.parked)
	r.parked, r.earlier = nil, nil
}

// Doubt marks all identifiers as uncertain, for a new connection on which the broker does not say
// whether it has the session, as in MQTT 3.1. A broker that has lost the session may give a new
// message an identifier that the Receiver still holds. The new message has no DUP flag, while every
// retransmission has it (MQTT 3.1, section 2.1).
func (r *Receiver) Doubt() {
	r.ids.each(func(_ uint16, in *inbound) { in.doubt = true })
}
