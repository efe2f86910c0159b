package stream

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// loop owns the protocol state of a session. It runs on one goroutine and never
// waits for a user, the network or a disk: what is slow has a goroutine of its
// own, what is full has a list.
type loop struct {
	s     *Session
	log   *slog.Logger
	debug bool          // packets are logged in this turn
	now   time.Duration // of this turn, since the session's epoch
	timer *time.Timer
	armed time.Duration // when timer fires; 0: it does not

	// What is in flight.
	ids      flow.Identifiers
	journal  *flow.Journal // nil: nothing outlives the client
	sender   *flow.Sender[owner]
	receiver *flow.Receiver
	subs     subscriptions
	stats    Stats

	// The connection. busy: the dialer has an attempt or the reader a connection.
	// failed: why it is being torn down, until reader and writer let go.
	link     *link
	endpoint *endpoint // of the link, or of the last one; at first the URL's
	online   bool
	busy     bool
	paused   bool // reading waits for consumers
	failed   error
	backoff  backoffState
	keep     keepAlive
	retryAt  time.Duration // with Retry: when the first ack is overdue; 0: none is awaited
	ease     ease
	cancel   context.CancelFunc
	first    chan<- error // cap 1, for Dial: how the first attempt ended; nil: nobody waits

	// The batch being filled, the one that the writer has, and what is left of
	// the one before.
	next      batch
	inHand    batch
	writing   bool
	rest      bool   // the writer may end
	taken     uint64 // the number of the last batch whose bytes were handed over
	spare     buffers
	owed      []flow.Change // what a failed commit is to be made up for
	commitErr error
	commitAt  time.Duration // when to try again

	// Publishers.
	waiting   intake        // the rest of a stage's row, while the queue is full
	noYield   time.Duration // until when publishers are not waited for
	dirty     []*stage
	lagging   map[chan<- Receipt]*laggard
	flushers  []chan struct{}
	syncers   []syncer
	settled   []uint64
	warnedLag bool

	// The end.
	over     bool
	draining drainPhase
	accepts  bool // the intake is open
}

func newLoop(s *Session, first chan<- error) *loop {
	o := &s.options
	l := &loop{s: s, log: o.Logger, endpoint: s.endpoints[0], first: first, accepts: true, next: batch{number: 1}}
	if o.KeepSession && o.Store != nil {
		l.journal = new(flow.Journal)
	}
	l.sender = flow.NewSender[owner](o.Window, &l.ids, o.Retry, l.journal)
	l.receiver = flow.NewReceiver(l.journal)
	l.backoff.init(o.Reconnect)
	return l
}

func (l *loop) run() {
	l.timer = time.NewTimer(time.Hour)
	l.timer.Stop()
	l.redial()
	for !l.over {
		l.wait()
		l.turn()
	}
	l.end()
}

// wait takes one thing to do, or none if the turn before has made room for what
// waits already. A channel that must not be listened to now is nil.
func (l *loop) wait() {
	s := l.s
	publishes, intakes, events := s.publishes, s.intakes, s.events
	room := l.sender.Queued() < s.options.Queue
	if room && len(l.waiting.row) > 0 {
		return
	}
	if !l.accepts || !room {
		publishes, intakes = nil, nil
	}
	if (l.paused || l.now < l.ease.until) && l.online && l.failed == nil {
		events = nil
	}
	select {
	case p := <-publishes:
		l.tick()
		l.accept(p)
	case in := <-intakes:
		l.tick()
		l.admit(in)
	case e := <-events:
		l.tick()
		l.event(e)
	case w := <-s.writes:
		l.tick()
		l.wrote(w)
	case f := <-s.calls:
		l.tick()
		f(l)
	case <-s.pokes:
		l.tick()
		l.settle()
		l.sweep()
	case <-l.timer.C:
		l.armed = 0
		l.tick()
	case <-s.closing:
		l.tick()
		l.over = true
	}
}

func (l *loop) tick() {
	l.now = time.Since(l.s.epoch)
	l.debug = l.log.Enabled(context.Background(), slog.LevelDebug)
}

// turn does what has become possible and has the batch written.
func (l *loop) turn() {
	if len(l.waiting.row) > 0 {
		l.admit(l.waiting)
	}
	if l.online && l.failed == nil {
		l.acks()
		l.sendRequests()
		l.transmit()
		l.retry()
		l.ping()
	}
	l.flush()
	l.restWriter()
	l.wakeStages()
	if l.failed != nil && !l.busy && !l.writing {
		l.down()
		l.flush() // the store need not wait for the next connection
	}
	l.checkFlushers()
	if l.redialDue() {
		l.redial()
	}
	l.pause()
	l.drain()
	l.arm()
}

// settle takes over what consumers have settled.
func (l *loop) settle() {
	l.settled = l.s.settler.swap(l.settled)
	for _, seq := range l.settled {
		l.receiver.Settle(seq)
	}
}

// acks puts the acks that are due into the batch, in order of arrival.
func (l *loop) acks() {
	for a, ok := l.receiver.Next(); ok; a, ok = l.receiver.Next() {
		l.ack(a)
	}
}

// arm sets the one timer to what comes first. A timer that fires too early does
// no harm, so a deadline that moved away is left alone.
func (l *loop) arm() {
	at := time.Duration(0)
	for _, d := range [...]time.Duration{l.pingAt(), l.retryAt, l.backoff.at, l.commitAt, l.ease.until} {
		if d > l.now && (at == 0 || d < at) {
			at = d
		}
	}
	if at != 0 && (l.armed == 0 || at < l.armed) {
		l.timer.Reset(at - l.now)
		l.armed = at
	}
}

// retry sends again what has waited too long for its ack.
func (l *loop) retry() {
	o := l.s.options.Retry
	if o == nil {
		return
	}
	waits := l.sender.InFlight() > 0 || len(l.subs.asked) > 0
	switch {
	case !waits:
		l.retryAt = 0
	case l.retryAt == 0, len(l.next.bytes) > 0 && l.retryAt > l.now+o.Initial:
		l.retryAt = l.now + o.Initial // what is sent now may be overdue then
	case l.now >= l.retryAt:
		at, ok := l.sender.Overdue(l.next.number, l.now, func(out flow.Outgoing) { l.put(&out) })
		if also, asked := l.retryRequests(); asked && (!ok || also < at) {
			at, ok = also, true
		}
		if l.retryAt = at; !ok {
			l.retryAt = 0
		}
	}
}

// shrink gives memory back: a PINGRESP is the sign of an idle connection.
func (l *loop) shrink() {
	if l.sender.Len() == 0 {
		l.sender.Shrink()
		l.spare = buffers{}
	}
	l.receiver.Shrink()
	l.s.boxes.shrink()
	l.s.waiters.shrink()
	l.rest = true
}
