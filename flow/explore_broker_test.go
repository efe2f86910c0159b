package flow_test

import (
	"fmt"
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// broker is a broker with at most one session, of the client. It passes a QoS 2 message on at
// PUBREL.
type broker struct {
	present  bool
	inbound  []packet // QoS 2 messages between PUBLISH and PUBREL
	inFlight []packet // messages to the client without PUBACK or PUBCOMP; kind PUBREL after PUBREC
	lastID   uint16
	sent     int      // messages to the client, of the plan
	owed     []packet // acks that the client owes on this connection, in order
	refused  []uint16 // identifiers of publications that were refused on this connection
}

func (b *broker) clone() broker {
	c := *b
	c.inbound, c.inFlight = slices.Clone(b.inbound), slices.Clone(b.inFlight)
	c.owed, c.refused = slices.Clone(b.owed), slices.Clone(b.refused)
	return c
}

// connect begins a connection, and returns session present and the packets that it sends again.
func (b *broker) connect(w *world) (present bool, again []packet) {
	present, b.present, b.owed, b.refused = b.present, true, nil, nil
	for _, p := range b.inFlight {
		p.dup = p.kind == frames.TypePublish
		again = append(again, p)
		b.owe(w, p)
	}
	return present, again
}

func (b *broker) owe(w *world, p packet) {
	if p.kind == frames.TypePublish {
		kind := frames.TypePuback
		if w.plan.in[p.msg] == frames.ExactlyOnce {
			kind = frames.TypePubrec
		}
		b.owed = append(b.owed, packet{kind: kind, id: p.id})
	}
}

// send sends the next message of the plan.
func (b *broker) send(w *world) packet {
	b.lastID++
	p := packet{kind: frames.TypePublish, id: b.lastID, msg: b.sent}
	b.sent++
	b.inFlight = append(b.inFlight, p)
	b.owe(w, p)
	return p
}

// lose loses the session.
func (b *broker) lose() { *b = broker{sent: b.sent} }

// receive handles a packet of the client and returns the answers. It reports each violation to w.
func (b *broker) receive(w *world, p packet) (answers []packet) {
	switch p.kind {
	case frames.TypePublish:
		return b.publish(w, p)
	case frames.TypePubrel:
		if slices.Contains(b.refused, p.id) {
			w.fail("PUBREL %d for a publication that was refused", p.id)
		}
		comp := packet{kind: frames.TypePubcomp, id: p.id}
		if i := slices.IndexFunc(b.inbound, func(q packet) bool { return q.id == p.id }); i >= 0 {
			w.passOn(b.inbound[i].msg)
			b.inbound = slices.Delete(b.inbound, i, i+1)
		} else if w.plan.v5 {
			comp.code = frames.PacketIdentifierNotFound
		}
		return []packet{comp}
	case frames.TypePuback, frames.TypePubrec:
		if len(b.owed) == 0 || b.owed[0] != (packet{kind: p.kind, id: p.id}) {
			w.fail("%v %d is out of order: the broker awaits %v", p.kind, p.id, b.owed)
			return nil
		}
		b.owed = b.owed[1:]
	}
	i := slices.IndexFunc(b.inFlight, func(q packet) bool { return q.id == p.id })
	if i < 0 {
		return nil
	}
	switch msg := b.inFlight[i].msg; {
	case p.kind == frames.TypePubcomp:
	case p.code == frames.Success && !w.acked[msg]:
		w.fail("%v %d for message %d, which no consumer has acknowledged", p.kind, p.id, msg)
	case p.code != frames.Success && !w.rejected[msg]:
		w.fail("%v refuses message %d, which no consumer has rejected", p, msg)
	}
	if p.kind == frames.TypePubrec && p.code == frames.Success {
		b.inFlight[i].kind = frames.TypePubrel
		return []packet{{kind: frames.TypePubrel, id: p.id, msg: b.inFlight[i].msg}}
	}
	b.inFlight = slices.Delete(b.inFlight, i, i+1)
	return nil
}

// refuse handles a PUBLISH of the client that the broker refuses.
func (b *broker) refuse(w *world, p packet) (answers []packet) {
	b.inOrder(w, p)
	w.refusals++
	w.refused[p.msg] = true
	b.refused = append(b.refused, p.id)
	kind := frames.TypePuback
	if w.plan.out[p.msg] == frames.ExactlyOnce {
		kind = frames.TypePubrec
	}
	return []packet{{kind: kind, id: p.id, code: frames.NotAuthorized}}
}

// mayRefuse reports whether the broker may refuse p: it has not taken the publication before.
func (b *broker) mayRefuse(w *world, p packet) bool {
	return p.kind == frames.TypePublish && w.plan.out[p.msg] > frames.AtMostOnce && w.refusals < w.plan.refusals &&
		!slices.ContainsFunc(b.inbound, func(q packet) bool { return q.id == p.id })
}

// inOrder checks that a PUBLISH does not overtake another.
func (b *broker) inOrder(w *world, p packet) {
	if p.msg > w.newest+1 && !slices.Contains(w.plan.out[w.newest+1:p.msg], frames.AtMostOnce) && !w.skipped(p.msg) {
		w.fail("publication %d arrives before publication %d", p.msg, w.newest+1)
	}
	w.newest = max(w.newest, p.msg)
}

func (b *broker) publish(w *world, p packet) (answers []packet) {
	b.inOrder(w, p)
	b.refused = slices.DeleteFunc(b.refused, func(id uint16) bool { return id == p.id })
	switch w.plan.out[p.msg] {
	case frames.AtMostOnce:
		w.passOn(p.msg)
		return nil
	case frames.AtLeastOnce:
		w.passOn(p.msg)
		return []packet{{kind: frames.TypePuback, id: p.id}}
	}
	if w.arrived[p.msg] > 0 {
		w.fail("PUBLISH of publication %d after its PUBREL", p.msg)
	}
	i := slices.IndexFunc(b.inbound, func(q packet) bool { return q.id == p.id })
	switch {
	case i < 0:
		b.inbound = append(b.inbound, packet{kind: p.kind, id: p.id, msg: p.msg})
	case b.inbound[i].msg != p.msg:
		w.fail("identifier %d of publication %d is used for publication %d", p.id, b.inbound[i].msg, p.msg)
	case !p.dup:
		w.fail("publication %d comes again without DUP", p.msg)
	}
	return []packet{{kind: frames.TypePubrec, id: p.id}}
}

func (b *broker) appendState(s []byte) []byte {
	s = append(s, byte(b.lastID), byte(b.sent))
	if b.present {
		s[len(s)-1] |= 0x80
	}
	for _, id := range b.refused {
		s = append(s, byte(id))
	}
	s = append(s, 0xFF)
	s = appendPackets(s, b.inbound)
	s = appendPackets(s, b.inFlight)
	return appendPackets(s, b.owed)
}

// String returns a packet as a trace shows it.
func (p packet) String() string {
	text := fmt.Sprintf("%v %d", p.kind, p.id)
	if p.kind == frames.TypePublish {
		text += fmt.Sprintf(" of message %d", p.msg)
	}
	if p.dup {
		text += " DUP"
	}
	if p.code != frames.Success {
		text += fmt.Sprintf(" %#02x", byte(p.code))
	}
	return text
}
