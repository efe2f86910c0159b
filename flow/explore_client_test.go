package flow_test

import (
	"fmt"
	"slices"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// packet is a packet on the network. A message is its index in the plan.
type packet struct {
	kind frames.Type
	id   uint16
	msg  int
	dup  bool
	code frames.ReasonCode // of an ack
}

// waiting is a delivery in the inbox of the client, or with its consumer.
type waiting struct {
	seq uint64
	id  uint16
	msg int
}

// fate is the end of a publication in the life of one process.
type fate byte

const (
	open fate = iota
	confirmed
	unwritten   // QoS 0, and the connection was lost
	sessionLost // past PUBREC
	refused     // by the broker
)

// client is a process that uses flow as package stream does: it commits the changes of a batch,
// then writes the packets of the batch.
type client struct {
	sender   *flow.Sender[int]
	receiver *flow.Receiver
	ids      *flow.Identifiers
	journal  *flow.Journal
	store    *flow.MemoryStore // never changed in place, since states share it

	batch, handed uint64
	filling       []packet

	inbox []waiting // not handed over
	taken []waiting // handed over, and not acknowledged by the consumer
	ended []fate    // by publication
}

func newClient(window int, store *flow.MemoryStore, messages int) (c client, err error) {
	c = client{batch: 1, store: store.Clone(), ids: new(flow.Identifiers), journal: new(flow.Journal), ended: make([]fate, messages)}
	c.sender = flow.NewSender[int](window, c.ids, nil, c.journal)
	c.receiver = flow.NewReceiver(c.journal)
	_ = c.store.Detach()
	snap, err := c.store.Attach("c")
	for _, p := range snap.Publications {
		if !c.sender.Restore(p, int(p.Message.Payload[0]), 0) {
			err = fmt.Errorf("publication %+v was not restored", p)
		}
	}
	for _, id := range snap.Received {
		c.receiver.Restore(id)
	}
	return c, err
}

func (c *client) clone() client {
	d := *c
	d.ids, d.journal = c.ids.Clone(), c.journal.Clone()
	d.sender, d.receiver = c.sender.Clone(d.ids, d.journal), c.receiver.Clone(d.journal)
	d.filling, d.inbox, d.taken = slices.Clone(c.filling), slices.Clone(c.inbox), slices.Clone(c.taken)
	d.ended = slices.Clone(c.ended)
	return d
}

// turn puts every packet that is due into the batch: acks, then publications.
func (c *client) turn() {
	for a, ok := c.receiver.Next(); ok; a, ok = c.receiver.Next() {
		c.filling = append(c.filling, packet{kind: a.Kind, id: a.ID, code: a.Code})
	}
	for out, ok := c.sender.Send(c.batch, 0); ok; out, ok = c.sender.Send(c.batch, 0) {
		p := packet{kind: out.Type, id: out.Publish.ID, dup: out.Publish.DUP}
		if p.kind == frames.TypePublish {
			p.msg = int(out.Publish.Payload[0])
		}
		c.filling = append(c.filling, p)
	}
}

// flush commits and returns the packets to write.
func (c *client) flush() (packets []packet) {
	if c.journal.Len() > 0 {
		c.store = c.store.Clone()
		_ = c.store.Commit(c.journal.MoveTo(nil))
	}
	packets, c.filling = c.filling, nil
	if len(packets) > 0 {
		c.handed = c.batch
	}
	c.batch++
	return packets
}

// arrive handles a PUBLISH of QoS 1 or 2, and reports whether it is a new message.
func (c *client) arrive(qos frames.QoS, p packet) (isNew bool) {
	var was flow.Numbers
	if qos == frames.AtLeastOnce && p.dup {
		was = c.receiver.Repeated(p.id)
	}
	seq, isNew := c.receiver.Arrive(qos, p.id, p.dup, 1)
	if !isNew {
		return false
	}
	for i := range c.inbox {
		if w := &c.inbox[i]; w.seq >= was.From && w.seq < was.To && w.msg == p.msg {
			w.seq = seq
			return true
		}
	}
	c.inbox = append(c.inbox, waiting{seq: seq, id: p.id, msg: p.msg})
	return true
}

func (c *client) appendState(b []byte) []byte {
	b = c.sender.AppendState(b, c.handed)
	b = c.receiver.AppendState(b)
	b = c.store.AppendState(b)
	b = appendPackets(b, c.filling)
	for _, list := range [][]waiting{c.inbox, c.taken} {
		for _, w := range list {
			b = append(b, byte(c.receiver.NextNumber()-w.seq), byte(w.id), byte(w.msg))
		}
		b = append(b, 0xFF)
	}
	for _, f := range c.ended {
		b = append(b, byte(f))
	}
	return b
}

func appendPackets(b []byte, packets []packet) []byte {
	for _, p := range packets {
		dup := byte(0)
		if p.dup {
			dup = 1
		}
		b = append(b, byte(p.kind), byte(p.id), byte(p.msg), dup, byte(p.code))
	}
	return append(b, 0xFF)
}
