package stream

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// backoffState is when to connect again.
type backoffState struct {
	policy  *backoff.Backoff
	max     time.Duration
	spread  bool
	attempt int           // failures in a row; a connection that did not last is one
	delay   time.Duration // the interval before the connection or attempt under way
	at      time.Duration // when the next attempt is due; 0: none is
	upAt    time.Duration
}

// init takes a copy of the user's policy. The library's own jitter gives the
// first attempt always Min and late ones always Max, so a fleet would return in
// step: the intervals are taken from it without jitter and spread here.
func (b *backoffState) init(policy *backoff.Backoff) {
	b.spread = policy.Jitter
	policy.Jitter = false
	b.policy = policy
	b.max = policy.ForAttempt(1 << 20)
}

// schedule sets the next attempt after a failure, with slowest after the longest
// interval.
func (b *backoffState) schedule(now time.Duration, slowest bool) {
	b.delay = b.policy.ForAttempt(float64(b.attempt))
	if slowest {
		b.delay = b.max
	}
	if b.spread {
		b.delay -= rand.N(b.delay/2 + 1)
	}
	b.attempt++
	b.at = now + b.delay
}

// lasted starts the intervals over after a connection that held for ten times
// the interval before it, or for the longest one: a broker that takes and drops
// connections does not earn a fast return.
func (b *backoffState) lasted(now time.Duration) {
	if now-b.upAt >= min(10*b.delay, b.max) {
		b.attempt = 0
	}
}

func (l *loop) redialDue() bool {
	return l.backoff.at != 0 && l.now >= l.backoff.at && !l.busy && !l.over
}

// redial has a connection made.
func (l *loop) redial() {
	l.backoff.at = 0
	l.busy = true
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	l.s.core.Go(func() { l.s.connect(ctx) })
}

func (l *loop) attemptFailed(err error) {
	l.cancel()
	l.log.Info("connection failed", "endpoint", l.endpoint.String(), "attempt", l.backoff.attempt+1, "error", err)
	l.s.board.set(func(st *State) { st.Attempt++; st.Err = err })
	l.firstResult(err)
	l.again(err)
}

// again waits for the next attempt, or ends the session.
func (l *loop) again(cause error) {
	if l.s.options.NoReconnect {
		l.s.mu.Lock()
		l.s.fatal = cause
		l.s.mu.Unlock()
		l.over = true
		return
	}
	l.backoff.schedule(l.now, unwelcome(cause))
}

func (l *loop) firstResult(err error) {
	if l.first != nil {
		l.first <- err // cap 1, sent once
		l.first = nil
	}
}

// up begins a connection. What it needs goes out in this order: subscriptions,
// then what was in flight, then what is new.
func (l *loop) up(c *link) {
	o := &l.s.options
	resumed := c.connack.SessionPresent
	l.link, l.endpoint, l.online = c, c.endpoint, true
	l.backoff.upAt = l.now
	l.cancel() // nothing waits on it any more, and it holds memory
	l.cancel = func() {}
	l.keep = keepAlive{lastSent: c.began.Sub(l.s.epoch), lastHeard: l.now}
	l.stats.Connections++
	switch {
	case !o.KeepSession:
	case o.Version == frames.V31: // nobody tells: go on as if it were there
		l.receiver.Doubt()
	case resumed:
		l.purge()
	default:
		l.sender.SessionLost()
		l.receiver.Clear()
	}
	l.restore(resumed || o.Version == frames.V31 && o.KeepSession)
	l.log.Info("connected", "endpoint", l.endpoint.String(), "version", o.Version.String(), "client", o.ClientID, "resumed", resumed)
	l.s.board.set(func(st *State) {
		st.Online, st.Resumed, st.Attempt, st.Err, st.Endpoint = true, resumed, 0, nil, l.endpoint.String()
	})
	l.firstResult(nil)
}

// purge drops the QoS 1 messages that nobody has been handed, since the broker
// sends them again. A Subscription that ends keeps its own: what comes for it
// now is dropped.
func (l *loop) purge() {
	ending := func(box *inbox) bool {
		return box.finished || slices.ContainsFunc(l.subs.leaving, func(s *Subscription) bool { return s.box == box })
	}
	l.s.boxes.purge(func(box *inbox, d *Delivery) bool { return d.QoS == frames.AtLeastOnce && !ending(box) })
}

// fail tears the connection down, without DISCONNECT, so that the broker
// publishes the will. What it leads to happens in down, when reader and writer
// have let go.
func (l *loop) fail(err error) {
	if l.failed != nil || !l.online {
		return
	}
	l.failed = err
	l.link.hangUp()
}

// down ends a connection that failed.
func (l *loop) down() {
	err := l.failed
	l.log.Info("connection lost", "endpoint", l.endpoint.String(), "error", err, "lasted", l.now-l.backoff.upAt)
	l.disconnected(err)
	l.s.board.set(func(st *State) { st.Online, st.Resumed, st.Attempt, st.Err = false, false, 0, err })
	if l.over {
		return
	}
	l.backoff.lasted(l.now)
	l.again(err)
}

// disconnected puts all state to where it is without a connection.
func (l *loop) disconnected(cause error) {
	l.cancel()
	keep := l.s.options.KeepSession
	l.link, l.online, l.failed = nil, false, nil
	l.retryAt = 0
	l.next.bytes, l.next.conn = l.next.bytes[:0], nil
	l.sender.Lost(l.taken, keep, func(e flow.Ended[owner]) { l.ended(&e, unconfirmed(cause)) })
	l.receiver.Lost(keep)
	l.lostRequests()
	l.wakeStages()
}

var errNoPingresp = errors.New("mqtt: the broker did not answer PINGREQ")
