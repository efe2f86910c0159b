package stream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-millrace/mqtt/frames"
)

// replies are the requests of a session that wait for their reply, and the mailbox to which the
// replies come.
//
// Invariant: a request is in waiting from before its publication is accepted until it has its
// result. It gets exactly one.
type replies struct {
	base  string        // OptionsV5.ReplyTopic
	began gate          // opens with the first connection
	late  atomic.Uint64 // replies for which no request waits

	mu      sync.Mutex
	waiting map[correlation]*pendingRequest
	peak    int               // the largest length of waiting since it was made
	leaving []*pendingRequest // gave up, and the loop has not seen them yet
	made    uint64            // requests so far
	version frames.Version
	topic   string   // of the replies; set at the first connection of MQTT 5
	box     *mailbox // nil: the next request opens one
}

// A pendingRequest is one request that waits for its reply.
type pendingRequest struct {
	replies *replies
	box     *mailbox
	ctx     context.Context
	id      correlation
	message frames.Message
	tag     any
	timed   bool // its message expires with ctx

	// One of them gets the result.
	stage  replyTaker
	result chan Reply // cap 1

	// Guarded by replies.mu.
	acknowledged bool  // its publication has ended well, and the reply is missing
	ended        bool  // it has its result
	cause        error // why it gave up; nil is its context
}

// A replyTaker takes the results of many requests. It must not wait.
type replyTaker interface {
	put(*pendingRequest, Reply)
}

// correlation is the correlation data of a request: a counter and 8 random bytes.
type correlation [16]byte

// A mailbox is a Subscription to the topic of the replies, from the call that asks for it to its
// end. All requests share it.
type mailbox struct {
	opened chan struct{} // closed by the call that asks for it

	// Guarded by replies.mu.
	err error // why no reply comes any more; nil while replies can come
	own bool  // err concerns the context of the call that asked alone
}

// lateReplies returns the number of replies for which no request waited. A nil replies has none.
func (r *replies) lateReplies() uint64 {
	if r == nil {
		return 0
	}
	return r.late.Load()
}

// connected begins a connection. Unless the broker has resumed the session, the reply to a request
// that it has acknowledged may be gone. A connection without MQTT 5 carries no requests.
func (r *replies) connected(t *terms) {
	if r == nil {
		return // no request was made yet
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version = t.version
	if r.topic == "" && t.version >= frames.V5 {
		r.topic = r.replyTopic(t)
	}
	for _, q := range r.waiting {
		switch {
		case q.acknowledged && !t.resumed:
			r.finish(q, Reply{Err: unconfirmed(ErrSessionLost)})
		case t.version < frames.V5:
			r.leave(q, &VersionError{Field: "response topic", Need: frames.V5, Have: t.version})
		}
	}
	r.began.set(true)
}

// replyTopic returns the topic for the replies. A client identifier may have characters that a
// topic name must not have.
func (r *replies) replyTopic(t *terms) string {
	base := r.base
	if base == "" && t.server != nil {
		base = strings.TrimSuffix(t.server.ResponseInformation, "/")
	}
	if base == "" || frames.ValidTopicName(base, frames.V5) != nil {
		base = "reply/" + strings.NewReplacer("+", "_", "#", "_").Replace(t.clientID)
	}
	var digits [8]byte
	if t.kept { // the next client of the session subscribes to the same topic, and takes late replies
		sum := sha256.Sum256([]byte(t.clientID))
		copy(digits[:], sum[:])
	} else {
		rand.Read(digits[:])
	}
	return base + "/" + hex.EncodeToString(digits[:])
}

// mailbox returns the mailbox in use. If there is none, it makes one, and reports that the caller
// has to open it.
func (r *replies) mailbox() (box *mailbox, topic string, opens bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version < frames.V5 {
		return nil, "", false, &VersionError{Field: "response topic", Need: frames.V5, Have: r.version}
	}
	if r.box == nil {
		r.box = &mailbox{opened: make(chan struct{})}
		opens = true
	}
	return r.box, r.topic, opens, nil
}

// opened records the result of opening a mailbox.
func (r *replies) opened(box *mailbox, err error, own bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	box.err, box.own = err, own
	if err != nil {
		r.box = nil
	}
	close(box.opened)
}

// failure returns why a mailbox is not open, and whether another try can help.
func (r *replies) failure(box *mailbox) (err error, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return box.err, box.own
}

// close records that no reply comes to box any more. Requests whose publication has not ended yet
// get their result with its Receipt.
func (r *replies) close(box *mailbox, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	box.err = cause
	if r.box == box {
		r.box = nil
	}
	for _, q := range r.waiting {
		if q.box == box && q.acknowledged {
			r.finish(q, Reply{Err: unconfirmed(cause)})
		}
	}
}

// register adds a request, which gets its correlation data. It returns the reason if no reply can
// come to its mailbox.
func (r *replies) register(q *pendingRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.box.err != nil {
		return q.box.err
	}
	r.made++
	binary.BigEndian.PutUint64(q.id[:8], r.made)
	rand.Read(q.id[8:])
	if r.waiting == nil {
		r.waiting = make(map[correlation]*pendingRequest)
	}
	r.waiting[q.id] = q
	r.peak = max(r.peak, len(r.waiting))
	return nil
}

// deliver passes a reply to its request and acknowledges it. The reply of a stage is acknowledged
// too, since a reader that sleeps must not hold back the acks of other messages.
func (r *replies) deliver(d *Delivery) {
	reply := Reply{Delivery: *d}
	reply.seq, reply.from = 0, nil // Ack, Reject and Requeue do nothing
	r.mu.Lock()
	var q *pendingRequest
	if d.Properties != nil && len(d.Properties.Correlation) == len(correlation{}) {
		q = r.waiting[correlation(d.Properties.Correlation)]
	}
	if q == nil {
		r.late.Add(1)
	} else {
		r.finish(q, reply)
	}
	r.mu.Unlock()
	d.Ack()
}

// end finishes a request, unless it has its result.
func (r *replies) end(q *pendingRequest, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finish(q, Reply{Err: err})
}

// published gets the Receipt of the request, from the loop.
func (q *pendingRequest) published(receipt Receipt, _ *slog.Logger) {
	err := receipt.Err
	var downgraded *DowngradedError
	switch {
	case errors.As(err, &downgraded): // the request has arrived
		err = nil
	case q.timed && errors.Is(err, ErrExpired):
		cause := context.Cause(q.ctx)
		if cause == nil {
			cause = context.DeadlineExceeded
		}
		err = notSent(&contextError{cause, ErrExpired})
	}
	if err == nil && receipt.Code == frames.NoMatchingSubscribers {
		err = ErrNoResponder
	}
	r := q.replies
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && q.box.err != nil {
		err = unconfirmed(q.box.err)
	}
	if err != nil {
		r.finish(q, Reply{Err: err})
		return
	}
	q.acknowledged = true
}

// finish passes the result to a request, unless it has one. The caller holds the lock.
func (r *replies) finish(q *pendingRequest, reply Reply) {
	if q.ended {
		return
	}
	q.ended = true
	delete(r.waiting, q.id)
	if len(r.waiting) == 0 && r.peak > sparseRequests {
		r.waiting, r.peak = nil, 0
	}
	reply.Tag = q.tag
	if q.stage != nil {
		q.stage.put(q, reply)
		return
	}
	q.result <- reply // cap 1
}

// sparseRequests is the number of requests whose memory is kept.
const sparseRequests = 256

// giveUp asks the loop to end a request because of cause, or of its context if cause is nil.
func (r *replies) giveUp(q *pendingRequest, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(q, cause)
}

// leave is giveUp for a caller that holds the lock.
func (r *replies) leave(q *pendingRequest, cause error) {
	if !q.ended {
		q.cause = cause
		r.leaving = append(r.leaving, q)
	}
}

// takeLeaving returns the requests that gave up since the last call.
func (r *replies) takeLeaving() []*pendingRequest {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	leaving := r.leaving
	r.leaving = nil
	return leaving
}
