package stream

import "github.com/go-millrace/mqtt/frames"

// outAliases are the topic aliases of the publications of one connection (MQTT 5, section
// 3.3.2.3.4).
//
// Invariant: an alias stands for a topic only after a PUBLISH that set it was written at QoS 0 or
// acknowledged, since a broker that refuses that PUBLISH need not keep the alias.
type outAliases struct {
	table   *frames.OutboundAliases
	setting map[uint16]uint16 // the aliases that unacknowledged packets set, by packet identifier
}

// newOutAliases returns the aliases of a new connection, nil if none may be used.
func newOutAliases(most int) *outAliases {
	if most <= 0 {
		return nil
	}
	return &outAliases{table: frames.NewOutboundAliases(uint16(most))}
}

// apply gives a PUBLISH its alias, and leaves out the topic if the alias stands for it. A packet
// that was sent before keeps its topic [MQTT-3.3.2-7]. An alias that makes the packet larger than
// maxPacket is not set.
func (a *outAliases) apply(p *frames.Publish, maxPacket int) {
	if p.DUP {
		return
	}
	alias, known := a.table.Use(p.Topic)
	switch {
	case alias == 0:
		return
	case known:
		p.Alias, p.Topic = alias, ""
		return
	case frames.PublishSize(&p.Message, frames.V5)+aliasBytes > maxPacket:
		a.table.Withdraw(alias)
		return
	}
	p.Alias = alias
	if p.QoS == frames.AtMostOnce {
		a.table.Confirm(alias)
		return
	}
	if a.setting == nil {
		a.setting = make(map[uint16]uint16)
	}
	a.setting[p.ID] = alias
}

// aliasBytes is the most by which an alias makes a PUBLISH larger: the property, and a longer
// length of the properties and of the packet.
const aliasBytes = 3 + 1 + 1

// answered records the ack of a packet, which may have set an alias.
func (a *outAliases) answered(id uint16, code frames.ReasonCode) {
	if a == nil || len(a.setting) == 0 {
		return
	}
	alias, ok := a.setting[id]
	if !ok {
		return
	}
	delete(a.setting, id)
	if code < frames.UnspecifiedError {
		a.table.Confirm(alias)
	} else {
		a.table.Withdraw(alias)
	}
}
