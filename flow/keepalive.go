package flow

import "time"

// KeepAlive decides when a connection needs a PINGREQ and when it is dead. The client must send a
// packet within each keep alive interval (section 3.1.2.10), and the broker must answer a PINGREQ.
//
// A PINGREQ is due when nothing was sent for nine tenths of the interval, since the PINGREQ must
// reach the broker before the interval ends [MQTT-3.1.2-23]. The connection is dead when a PINGREQ
// has no PINGRESP and nothing was received for the interval or for maxPingWait, whichever is
// shorter. The zero value is a connection without keep alive.
type KeepAlive struct {
	interval  time.Duration // 0 is off
	lastSent  time.Duration
	lastHeard time.Duration
	pingedAt  time.Duration
	pinged    bool   // a PINGREQ awaits its PINGRESP
	bytesIn   uint64 // the count of received bytes at the last check
}

const maxPingWait = 10 * time.Second

// PingAction is the answer of Check.
type PingAction byte

const (
	NoPing   PingAction = iota
	SendPing            // PINGREQ is due
	PeerDead            // the broker did not answer: the connection must be closed
)

// NewKeepAlive returns the state of a new connection. The parameter sent is the time of CONNECT,
// and now the time of CONNACK.
func NewKeepAlive(interval, sent, now time.Duration) KeepAlive {
	return KeepAlive{interval: interval, lastSent: sent, lastHeard: now}
}

// Sent records that bytes were handed to the connection.
func (k *KeepAlive) Sent(now time.Duration) { k.lastSent = now }

// Heard records that packets were received; bytesIn is the count of received bytes.
func (k *KeepAlive) Heard(now time.Duration, bytesIn uint64) { k.lastHeard, k.bytesIn = now, bytesIn }

// Resumed records that reading resumed after a pause, during which nothing could be received.
func (k *KeepAlive) Resumed(now time.Duration) { k.lastHeard = now }

// Answered records a PINGRESP.
func (k *KeepAlive) Answered() { k.pinged = false }

// Check returns the action that is due at now. bytesIn is the count of received bytes; it rises
// while a long packet arrives. If writing is set, no PINGREQ is due. If paused is set, nothing is
// read, and the connection is not taken for dead.
func (k *KeepAlive) Check(now time.Duration, bytesIn uint64, paused, writing bool) PingAction {
	if k.interval == 0 {
		return NoPing
	}
	if k.pinged && !paused && now >= k.deadline() {
		if bytesIn == k.bytesIn {
			return PeerDead
		}
		k.Heard(now, bytesIn)
	}
	if writing || now < k.lastSent+k.silence() {
		return NoPing
	}
	if !k.pinged {
		k.pinged, k.pingedAt, k.bytesIn = true, now, bytesIn
	}
	return SendPing
}

// Next returns the time of the next Check, or 0 if there is no keep alive.
func (k *KeepAlive) Next(now time.Duration, paused bool) time.Duration {
	if k.interval == 0 {
		return 0
	}
	at := k.lastSent + k.silence()
	if at <= now { // a PINGREQ waits in the batch, since the writer is busy
		at = now + k.silence()
	}
	if k.pinged && !paused {
		at = min(at, k.deadline())
	}
	return at
}

// silence returns the time without a sent packet after which a PINGREQ is due.
func (k *KeepAlive) silence() time.Duration { return k.interval / 10 * 9 }

// deadline returns the time at which an outstanding PINGREQ makes the connection dead.
func (k *KeepAlive) deadline() time.Duration {
	return max(k.pingedAt, k.lastHeard) + min(k.interval, maxPingWait)
}
