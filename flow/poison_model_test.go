package flow

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
)

// poisonRun is a client with a Sender and a Poison, and a broker that handles packets in order and
// closes the connection at some publications. The acks before a close may be lost with it.
type poisonRun struct {
	*rapid.T
	s     *Sender[int]
	p     *Poison
	bad   []bool // by owner: the broker closes at its PUBLISH
	ended []bool
	given map[uint16]bool // identifiers of publications that were given up
}

func (r *poisonRun) end(owner int, poison bool) {
	if r.ended[owner] || r.bad[owner] != poison {
		r.Fatalf("publication %d ended, given up: %v, poison: %v", owner, poison, r.bad[owner])
	}
	r.ended[owner] = true
}

// next returns the packets that the client sends now.
func (r *poisonRun) next() (packets []Single) {
	seq, alone := r.p.Alone()
	if alone && r.s.Oldest() != seq {
		r.Fatalf("%d is suspected, and %d is the oldest", seq, r.s.Oldest())
	}
	for !alone || !r.p.WasSent() {
		o, ok := r.s.Send(1, 0)
		if !ok {
			break
		}
		packets = append(packets, o)
		if alone {
			r.p.Sent()
		}
	}
	return packets
}

// answer returns the acks of the broker, and whether it closes.
func (r *poisonRun) answer(packets []Single) (acks []frames.Ack, closed bool) {
	for _, o := range packets {
		id := o.Publish.ID
		switch {
		case o.Type == frames.TypePubrel:
			acks = append(acks, frames.Ack{Kind: pubcomp, ID: id})
		case r.given[id]:
			r.Fatalf("identifier %d is used again", id)
		case r.bad[o.Publish.Payload[0]]:
			return acks, true
		case o.Publish.QoS == frames.AtLeastOnce:
			acks = append(acks, frames.Ack{Kind: puback, ID: id})
		default:
			acks = append(acks, frames.Ack{Kind: pubrec, ID: id}, frames.Ack{Kind: pubcomp, ID: id})
		}
	}
	return acks, false
}

func (r *poisonRun) receive(acks []frames.Ack) {
	for _, a := range acks {
		r.p.Acked()
		if e, outcome := r.s.Acknowledge(a.Kind, a.ID, 0, 1, 0); outcome == Confirmed {
			r.end(e.Owner, false)
		}
	}
}

// connect runs one connection, until the broker or the network ends it or nothing is left.
func (r *poisonRun) connect() {
	r.p.Connected(0)
	for r.s.Len() > 0 {
		packets := r.next()
		acks, closed := r.answer(packets)
		network := rapid.IntRange(0, 9).Draw(r.T, "network") == 0
		if closed || network {
			acks = acks[:rapid.IntRange(0, len(acks)).Draw(r.T, "acks")]
		}
		r.receive(acks)
		switch {
		case closed && !network:
			r.p.Closed(r.s.Suspect(1))
		case !network:
			continue
		}
		r.s.Lost(1, true, func(e Ended[int]) { r.Fatalf("%d ended with the connection", e.Owner) })
		if seq, _, due := r.p.Due(); due {
			if e, ok := r.s.GiveUp(seq); ok {
				r.end(e.Owner, true)
				r.given[e.ID] = true
				r.p.Forget()
			}
		}
		return
	}
}

// Exactly the publications at which the broker closes are given up, and all others arrive.
func TestPoisonModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "publications")
		r := &poisonRun{
			T: t, p: NewPoison(rapid.IntRange(2, 4).Draw(t, "limit")),
			s:   NewSender[int](rapid.IntRange(1, 5).Draw(t, "window"), new(Identifiers), nil, nil),
			bad: make([]bool, n), ended: make([]bool, n), given: make(map[uint16]bool),
		}
		for i := range n {
			r.bad[i] = rapid.IntRange(0, 3).Draw(t, "bad") == 0
			qos := frames.QoS(rapid.IntRange(1, 2).Draw(t, "QoS"))
			r.s.Add(frames.Message{Topic: "t", QoS: qos, Payload: []byte{byte(i)}}, i, 0, Expiry{})
		}
		for range 2000 {
			r.connect()
		}
		if i := slices.Index(r.ended, false); i >= 0 {
			t.Fatalf("publication %d has not ended, poison: %v", i, r.bad[i])
		}
	})
}
