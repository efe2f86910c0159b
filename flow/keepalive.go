package flow

import "time"

// KeepAlive decides when a connection needs a PINGREQ and when it is dead.
//
// A PINGREQ is due for two reasons. The client must send a packet within each keep alive interval
// [MQTT-3.1.2-23]. And when nothing is received for the interval, the client asks whether the
// broker lives, however much it sends: bytes that we send prove nothing. Both use nine tenths of
// the interval, since the PINGREQ must arrive before the interval ends.
//
// The connection is dead when a PINGREQ has no PINGRESP within the timeout and nothing else is
// received meanwhile. The timeout begins when the last byte of the PINGREQ has left the send queue.
// Until then it begins again whenever the queue moves, so a slow line with a long queue is not
// taken for dead. A queue that moves after that proves nothing, because the kernel of a frozen peer
// goes on taking bytes. While reading is paused, a PINGRESP cannot be seen, and only a PINGREQ that
// stays in the queue makes the connection dead. A Check that comes late by more than half of the
// timeout shows that this process, and not the broker, stood still. The timeout then begins again.
//
// The zero value is a connection without keep alive.
type KeepAlive struct {
	interval  time.Duration // 0 is off
	timeout   time.Duration
	lastSent  time.Duration
	lastHeard time.Duration
	lastPing  time.Duration
	bytesIn   uint64 // the count of received bytes at the last check

	pinged bool // a PINGREQ awaits its PINGRESP

	// The send queue, while the PINGREQ may be in it.
	queued    bool          // the last byte of the PINGREQ has not left the queue
	written   bool          // the PINGREQ was written; end is set
	measured  bool          // left is set
	end       uint64        // the count of written bytes, up to the end of the PINGREQ
	left      uint64        // the count of bytes that had left the queue at the last measurement
	since     time.Duration // when the timeout began
	measureAt time.Duration // when to measure again
}

// QueueSteps is how often within the interval or the timeout, whichever is shorter, the send queue
// is measured. The time at which a PINGREQ has left the queue is known no better. Two such steps
// are less than the tenth of the interval that is left after the PINGREQ.
const QueueSteps = 32

// PingAction is the answer of Check.
type PingAction byte

const (
	NoPing   PingAction = iota
	SendPing            // PINGREQ is due
	PeerDead            // the broker did not answer: the connection must be closed
	LineDead            // the connection did not take the PINGREQ, and must be closed
)

// NewKeepAlive returns the state of a new connection. The parameter sent is the time of CONNECT,
// and now the time of CONNACK.
func NewKeepAlive(interval, timeout, sent, now time.Duration) KeepAlive {
	return KeepAlive{interval: interval, timeout: timeout, lastSent: sent, lastHeard: now}
}

// Sent records that bytes were handed to the connection.
func (k *KeepAlive) Sent(now time.Duration) { k.lastSent = now }

// Heard records that packets were received; bytesIn is the count of received bytes.
func (k *KeepAlive) Heard(now time.Duration, bytesIn uint64) { k.lastHeard, k.bytesIn = now, bytesIn }

// Resumed records that reading resumed after a pause, during which nothing could be received.
func (k *KeepAlive) Resumed(now time.Duration) { k.lastHeard = now }

// Pending returns when the last PINGREQ was sent, if it awaits its PINGRESP.
func (k *KeepAlive) Pending() (sent time.Duration, ok bool) { return k.lastPing, k.pinged }

// Answered records a PINGRESP.
func (k *KeepAlive) Answered() { k.pinged, k.queued = false, false }

// Check returns the action that is due at now. bytesIn is the count of received bytes; it rises
// while a long packet arrives. If writing is set, bytes are on their way to the broker. If paused
// is set, nothing is read. After SendPing the caller must call Pinged.
func (k *KeepAlive) Check(now time.Duration, bytesIn uint64, paused, writing bool) PingAction {
	switch {
	case k.interval == 0:
		return NoPing
	case !k.awaits(paused) || now < k.deadline():
	case bytesIn != k.bytesIn:
		k.Heard(now, bytesIn)
	case now-k.deadline() > k.timeout/2: // this process did not run, and a PINGRESP may lie unread
		k.since = now
	case k.queued:
		return LineDead
	default:
		return PeerDead
	}
	if !writing && now >= k.lastSent+k.silence() || k.asks(paused) && now >= k.askAt() {
		return SendPing
	}
	return NoPing
}

// Pinged records that a PINGREQ is on its way to the connection. While an earlier PINGREQ awaits
// its PINGRESP, another one does not extend the wait.
func (k *KeepAlive) Pinged(now time.Duration, bytesIn uint64, paused bool) {
	k.lastPing = now
	if !k.asks(paused) {
		return
	}
	k.pinged, k.queued, k.written, k.measured = true, true, false, false
	k.bytesIn, k.since, k.measureAt = bytesIn, now, now+k.step()
}

// HeldUp records that a PINGREQ that was not yet written waits for something else than the
// connection, such as a commit of the store. The timeout starts again.
func (k *KeepAlive) HeldUp(now time.Duration) {
	if k.queued && !k.written {
		k.since = now
	}
}

// PingWritten records that the PINGREQ was handed to the connection completely. The parameter end
// is the count of bytes written until then.
func (k *KeepAlive) PingWritten(now time.Duration, end uint64) {
	if k.queued && !k.written {
		k.written, k.end, k.measureAt = true, end, now
	}
}

// Measures reports whether the send queue must be measured.
func (k *KeepAlive) Measures(now time.Duration) bool { return k.queued && now >= k.measureAt }

// Measured records how many of the written bytes have left the send queue. It matters only while
// the PINGREQ may be in the queue.
func (k *KeepAlive) Measured(now time.Duration, left uint64) {
	switch {
	case !k.queued:
		return
	case k.written && left >= k.end:
		k.queued, k.since = false, now
	case k.measured && left != k.left:
		k.since = now
	}
	k.measured, k.left, k.measureAt = true, left, now+k.step()
}

// Next returns the time of the next Check or measurement, or 0 if there is no keep alive. The time
// is after now: an event that follows this turn's Check, as PingWritten does when the loop writes
// itself, may leave something to do at once.
func (k *KeepAlive) Next(now time.Duration, paused bool) time.Duration {
	if k.interval == 0 {
		return 0
	}
	at := k.lastSent + k.silence()
	if at <= now { // bytes wait in the batch, since the writer is busy
		at = now + k.silence()
	}
	if k.asks(paused) {
		at = min(at, k.askAt())
	}
	if k.awaits(paused) {
		at = min(at, k.deadline())
	}
	if k.queued {
		at = min(at, k.measureAt)
	}
	return max(at, now+1)
}

// SilentAt returns when a PINGREQ is due because nothing was sent, 0 for never.
func (k *KeepAlive) SilentAt() time.Duration {
	if k.interval == 0 {
		return 0
	}
	return k.lastSent + k.silence()
}

// asks reports whether a silent broker is sent a PINGREQ. In a pause, a PINGREQ that has left the
// queue is followed by another one, since its PINGRESP stays unread.
func (k *KeepAlive) asks(paused bool) bool { return !k.pinged || paused && !k.queued }

// askAt returns when a broker from which nothing is received is sent a PINGREQ.
func (k *KeepAlive) askAt() time.Duration { return max(k.lastHeard, k.lastPing) + k.silence() }

// awaits reports whether an outstanding PINGREQ has a deadline.
func (k *KeepAlive) awaits(paused bool) bool { return k.pinged && (!paused || k.queued) }

// silence returns the time without a packet after which a PINGREQ is due.
func (k *KeepAlive) silence() time.Duration { return k.interval / 10 * 9 }

// step returns the time between two measurements of the send queue.
func (k *KeepAlive) step() time.Duration { return max(1, min(k.interval, k.timeout)/QueueSteps) }

// deadline returns the time at which an outstanding PINGREQ makes the connection dead.
func (k *KeepAlive) deadline() time.Duration { return max(k.since, k.lastHeard) + k.timeout }
