package streamtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// handle answers one packet. The result bye is true after the last packet, a DISCONNECT or a
// CONNECT that is refused.
func (p *peer) handle(f frames.Frame) (bye bool, err error) {
	t := f.Type()
	if (p.version == 0) != (t == frames.TypeConnect) {
		return false, fmt.Errorf("%v out of place", t) // [MQTT-3.1.0-1] [MQTT-3.1.0-2]
	}
	if err := p.limits.packet(f); err != nil {
		return false, err
	}
	switch t {
	case frames.TypeConnect:
		return p.connect(f)
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
	case frames.Subscribe:
		codes := make([]frames.ReasonCode, len(packet.Filters))
		for i, f := range packet.Filters {
			codes[i] = p.limits.filter(f, packet.Identifier)
			if f.QoS = frames.QoS(codes[i]); f.QoS <= frames.ExactlyOnce {
				p.subs.add(f, packet.Identifier)
			}
		}
		return false, send(p, frames.Suback{ID: packet.ID, Codes: codes})
	case frames.Unsubscribe:
		codes := make([]frames.ReasonCode, len(packet.Topics))
		for i, topic := range packet.Topics {
			if !p.subs.remove(topic) {
				codes[i] = frames.NoSubscriptionExisted
			}
		}
		return false, send(p, frames.Unsuback{ID: packet.ID, Codes: codes})
	case frames.Pingreq:
		return false, send(p, frames.Pingresp{})
	case frames.Disconnect:
		return true, nil
	}
	return false, fmt.Errorf("%v from a client", t)
}

// connect answers a CONNECT. A version that the Responder does not know gets the CONNACK of a
// broker that has never heard of it.
func (p *peer) connect(f frames.Frame) (bye bool, err error) {
	packet, err := frames.ParseConnect(f)
	if err != nil {
		return false, err
	}
	if known := p.r.Versions; len(known) > 0 && !slices.Contains(known, packet.Version) {
		p.mu.Lock()
		p.version = frames.V311
		err := send(p, frames.Connack{Code: frames.UnsupportedProtocolVersion}) // [MQTT-3.1.2-2]
		p.mu.Unlock()
		p.drain() // before the connection is closed
		return true, err
	}
	announced := p.r.Connack
	if packet.ClientID != "" {
		announced.AssignedClientID = ""
	} else { // [MQTT-3.2.2-16]
		announced.AssignedClientID = cmp.Or(announced.AssignedClientID, fmt.Sprintf("assigned-%d", p.r.assigned.Add(1)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(packet.Version, packet.Properties, &announced)
	return false, send(p, frames.Connack{Properties: &announced})
}

// publish acknowledges a message, and routes it unless it is a retransmission.
func (p *peer) publish(f frames.Frame) error {
	m, err := frames.ParsePublish(f, p.version, &p.topics, p.aliases)
	if err != nil {
		return err
	}
	again := m.QoS == frames.ExactlyOnce && p.hold(m.ID)
	p.mu.Lock()
	err = p.limits.publish(&m, again)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if !again && p.r.Loopback {
		for _, q := range p.r.clients() {
			q.route(m.Message, p)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.QoS {
	case frames.AtLeastOnce:
		p.limits.complete()
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

// release reports whether the identifier was marked.
func (p *peer) release(id uint16) bool {
	if p.held == nil {
		return false
	}
	word, bit := &p.held[id/64], uint64(1)<<(id%64)
	was := *word&bit != 0
	*word &^= bit
	return was
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
		// Unknown identifiers get a PUBCOMP too: they may be from an earlier connection.
		if p.release(a.ID) {
			p.limits.complete()
		}
		return send(p, frames.Ack{Kind: frames.TypePubcomp, ID: a.ID})
	}
	state := idFree
	if p.ids != nil {
		state = p.ids[a.ID]
	}
	switch {
	case a.Kind == frames.TypePuback && state == idPuback, a.Kind == frames.TypePubcomp && state == idPubcomp,
		a.Kind == frames.TypePubrec && state == idPubrec && a.Code >= frames.UnspecifiedError: // section 4.3.3
		p.ids[a.ID] = idFree
		p.inFlight--
		return p.next()
	case a.Kind == frames.TypePubrec && (state == idPubrec || state == idPubcomp):
		p.ids[a.ID] = idPubcomp
		return send(p, frames.Ack{Kind: frames.TypePubrel, ID: a.ID})
	}
	return fmt.Errorf("%v for identifier %d, which does not await one", a.Kind, a.ID)
}

// next sends the first message in the queue that has not expired, since the window has room again.
func (p *peer) next() error {
	for len(p.queue) > 0 {
		m := p.queue[0]
		p.queue[0] = frames.Message{}
		if p.queue = p.queue[1:]; len(p.queue) == 0 {
			p.queue = nil
		}
		p.room.Broadcast()
		if left, ok := m.Properties.Left(time.Now()); ok {
			if left == 0 {
				p.r.dropped.Add(1) // [MQTT-3.3.2-5]
				continue
			}
			m.Properties.Expiry = left // [MQTT-3.3.2-6]
		}
		return p.deliver(m)
	}
	return nil
}

// route sends a message to this client if a subscription matches, or queues it while the window is
// full. The parameter from is its publisher, or nil for [Responder.Publish]. If from is not nil,
// the content is in a read buffer.
func (p *peer) route(m frames.Message, from *peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	way := p.subs.match(m.Topic, from == p)
	if !way.wanted {
		return false
	}
	if from != nil && !way.retain {
		m.Retain = false // [MQTT-3.3.1-9] RETAIN is 0 for a client that was already subscribed
	}
	m.QoS = min(m.QoS, way.qos)
	m.Properties = identify(m.Properties, way.identifiers)
	if !p.fits(m) {
		p.r.dropped.Add(1)
		return false
	}
	if m.QoS == frames.AtMostOnce || p.inFlight < p.window && len(p.queue) == 0 {
		return p.deliver(m) == nil
	}
	if from != nil {
		m = m.Clone()
	}
	p.queue = append(p.queue, waiting(m))
	return true
}

// identify returns a copy of the properties with the given subscription identifiers.
func identify(p *frames.Properties, identifiers []uint32) *frames.Properties {
	if p == nil {
		if identifiers == nil {
			return nil
		}
		p = &frames.Properties{}
	}
	c := *p
	c.Subscriptions = identifiers
	return &c
}

// waiting begins the expiry interval of a message, unless it has begun. Its properties are a copy.
func waiting(m frames.Message) frames.Message {
	if p := m.Properties; p != nil && p.Expiry > 0 && p.Since.IsZero() {
		p.Since = time.Now()
	}
	return m
}

// fits reports whether the client takes a PUBLISH of this size [MQTT-3.1.2-24].
func (p *peer) fits(m frames.Message) bool {
	if p.largest == 0 {
		return true
	}
	n := len(p.out)
	with, err := frames.Publish{Message: m, ID: 1}.AppendHeader(p.out, p.version)
	p.out = with[:n] // keeps its memory for the packet that follows
	return err == nil && len(with)-n+len(m.Payload) <= p.largest
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
