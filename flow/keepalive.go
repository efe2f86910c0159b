package flow

import "time"

// KeepAlive decides when a connection needs a PINGREQ and when it is dead. It watches for silence:
// ours, which the broker must not see for longer than the keep alive interval (section 3.1.2.10),
// and the broker's after a PINGREQ.
//
// A PINGREQ is due when nothing was sent for nine tenths of the interval, since it must reach the
// broker within all of it [MQTT-3.1.2-23]. The connection is dead when a PINGREQ has no PINGRESP
// and nothing at all was received for the interval, at most maxPingWait. The zero value is a
// connection without keep alive.
type KeepAlive struct {
	interval  time.Duration // 0 is off
	lastSent  time.Duration
	lastHeard time.Duration
	pingedAt  time.Duration
	pinged    bool   // a PINGREQ awaits its PINGRESP
	bytesIn   uint64 // the count of received bytes at the last look
}

const maxPingWait = 10 * time.Second

// PingAction is the answer of Check.
type PingAction byte

const (
	NoPing   PingAction = iota
	SendPing            // PINGREQ is due
	PeerDead            // the broker did not answer: the connection must be closed
)

// NewKeepAlive returns the state of a connection whose CONNECT was sent at sent and whose CONNACK
// came at now.
func NewKeepAlive(interval, sent, now time.Duration) KeepAlive {
	return KeepAlive{interval: interval, lastSent: sent, lastHeard: now}
}

// Sent records that bytes were handed to the connection.
func (k *KeepAlive) Sent(now time.Duration) { k.lastSent = now }

// Heard records that packets were received; bytesIn is the count of received bytes.
func (k *KeepAlive) Heard(now time.Duration, bytesIn uint64) { k.lastHeard, k.bytesIn = now, bytesIn }

// Resumed records that reading goes on after a pause, during which the broker could not be heard.
func (k *KeepAlive) Resumed(now time.Duration) { k.lastHeard = now }

// Answered records a PINGRESP.
func (k *KeepAlive) Answered() { k.pinged = false }

// Check returns the action that is due at now. bytesIn is the count of received bytes, which tells
// a long packet under way from silence. A PINGREQ is never due while writing, and a connection
// whose reading is paused is never dead.
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

// Next returns when Check has something to do, 0 for never.
func (k *KeepAlive) Next(now time.Duration, paused bool) time.Duration {
	if k.interval == 0 {
		return 0
	}
	at := k.lastSent + k.silence()
	if at <= now { // a PINGREQ is in the batch, and the writer is busy
		at = now + k.silence()
	}
	if k.pinged && !paused {
		at = min(at, k.deadline())
	}
	return at
}

// silence returns how long nothing may be sent before a PINGREQ is due.
func (k *KeepAlive) silence() time.Duration { return k.interval / 10 * 9 }

// deadline returns when an outstanding PINGREQ makes the connection dead.
func (k *KeepAlive) deadline() time.Duration {
	return max(k.pingedAt, k.lastHeard) + min(k.interval, maxPingWait)
}
