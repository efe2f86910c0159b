package integration

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// The limits that a keeper announces on MQTT 5.
const (
	keeperMaximum = 60 // Receive Maximum
	keeperAliases = 10
)

// A subscribed filter belongs to a session.
type subscribed struct {
	frames.Filter
	identifier uint32 // 0: none
}

// parse parses a packet of the client, with its topic aliases.
func (l *link) parse(f frames.Frame) (frames.Packet, error) {
	if f.Type() == frames.TypePublish {
		return frames.ParsePublish(f, l.version, nil, l.aliases)
	}
	return frames.Parse(f, l.version)
}

// limits returns a CONNACK with the limits of the keeper, and the client identifier. It sets the
// limits of the client.
func (l *link) limits(p frames.Connect) (c frames.Connack, id string) {
	if p.Version < frames.V5 {
		return c, p.ClientID
	}
	l.aliases = frames.NewAliases(keeperAliases)
	c.Properties = &frames.ConnackProperties{ReceiveMaximum: keeperMaximum, TopicAliasMaximum: keeperAliases}
	if id = p.ClientID; id == "" {
		id = fmt.Sprintf("kept-%d", len(l.k.sessions))
		c.Properties.AssignedClientID = id
	}
	if p.Properties != nil {
		l.mine = make(map[string]uint16, p.Properties.TopicAliasMaximum)
		if most := int(p.Properties.ReceiveMaximum); most > 0 {
			l.window = min(l.window, most)
		}
		l.most = int(p.Properties.TopicAliasMaximum)
	}
	return c, id
}

// forEver is the Session Expiry Interval of a session that does not expire.
const forEver = 1<<32 - 1

func expiryOf(p frames.Connect) uint32 {
	switch {
	case p.Version < frames.V5 && !p.CleanSession:
		return forEver
	case p.Version < frames.V5 || p.Properties == nil:
		return 0
	}
	return p.Properties.SessionExpiry
}

// leave ends the connection of a session.
func (s *kept) leave() {
	if s.link = nil; s.expiry == 0 {
		s.out, s.filters = nil, nil
	}
	s.left = time.Now()
}

// expired reports whether an absent session has ended.
func (s *kept) expired() bool {
	return s.link == nil && s.expiry != forEver && time.Since(s.left) >= time.Duration(s.expiry)*time.Second
}

// wants returns a message as a session gets it, with the subscription identifiers of all filters
// that match.
func (s *kept) wants(from *kept, m frames.Message) (_ frames.Message, ok bool) {
	if s.link == nil && s.expired() {
		return m, false
	}
	most := frames.AtMostOnce
	var identifiers []uint32
	for _, f := range s.filters {
		if !f.Match(m.Topic) || f.NoLocal && s == from {
			continue
		}
		ok, most = true, max(most, f.QoS) // [MQTT-3.3.5-1]
		if f.identifier != 0 {
			identifiers = append(identifiers, f.identifier)
		}
	}
	m.QoS = min(m.QoS, most)
	if s.link != nil && s.link.version < frames.V5 {
		m.Properties = nil
		return m, ok
	}
	if m.Properties != nil || identifiers != nil {
		var p frames.Properties
		if m.Properties != nil {
			p = *m.Properties
		}
		p.Subscriptions = identifiers
		m.Properties = &p
	}
	return m, ok
}

// publication sends a PUBLISH. Each topic gets an alias, as long as there are any.
func (l *link) publication(p frames.Publish) {
	if alias, known := l.mine[p.Topic]; known {
		p.Alias, p.Topic = alias, ""
	} else if len(l.mine) < l.most {
		p.Alias = uint16(len(l.mine) + 1)
		l.mine[p.Topic] = p.Alias
	}
	l.send(p)
}

// unsubscribes returns the codes of UNSUBACK.
func (s *kept) unsubscribes(topics []string) (codes []frames.ReasonCode) {
	for _, topic := range topics {
		code := frames.NoSubscriptionExisted
		if slices.ContainsFunc(s.filters, func(f subscribed) bool { return f.Topic == topic }) {
			code = frames.Success
		}
		codes = append(codes, code)
	}
	return codes
}
