package stream

import (
	"math"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// forEver is the session expiry interval, in seconds, of a session that does not expire.
const forEver = math.MaxUint32

// Server is the broker's part of the terms of a connection: the content of its CONNACK on MQTT 5
// (section 3.2.2.3). An absent property has the value that its absence means. A Server does not
// change.
type Server struct {
	SessionExpiry       time.Duration // how long the session outlives the connection; negative: for ever
	ReceiveMaximum      int           // QoS 1 and 2 publications that the broker takes at a time
	MaximumQoS          frames.QoS
	MaximumPacket       int // bytes of the largest packet that the broker takes
	TopicAliases        int
	Retain              bool // the broker retains messages
	Wildcards           bool
	SubscriptionIDs     bool
	Shared              bool          // shared subscriptions
	KeepAlive           time.Duration // in force; 0 is off
	ClientID            string        // in force
	ResponseInformation string
	ServerReference     string
	Reason              string // the reason string
	AuthMethod          string
	User                []frames.UserProperty
}

// serverOf returns the Server of a connection, nil before MQTT 5.
func serverOf(c *link.Conn, sessionExpiry uint32, keepAlive time.Duration) *Server {
	if c.Version < frames.V5 {
		return nil
	}
	p := c.Connack.Properties
	if p == nil {
		p = new(frames.ConnackProperties)
	}
	s := &Server{
		ReceiveMaximum: 65535, MaximumQoS: frames.ExactlyOnce, MaximumPacket: frames.MaxPacket,
		TopicAliases: int(p.TopicAliasMaximum), Retain: !p.NoRetain, Wildcards: !p.NoWildcards,
		SubscriptionIDs: !p.NoSubscriptionIDs, Shared: !p.NoSharedSubscriptions,
		KeepAlive: keepAlive, ClientID: c.ClientID, ResponseInformation: p.ResponseInformation,
		ServerReference: p.ServerReference, Reason: p.Reason, AuthMethod: p.AuthMethod, User: p.User,
	}
	if p.ReceiveMaximum != 0 {
		s.ReceiveMaximum = int(p.ReceiveMaximum)
	}
	if p.MaximumQoS != nil {
		s.MaximumQoS = *p.MaximumQoS
	}
	if p.MaximumPacket != 0 {
		s.MaximumPacket = int(min(p.MaximumPacket, frames.MaxPacket))
	}
	if p.ServerKeepAlive != nil { // [MQTT-3.1.2-21]
		s.KeepAlive = time.Duration(*p.ServerKeepAlive) * time.Second
	}
	if p.SessionExpiry != nil {
		sessionExpiry = *p.SessionExpiry
	}
	if s.SessionExpiry = time.Duration(sessionExpiry) * time.Second; sessionExpiry == forEver {
		s.SessionExpiry = -1
	}
	return s
}
