package stream

import (
	"context"
	"sync"
	"time"
)

// A requestStage is the state of one call of Requests. Its goroutine receives requests from the
// user's channel, sends them to the loop, and passes on the replies in the order in which they
// come.
//
// Invariant: open and results together have at most limit requests, or twice as many while the
// session is behind.
type requestStage struct {
	ctx     context.Context
	session *Session
	limit   int

	out  chan Reply    // the goroutine sends to it and closes it
	wake chan struct{} // cap 1: ended has results

	mu    sync.Mutex
	ended []endedRequest // from the loop and the mailbox to the goroutine

	// Owned by the goroutine.
	open    map[*pendingRequest]time.Time // the requests without a result, and when their messages expire
	next    *pendingRequest               // in open, and not yet sent
	results []Reply                       // not yet passed on
	passed  uint64                        // how many were passed on
	expiry  *time.Timer                   // nil before the first request that expires
	armed   time.Time                     // zero: expiry is not running
}

type endedRequest struct {
	request *pendingRequest
	reply   Reply
}

// Requests publishes the requests of in and returns their replies, in the order in which they come:
// one Reply for each request, with its Tag. At most Window+Queue requests are under way. Requests
// stops receiving from in when that channel is closed, or when ctx or the session ends. It closes
// the returned channel after the last Reply.
func (s *Session) Requests(ctx context.Context, in <-chan Publishing) <-chan Reply {
	st := &requestStage{
		ctx: ctx, session: s, limit: s.settings.window + s.settings.queue,
		out: make(chan Reply, repliesCap), wake: make(chan struct{}, 1),
		open: make(map[*pendingRequest]time.Time),
	}
	if ctx.Err() != nil {
		in = nil // a stage whose context has ended takes no request
	}
	s.counts.senders.Add(1)
	if !s.life.start(stageHelper, func() { st.run(in) }) {
		st.leave()
	}
	return st.out
}

// repliesCap is the buffer size of the channel of replies.
const repliesCap = 256

// put passes the result of a request to the stage. It never waits.
func (st *requestStage) put(q *pendingRequest, r Reply) {
	st.mu.Lock()
	st.ended = append(st.ended, endedRequest{q, r})
	st.mu.Unlock()
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine of the stage.
func (st *requestStage) run(in <-chan Publishing) {
	defer st.leave()
	s := st.session
	cancel, stopping, abandon := st.ctx.Done(), s.life.intakeEnds.wait(), s.counts.abandon.wait()
	if stopping == nil || abandon == nil {
		return // the session has ended
	}
	var grace <-chan time.Time // runs after ctx has ended
	var passed uint64          // st.passed when it began
	for in != nil || len(st.open)+len(st.results) > 0 {
		behind, takes := st.takes()
		source := in
		if !takes {
			source = nil
		}
		publishes, publishing := st.send()
		out, reply := st.first()
		select {
		case p, ok := <-source:
			if !ok {
				in = nil
				continue
			}
			st.take(p)
		case publishes <- publishing:
			st.next = nil
		case out <- reply:
			st.pop(1)
		case <-st.wake:
			st.collect()
		case <-behind: // takes more now
		case <-st.expires():
			st.expire()
		case <-cancel:
			in, cancel = nil, nil
			st.giveUp()
			grace, passed = time.After(receiptGrace), st.passed
		case <-grace:
			if st.passed == passed { // nobody has received a Reply since
				st.abandon()
				return
			}
			grace, passed = time.After(receiptGrace), st.passed
		case <-stopping:
			in, stopping = nil, nil
			if st.next != nil {
				s.replies().end(st.next, notSent(s.life.closed()))
				st.next = nil
			}
		case <-abandon:
			return
		}
	}
}

// takes reports whether the stage may receive another request. A stage at its limit may if the
// session is behind, and refuses it; if it is not behind, the channel is closed when that begins.
func (st *requestStage) takes() (behind <-chan struct{}, takes bool) {
	n := len(st.open) + len(st.results)
	if st.next == nil && n < st.limit {
		return nil, true
	}
	if n >= 2*st.limit {
		return nil, false
	}
	behind = st.session.counts.behind.wait()
	return behind, behind == nil
}

// take begins a request. While the session is behind, a request that finds no room is refused,
// since its sender may be the consumer that has to take messages.
func (st *requestStage) take(p Publishing) {
	st.session.counts.waiting.Add(1)
	if st.next != nil || len(st.open)+len(st.results) >= st.limit {
		st.results = append(st.results, Reply{Tag: p.Tag, Err: notSent(ErrBehind)})
		return
	}
	q, err := st.session.newRequest(st.ctx, p, st)
	if err != nil {
		st.results = append(st.results, Reply{Tag: p.Tag, Err: notSent(err)})
		return
	}
	var expires time.Time
	if left, ok := p.Properties.Left(time.Now()); ok {
		expires = time.Now().Add(left)
		st.arm(expires)
	}
	st.open[q], st.next = expires, q
}

// send returns the channel for the next request, nil if there is none.
func (st *requestStage) send() (chan<- Publishing, Publishing) {
	if st.next == nil {
		return nil, Publishing{}
	}
	return st.session.Publishes(), st.next.publishing()
}

// first returns the first result, and the channel for it, nil if there is none.
func (st *requestStage) first() (chan<- Reply, Reply) {
	if len(st.results) == 0 {
		return nil, Reply{}
	}
	return st.out, st.results[0]
}

// pop removes the first n results.
func (st *requestStage) pop(n int) {
	clear(st.results[:n])
	if st.results = st.results[n:]; len(st.results) == 0 {
		st.results = nil
	}
	st.passed += uint64(n)
	st.session.counts.took(n)
}

// collect takes the results of requests that have ended, and passes on as many as there is room
// for.
func (st *requestStage) collect() {
	st.mu.Lock()
	ended := st.ended
	st.ended = nil
	st.mu.Unlock()
	for _, e := range ended {
		delete(st.open, e.request)
		if st.next == e.request {
			st.next = nil
		}
		st.results = append(st.results, e.reply)
	}
	n := 0
	defer func() { st.pop(n) }()
	for n < len(st.results) {
		select {
		case st.out <- st.results[n]:
			n++
		default:
			return
		}
	}
}

// giveUp ends all requests, since ctx has ended.
func (st *requestStage) giveUp() {
	if st.next != nil {
		st.session.replies().end(st.next, notSent(context.Cause(st.ctx)))
		st.next = nil
	}
	for q := range st.open {
		st.session.replies().giveUp(q, nil)
	}
	st.session.call(withdrawRequests)
}

// expires returns the channel of the timer.
func (st *requestStage) expires() <-chan time.Time {
	if st.expiry == nil {
		return nil
	}
	return st.expiry.C
}

// arm sets the timer to at, unless it fires before.
func (st *requestStage) arm(at time.Time) {
	if !st.armed.IsZero() && !at.Before(st.armed) {
		return
	}
	st.armed = at
	if st.expiry == nil {
		st.expiry = time.NewTimer(time.Until(at))
		return
	}
	st.expiry.Reset(time.Until(at))
}

// expire ends the requests whose messages have expired. The next check follows after expiryPause at
// the earliest, since each one visits all requests.
func (st *requestStage) expire() {
	now := time.Now()
	st.armed = time.Time{}
	var next time.Time
	expired := false
	for q, at := range st.open {
		switch {
		case at.IsZero():
		case !at.After(now):
			expired = true
			st.open[q] = time.Time{}
			if q != st.next {
				st.session.replies().giveUp(q, ErrExpired)
				continue
			}
			st.session.replies().end(q, notSent(ErrExpired))
			st.next = nil
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	if expired {
		st.session.call(withdrawRequests)
	}
	if !next.IsZero() {
		if pause := now.Add(expiryPause); next.Before(pause) {
			next = pause
		}
		st.arm(next)
	}
}

const expiryPause = 10 * time.Millisecond

// abandon drops the results that nobody receives after ctx has ended.
func (st *requestStage) abandon() {
	st.collect()
	n := len(st.results)
	st.session.counts.took(n)
	st.session.call(func(l *loop) {
		l.receipts.failed += uint64(n)
		l.log.Warn("nobody receives the replies of a Requests whose context has ended; they are dropped", "replies", n)
	})
}

// leave closes the channel of replies. It is the last call of the stage's goroutine.
func (st *requestStage) leave() {
	if st.expiry != nil {
		st.expiry.Stop()
	}
	close(st.out)
	st.session.counts.senders.Add(-1)
	st.session.life.wake()
}
