package stream

import (
	"encoding/binary"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// commitPatience is how old a commit becomes before packets overtake it. Most commits are shorter,
// and then all packets go out in one write.
const commitPatience = 100 * time.Millisecond

// overtake writes the packets that depend on no uncommitted change, if a commit takes long. It
// returns how many bytes it took from the batch being filled.
func (o *outbox) overtake(now time.Duration) (bytes int) {
	if o.early.busy || o.committing(now) < commitPatience {
		return 0
	}
	uncommitted := o.current.kinds | o.journal.Kinds()
	var early batch
	result := o.writer.gate.overtake(func() ([]byte, bool) {
		o.current.overtake(&early, uncommitted)
		before := len(early.bytes)
		o.ackingBytes -= o.filling.overtake(&early, uncommitted)
		bytes = len(early.bytes) - before
		return o.current.bytes, len(early.bytes) > 0
	})
	if result != nil {
		o.early = earlyWrite{busy: true, ping: early.ping}
		o.writer.writeEarly(o.conn, early.bytes, result)
	}
	return bytes
}

// An earlyWrite is a write of packets that overtake a commit.
type earlyWrite struct {
	busy bool // until its result was received
	ping bool // it has a PINGREQ
}

// overtakesAt returns the time from which packets overtake the commit under way, 0 if there is
// none.
func (o *outbox) overtakesAt() time.Duration {
	if !o.busy || len(o.current.changes) == 0 {
		return 0
	}
	return o.writer.gate.began + commitPatience
}

// overtake moves the packets that depend on none of the uncommitted changes to early. It returns
// how many of their bytes answer packets of the broker. Packets of one type keep their order, also
// across batches: when one of them waits, all later ones wait too until the commit ends.
func (b *batch) overtake(early *batch, uncommitted flow.ChangeKinds) (acks int32) {
	waiting, rest := b.bytes[:b.examined], b.bytes[b.examined:]
	for len(rest) > 0 {
		t, size := frames.Type(rest[0]>>4), packetSize(rest)
		if overtakes(t, uncommitted) {
			early.bytes = append(early.bytes, rest[:size]...)
			if t >= frames.TypePuback && t <= frames.TypePubcomp {
				acks += int32(size)
			}
		} else {
			waiting = append(waiting, rest[:size]...)
		}
		rest = rest[size:]
	}
	b.bytes, b.examined = waiting, len(waiting)
	early.ping, b.ping = early.ping || b.ping, false
	return acks
}

// overtakes reports whether packets of type t depend on none of the uncommitted changes. A packet
// is judged by its type and not by its identifier, so that packets of one type keep their order
// [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4].
func overtakes(t frames.Type, uncommitted flow.ChangeKinds) bool {
	switch t {
	case frames.TypePuback, frames.TypeSubscribe, frames.TypeUnsubscribe, frames.TypePingreq:
		return true
	case frames.TypePubrec:
		return !uncommitted.Has(flow.Received)
	case frames.TypePubrel:
		return !uncommitted.Has(flow.Released)
	case frames.TypePubcomp:
		return !uncommitted.Has(flow.Forgotten)
	}
	return false // PUBLISH keeps the order of acceptance, and DISCONNECT is the last packet
}

// packetSize returns the size of the first packet of a slice of whole packets.
func packetSize(bytes []byte) int {
	remaining, n := binary.Uvarint(bytes[1:]) // section 2.2.3 encodes the length in the same way
	return 1 + n + int(remaining)
}

// occupied reports whether bytes without changes are being written, so that a DISCONNECT can follow
// soon. A commit may take long.
func (o *outbox) occupied() bool {
	return o.early.busy || o.busy && len(o.current.changes) == 0
}
