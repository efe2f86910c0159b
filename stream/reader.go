package stream

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-millrace/mqtt/frames"
)

// A packet is what the reader made of one frame. Which fields count depends on
// its type.
type packet struct {
	kind    frames.Type
	dup     bool
	id      uint16
	size    int
	message frames.Message
	codes   []frames.ReasonCode
}

// An event is what the reader tells the loop: a connection, what one read of it
// brought, or its end.
type event struct {
	link    *link
	packets []packet // owned by the loop until it takes the next event
	err     error    // of the attempt, or the end of the connection
}

// batchPackets bounds how much of one read goes to the loop at once.
const batchPackets = 512

// connect makes one connection and starts its reader: a goroutine of its own, on a
// stack that no dialing has made large. It waits for nothing but the network and
// the loop.
func (s *Session) connect(ctx context.Context) {
	l, err := s.dial(ctx)
	ok := s.tell(event{link: l, err: err})
	switch {
	case l == nil:
	case ok:
		s.core.Go(func() { s.tell(event{err: s.read(l)}) })
	default:
		l.hangUp()
	}
}

// tell passes an event to the loop; false when the session ends. Inlined, it would
// take room on the stack of a reader who waits for the network: with little on it,
// the runtime takes half of that stack back.
//
//go:noinline
func (s *Session) tell(e event) bool {
	select {
	case s.events <- e:
		return true
	case <-s.quit:
		return false
	}
}

// read decodes everything that a read returned and hands it over as one batch.
// Two batches take turns: the loop has done with one when it takes the other.
func (s *Session) read(l *link) error {
	var batch, other []packet
	for {
		var err error
		batch, err = s.decode(l.reader, batch[:0])
		last := len(batch) < batchPackets // there is no more in the buffer
		idle := len(batch) == 1 && batch[0].kind == frames.TypePingresp
		if len(batch) > 0 {
			if !s.tell(event{packets: batch}) {
				return context.Canceled
			}
			batch, other = other, batch
		}
		if err != nil {
			return err
		}
		if !last {
			continue
		}
		if idle {
			batch, other = nil, nil
			l.reader.Shrink()
		}
		if err := l.reader.Fill(); err != nil {
			return readError(err)
		}
	}
}

//go:noinline
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("mqtt: the broker closed the connection: %w", err)
	}
	return fmt.Errorf("mqtt: read: %w", err)
}

// decode takes complete frames out of the buffer, up to a batch.
func (s *Session) decode(r *frames.Reader, batch []packet) ([]packet, error) {
	payloads := false
	for len(batch) < batchPackets {
		f, ok, err := r.Next()
		if err != nil {
			return batch, fmt.Errorf("mqtt: %w", err) // the buffer is not read into again
		}
		if !ok {
			break
		}
		batch = append(batch, packet{kind: f.Type(), size: f.Size()})
		p := &batch[len(batch)-1] // parsed in place: packets are large
		if err := p.parse(f, s.options.Version, &s.topics); err != nil {
			return batch[:len(batch)-1], fmt.Errorf("mqtt: %w", err)
		}
		payloads = payloads || len(p.message.Payload) > 0
	}
	if payloads {
		r.Keep() // they lie in the buffer, and are the consumers' now
	}
	return batch, nil
}

// parse takes the packets that a broker may send; any other ends the connection
// [MQTT-4.8.0-1].
func (p *packet) parse(f frames.Frame, v frames.Version, topics *frames.Topics) error {
	switch p.kind {
	case frames.TypePublish:
		m, err := frames.ParsePublish(f, v, topics)
		p.message, p.dup, p.id = m.Message, m.DUP, m.ID
		return err
	case frames.TypePuback, frames.TypePubrec, frames.TypePubrel, frames.TypePubcomp, frames.TypeUnsuback:
		a, err := frames.ParseAck(f, v)
		p.id, p.dup = a.ID, a.DUP
		return err
	case frames.TypeSuback:
		a, err := frames.ParseSuback(f, v)
		p.id, p.codes = a.ID, a.Codes
		return err
	case frames.TypePingresp:
		return frames.ParseEmpty(f)
	case frames.TypeConnack:
		return &frames.ProtocolError{Type: p.kind, Reason: "a second time on one connection"}
	}
	return &frames.ProtocolError{Type: p.kind, Reason: "is not for a broker to send"}
}
