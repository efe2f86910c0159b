package streamtest

import (
	"bytes"
	"fmt"

	"github.com/go-millrace/mqtt/frames"
)

// handle answers one packet. The result bye is true for a DISCONNECT.
func (p *peer) handle(f frames.Frame) (bye bool, err error) {
	t := f.Type()
	if (p.version == 0) != (t == frames.TypeConnect) {
		return false, fmt.Errorf("%v out of place", t) // [MQTT-3.1.0-1] [MQTT-3.1.0-2]
	}
	switch t {
	case frames.TypePublish:
		return false, p.publish(f)
	case frames.TypePuback, frames.TypePubrec, frames.TypePubrel, frames.TypePubcomp:
		return false, p.ack(f)
	}
	packet, err := frames.Parse(f, p.version)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch packet := packet.(type) {
	case frames.Connect:
		p.version = packet.Version
		return false, send(p, frames.Connack{})
	case frames.Subscribe:
		codes := make([]frames.ReasonCode, len(packet.Filters))
		for i, f := range packet.Filters {
			codes[i] = frames.ReasonCode(f.QoS)
			p.unsubscribe(f.Topic) // [MQTT-3.8.4-3] the new subscription replaces the old one
			p.subs = append(p.subs, f)
		}
		return false, send(p, frames.Suback{ID: packet.ID, Codes: codes})
	case frames.Unsubscribe:
		for _, topic := range packet.Topics {
			p.unsubscribe(topic)
		}
		return false, send(p, frames.Unsuback{ID: packet.ID})
	case frames.Pingreq:
		return false, send(p, frames.Pingresp{})
	case frames.Disconnect:
		return true, nil
	}
	return false, fmt.Errorf("%v from a client", t)
}

// publish acknowledges a message, and routes it unless it is a retransmission.
func (p *peer) publish(f frames.Frame) error {
	m, err := frames.ParsePublish(f, p.version, &p.topics, nil)
	if err != nil {
		return err
	}
	fresh := true
	if m.QoS == frames.ExactlyOnce {
		fresh = !p.hold(m.ID)
	}
	if fresh && p.r.Loopback {
		m := m.Message
		m.Retain = false // [MQTT-3.3.1-9] RETAIN is 0 for a client that was already subscribed
		for _, q := range p.r.clients() {
			q.route(m, true)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.QoS {
	case frames.AtLeastOnce:
		return send(p, frames.Ack{Kind: frames.TypePuback, ID: m.ID})
	case frames.ExactlyOnce:
		return send(p, frames.Ack{Kind: frames.TypePubrec, ID: m.ID})
	}
	return nil
}

// hold marks a QoS 2 identifier as received. It reports whether the identifier was already marked.
func (p *peer) hold(id uint16) bool {
	if p.held == nil {
		p.held = make([]uint64, 1<<16/64)
	}
	word, bit := &p.held[id/64], uint64(1)<<(id%64)
	was := *word&bit != 0
	*word |= bit
	return was
}

func (p *peer) release(id uint16) {
	if p.held != nil {
		p.held[id/64] &^= 1 << (id % 64)
	}
}

// ack handles the four acknowledgments, in both directions.
func (p *peer) ack(f frames.Frame) error {
	a, err := frames.ParseAck(f, p.version)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Kind == frames.TypePubrel {
		p.release(a.ID) // unknown identifiers get a PUBCOMP too: they may be from an earlier connection
		return send(p, frames.Ack{Kind: frames.TypePubcomp, ID: a.ID})
	}
	state := idFree
	if p.ids != nil {
		state = p.ids[a.ID]
	}
	switch {
	case a.Kind == frames.TypePuback && state == idPuback, a.Kind == frames.TypePubcomp && state == idPubcomp:
		p.ids[a.ID] = idFree
		p.inFlight--
		return p.next()
	case a.Kind == frames.TypePubrec && (state == idPubrec || state == idPubcomp):
		p.ids[a.ID] = idPubcomp
		return send(p, frames.Ack{Kind: frames.TypePubrel, ID: a.ID})
	}
	return fmt.Errorf("%v for identifier %d, which does not await one", a.Kind, a.ID)
}

// next sends the first message in the queue, since the window has room again.
func (p *peer) next() error {
	if len(p.queue) == 0 {
		return nil
	}
	m := p.queue[0]
	p.queue[0] = frames.Message{}
	if p.queue = p.queue[1:]; len(p.queue) == 0 {
		p.queue = nil
	}
	p.room.Broadcast()
	return p.deliver(m)
}

// route sends a message to this client if a subscription matches, or queues it while the window is
// full. The parameter borrowed reports whether the payload is in a read buffer; such a payload is
// copied before it is queued.
func (p *peer) route(m frames.Message, borrowed bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := false
	var granted frames.QoS
	for _, f := range p.subs {
		if f.Match(m.Topic) {
			wanted, granted = true, max(granted, f.QoS) // [MQTT-3.3.5-1] overlapping subscriptions: the highest QoS
		}
	}
	if !wanted || p.gone {
		return false
	}
	m.QoS = min(m.QoS, granted)
	if m.QoS > frames.AtMostOnce && (p.inFlight == p.window() || len(p.queue) > 0) {
		if borrowed {
			m.Payload = bytes.Clone(m.Payload)
		}
		p.queue = append(p.queue, m)
		return true
	}
	return p.deliver(m) == nil
}

// deliver sends a message. The window must have room for it.
func (p *peer) deliver(m frames.Message) error {
	packet := frames.Publish{Message: m}
	if m.QoS > frames.AtMostOnce {
		packet.ID = p.newID()
	}
	if err := send(p, packet); err != nil {
		return err
	}
	if m.QoS > frames.AtMostOnce {
		p.ids[packet.ID] = idPuback + byte(m.QoS-frames.AtLeastOnce)
		p.inFlight++
	}
	return nil
}

// newID cycles through the identifiers. The window is smaller than their number, so one is always
// free.
func (p *peer) newID() uint16 {
	if p.ids == nil {
		p.ids = make([]byte, 1<<16)
	}
	for {
		if p.lastID++; p.lastID != 0 && p.ids[p.lastID] == idFree {
			return p.lastID
		}
	}
}

func (p *peer) window() int {
	if p.r.Window > 0 {
		return min(p.r.Window, 1<<16-1)
	}
	return defaultWindow
}

func (p *peer) unsubscribe(topic string) {
	for i, f := range p.subs {
		if f.Topic == topic {
			p.subs = append(p.subs[:i], p.subs[i+1:]...)
			return
		}
	}
}
