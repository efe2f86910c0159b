package stream

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// terms are the parameters of a connection as client and broker have agreed on them. The Options
// are only what the client asks for, so code reads the terms after the handshake. Before the first
// connection the terms equal the Options. After a connection they keep its values until the next
// handshake.
type terms struct {
	version   frames.Version
	clientID  string
	keepAlive time.Duration // the longest silence; 0 is off
	pingLimit time.Duration // for the answer to PINGREQ
	window    int           // QoS 1 and 2 publications in flight
	maxPacket int           // the largest packet that may be sent, in bytes
	kept      bool          // the session outlives the connection
	resumed   bool          // the broker had our session when the connection began
	doubtful  bool          // the session is kept, but CONNACK of this version does not say whether the broker had it

	pinned frames.Version // with which the kept session was made; 0: there was no connection yet
}

// wantedTerms are the terms before the first connection.
func wantedTerms(o *Options) terms {
	return terms{
		version:   o.Version,
		clientID:  o.ClientID,
		keepAlive: o.KeepAlive,
		pingLimit: o.PingTimeout,
		window:    o.Window,
		maxPacket: frames.MaxPacket,
		kept:      o.KeepSession,
	}
}

// agreed returns the terms of a new connection.
func (t terms) agreed(c *link.Conn) terms {
	t.version = c.Version
	t.resumed = c.Connack.SessionPresent
	t.doubtful = t.kept && t.version == frames.V31
	t.pinned, t.clientID = c.Version, c.ClientID
	return t
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
func (t *terms) mayHaveSession() bool { return t.resumed || t.doubtful }
