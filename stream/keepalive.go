package stream

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// keepAlive watches a connection for silence, ours and the broker's.
type keepAlive struct {
	lastSent  time.Duration
	lastHeard time.Duration
	pingedAt  time.Duration
	pinged    bool   // a PINGREQ awaits its PINGRESP
	bytesIn   uint64 // when the broker was last heard or looked at
}

func (k *keepAlive) sent(now time.Duration)  { k.lastSent = now }
func (k *keepAlive) heard(now time.Duration) { k.lastHeard = now }
func (k *keepAlive) answered()               { k.pinged = false }

// maxPingWait is the longest time that a PINGRESP may take.
const maxPingWait = 10 * time.Second

// silence is how long nothing is sent before PINGREQ is due: nine tenths of
// the keep alive, since it must reach the broker within all of it
// [MQTT-3.1.2-23]. What is received does not count.
func (l *loop) silence() time.Duration { return l.s.options.KeepAlive / 10 * 9 }

// gone is when a broker that owes a PINGRESP is given up: nothing at all came
// from it for the keep alive, or for ten seconds.
func (l *loop) gone() time.Duration {
	return max(l.keep.pingedAt, l.keep.lastHeard) + min(l.s.options.KeepAlive, maxPingWait)
}

// ping sends PINGREQ when it is due and closes the connection when its answer
// is overdue. While we do not read, the broker cannot be heard.
func (l *loop) ping() {
	if l.s.options.KeepAlive == 0 {
		return
	}
	if l.keep.pinged && !l.paused && l.now >= l.gone() {
		if in := l.link.bytesIn.Load(); in != l.keep.bytesIn { // part of a long packet
			l.keep.bytesIn = in
			l.keep.heard(l.now)
		} else {
			l.fail(errNoPingresp)
			return
		}
	}
	if l.now < l.keep.lastSent+l.silence() || len(l.next.bytes) > 0 || l.inHand.conn != nil {
		return // a write under way is no silence: WriteTimeout watches it
	}
	l.next.bytes = must(frames.Pingreq{}.Append(l.next.bytes, l.s.options.Version))
	if l.debug {
		l.log.Debug("sent", "type", frames.TypePingreq.String(), "size", len(l.next.bytes))
	}
	if !l.keep.pinged {
		l.keep.pinged, l.keep.pingedAt = true, l.now
		l.keep.bytesIn = l.link.bytesIn.Load()
	}
}

// pingAt is when ping has something to do.
func (l *loop) pingAt() time.Duration {
	if l.s.options.KeepAlive == 0 || !l.online || l.failed != nil {
		return 0
	}
	at := l.keep.lastSent + l.silence()
	if at <= l.now { // it is in the batch, and the writer is busy
		at = l.now + l.silence()
	}
	if l.keep.pinged && !l.paused {
		at = min(at, l.gone())
	}
	return at
}
