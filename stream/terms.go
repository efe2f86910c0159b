package stream

import (
	"strings"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// terms are the parameters of a connection as client and broker have agreed on them. The Options
// are only requests of the client, so code reads the terms after the handshake. Before the first
// connection the terms equal the Options. After a connection they keep its values until the next
// handshake.
type terms struct {
	clientID  string
	keepAlive time.Duration // the longest silence; 0 is off
	pingLimit time.Duration // for the answer to PINGREQ
	window    int           // QoS 1 and 2 publications in flight
	limits

	expiry  uint32 // seconds that the session outlives the connection
	aliases uint16 // topic aliases that this client uses at most
	quota   uint16 // QoS 1 and 2 messages that the broker may send at a time

	version  frames.Version // 0 before the first connection, if the version is negotiated
	pinned   frames.Version // with which the kept session was made; 0: there was no connection yet
	kept     bool           // the session outlives the connection
	resumed  bool           // the broker had our session when the connection began
	lossy    bool           // properties that the version does not have are left out
	lowerQoS bool           // a publication above maxQoS is sent at maxQoS

	maxQoS    frames.QoS // of a publication
	anonymous bool       // Options.ClientID is empty
}

// limits are the limits of the broker, beside maxQoS, that publications and filters must keep.
type limits struct {
	server    *Server // nil before MQTT 5
	maxPacket int     // the largest packet that may be sent, in bytes
}

// wantedTerms are the terms before the first connection.
func wantedTerms(o *Options) terms {
	return terms{
		version:   o.Version,
		clientID:  o.ClientID,
		keepAlive: o.KeepAlive,
		pingLimit: o.PingTimeout,
		window:    o.Window,
		kept:      o.KeepSession,
		expiry:    o.sessionExpiry(),
		quota:     uint16(o.V5.ReceiveMaximum),
		aliases:   uint16(o.V5.outboundAliases()),
		lossy:     o.V5.Lossy,
		anonymous: o.ClientID == "",
		lowerQoS:  o.V5.LowerQoS,
		maxQoS:    frames.ExactlyOnce, limits: limits{maxPacket: frames.MaxPacket},
	}
}

// agreed returns the terms of a new connection. The receiver are the wanted terms.
func (t terms) agreed(c *link.Conn) terms {
	t.version = c.Version
	t.resumed = c.Connack.SessionPresent
	t.pinned, t.clientID = c.Version, c.ClientID
	if s := serverOf(c, t.expiry, t.keepAlive); s != nil {
		t.server, t.keepAlive = s, s.KeepAlive
		t.window = min(t.window, s.ReceiveMaximum)
		t.maxPacket, t.maxQoS = s.MaximumPacket, s.MaximumQoS
		if p := c.Connack.Properties; p != nil && p.SessionExpiry != nil {
			t.expiry = *p.SessionExpiry
		}
		if t.pingLimit == 0 {
			t.pingLimit = min(t.keepAlive, maxDefaultPingTimeout)
		}
	}
	return t
}

// record returns the record of a session that the broker keeps, for the Store. The parameter was is
// the version that the session had before this connection. Without MQTT 5 a session needs no
// record.
func (t *terms) record(was frames.Version) (r flow.SessionRecord, ok bool) {
	r = flow.SessionRecord{Version: t.version, Expiry: t.expiry, Seen: time.Now()}
	if t.anonymous {
		r.ClientID = t.clientID
	}
	return r, t.kept && max(t.version, was) >= frames.V5
}

// receiveMaximum returns how many QoS 1 and 2 messages the broker may send at a time, 0 for any
// number.
func (t *terms) receiveMaximum() uint16 {
	if t.version < frames.V5 {
		return 0
	}
	return t.quota
}

// request describes the next attempt. A session that the broker keeps has the version with which it
// was made, and the client identifier that the broker has assigned.
func (t *terms) request(number int, last error) link.Request {
	r := link.Request{Number: number, LastErr: last}
	if t.kept {
		r.Pinned, r.ClientID = t.pinned, t.clientID
	}
	return r
}

// mayHaveSession reports whether the broker may have state of our session.
func (t *terms) mayHaveSession() bool { return t.resumed || t.doubtful() }

// doubtful reports whether the session is kept, and CONNACK of this version does not say whether
// the broker had it.
func (t *terms) doubtful() bool { return t.kept && t.version == frames.V31 }

// limited reports whether a valid message may break the terms. Before MQTT 5 only its properties
// can.
func (t *terms) limited(m *frames.Message) bool {
	if t.version < frames.V5 {
		return m.Properties != nil
	}
	return t.maxPacket < frames.MaxPacket || t.maxQoS < frames.ExactlyOnce || !t.server.Retain
}

// check returns the reason why a message cannot be sent on the connection: a *LimitError or a
// *VersionError.
func (t *terms) check(m *frames.Message) error {
	if t.version < frames.V5 {
		if m.Properties == nil || t.lossy {
			return nil
		}
		return frames.CheckProperties(m.Properties, t.version)
	}
	switch {
	case m.QoS > t.maxQoS: // [MQTT-3.2.2-11]
		return &LimitError{Field: "QoS", Value: int(m.QoS), Limit: int(t.maxQoS)}
	case m.Retain && !t.server.Retain: // [MQTT-3.2.2-14]
		return &LimitError{Field: "retain", Value: 1, Limit: 0}
	}
	if t.maxPacket < frames.MaxPacket {
		if size := frames.PublishSize(m, t.version); size > t.maxPacket { // [MQTT-3.2.2-15]
			return &LimitError{Field: "packet size", Value: size, Limit: t.maxPacket}
		}
	}
	return nil
}

// refuse returns the reason why a filter cannot be asked for on the connection, with a subscription
// identifier if the broker takes it.
func (t *terms) refuse(f frames.Filter, identifier uint32) error {
	if t.version < frames.V5 {
		if t.lossy && !f.NoLocal {
			return nil
		}
		return frames.CheckFilter(f, t.version)
	}
	switch s := t.server; {
	case !s.Shared && strings.HasPrefix(f.Topic, "$share/"):
		return frames.SharedSubscriptionsNotSupported
	case !s.Wildcards && strings.ContainsAny(f.Topic, "+#"):
		return frames.WildcardSubscriptionsNotSupported
	case !s.SubscriptionIDs:
		identifier = 0
	}
	if 16+len(f.Topic) <= t.maxPacket { // with every part of the packet at its largest
		return nil
	}
	alone := frames.Subscribe{ID: 1, Filters: []frames.Filter{f}, Identifier: identifier}
	bytes, err := alone.Append(nil, t.version)
	switch size := len(bytes); {
	case err != nil:
		return prefixed(err)
	case size > t.maxPacket: // [MQTT-3.2.2-15]
		return &LimitError{Field: "packet size", Value: size, Limit: t.maxPacket}
	}
	return nil
}
