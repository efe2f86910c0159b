package stream

import (
	"errors"
	"math"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Farewell says how ShutdownWith ends the connection.
type Farewell struct {
	// PublishWill lets the broker publish the will: with reason code 0x04 on MQTT 5 (section
	// 3.14.2.1), and without DISCONNECT before.
	PublishWill bool

	// HangUp ends the connection without DISCONNECT, so that every broker publishes the will. Some
	// brokers do not publish it for 0x04.
	HangUp bool

	// EndSession ends the broker's session with the connection, and empties the Store.
	EndSession bool

	// Expiry, with KeepSession, replaces the session expiry interval, 1 to 4,294,967,294 s, rounded
	// up to seconds; 0 leaves it.
	Expiry time.Duration

	Reason string                // the reason string
	User   []frames.UserProperty // the user properties of DISCONNECT

	unsaid error // why the connection ended without this DISCONNECT; set by the loop
}

// fault returns the reason why the connection ended without the DISCONNECT. A nil Farewell has
// none.
func (f *Farewell) fault() error {
	if f == nil {
		return nil
	}
	return f.unsaid
}

// endedSession reports whether the DISCONNECT has ended the broker's session.
func (f *Farewell) endedSession() bool { return f != nil && f.EndSession && f.unsaid == nil }

// check returns an error for a Farewell that can never be used.
func (f *Farewell) check(kept bool) error {
	switch {
	case f.Expiry < 0 || f.Expiry > (math.MaxUint32-1)*time.Second:
		return link.BadOption("Expiry", "%v is outside 0 to 4294967294 s", f.Expiry)
	case f.Expiry > 0 && f.EndSession:
		return link.BadOption("Expiry", "is set together with EndSession")
	case f.Expiry > 0 && !kept: // section 3.14.2.2.2
		return link.BadOption("Expiry", "is set without KeepSession: a session without expiry interval cannot get one at its end")
	case f.HangUp && f.needsDisconnect():
		return link.BadOption("HangUp", "sends no DISCONNECT, which EndSession, Expiry, Reason and User need")
	}
	if err := frames.ValidString("reason string", f.Reason); err != nil {
		return prefixed(err)
	}
	if _, err := f.packet().Append(nil, frames.V5); err != nil {
		return prefixed(err)
	}
	return nil
}

func (f *Farewell) needsDisconnect() bool {
	return f.EndSession || f.Expiry > 0 || f.Reason != "" || len(f.User) > 0
}

// fits returns an error if a connection with these terms cannot carry the Farewell. The error lost
// is nil while there is a connection.
func (f *Farewell) fits(t *terms, lost error) error {
	switch {
	case !f.needsDisconnect():
		return nil
	case lost != nil:
		return &causedError{errNoFarewell, lost}
	case t.version < frames.V5:
		return &causedError{errNoFarewell, &VersionError{Field: "DISCONNECT with properties", Need: frames.V5, Have: t.version}}
	}
	if size := f.size(); size > t.maxPacket { // [MQTT-3.2.2-15]
		return &causedError{errNoFarewell, &LimitError{Field: "packet size", Value: size, Limit: t.maxPacket}}
	}
	return nil
}

// size returns the size of the DISCONNECT on MQTT 5.
func (f *Farewell) size() int {
	bytes, _ := f.packet().Append(nil, frames.V5)
	return len(bytes)
}

// fitting returns the DISCONNECT for a connection, which may not be the one that fits has seen.
func (f *Farewell) fitting(t terms) frames.Disconnect {
	d := f.packet()
	if t.version >= frames.V5 && f.size() > t.maxPacket { // [MQTT-3.14.2-3] [MQTT-3.14.2-4]
		d.Reason, d.User = "", nil
	}
	return d
}

// unsent returns the error for a last connection that could not carry the Farewell because of
// cause. It returns nil if cause is nil.
func (f *Farewell) unsent(cause error) error {
	if !f.needsDisconnect() || cause == nil {
		return nil
	}
	return &causedError{errNoFarewell, cause}
}

var errNoFarewell = errors.New("mqtt: ShutdownWith")

// packet returns the DISCONNECT.
func (f *Farewell) packet() frames.Disconnect {
	d := frames.Disconnect{Reason: f.Reason, User: f.User}
	if f.PublishWill {
		d.Code = frames.DisconnectWithWill
	}
	if f.EndSession || f.Expiry > 0 {
		seconds := wholeSeconds(f.Expiry)
		d.SessionExpiry = &seconds
	}
	return d
}

// hangsUp reports whether the connection ends without DISCONNECT.
func (f *Farewell) hangsUp(v frames.Version) bool { return f.HangUp || f.PublishWill && v < frames.V5 }
