package stream

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// ErrNoResponder says that the broker has the request, and that nobody subscribes to its topic
// (MQTT 5, reason code 0x10, no matching subscribers). Some brokers never say so.
var ErrNoResponder = errors.New("mqtt: nobody subscribes to the topic of the request")

// A request is one request that waits for its reply.
type pendingRequest struct {
	replies *replies
	box     *mailbox
	ctx     context.Context
	id      correlation
	message frames.Message
	tag     any
	timed   bool // its message expires with ctx

	// One of them gets the result.
	stage  *requestStage
	result chan Reply // cap 1

	// Guarded by replies.mu.
	acknowledged bool  // its publication has ended well, and the reply is missing
	ended        bool  // it has its result
	cause        error // why it gave up; nil is its context
}

// Request publishes m and waits for the reply (MQTT 5, section 4.10). It returns as soon as the
// reply is there. An error tells the fate of m, as for Publish. When ctx ends, m is withdrawn if it
// is still queued.
func (s *Session) Request(ctx context.Context, m frames.Message) (frames.Message, error) {
	q, err := s.newRequest(ctx, Publishing{Message: m}, nil)
	if err != nil {
		return frames.Message{}, notSent(err)
	}
	behind, intakeEnds := s.counts.behind.wait(), s.life.intakeEnds.wait()
	switch {
	case behind == nil:
		err = ErrBehind
	case intakeEnds == nil:
		err = s.life.closed()
	default:
		select {
		case s.publishes <- q.publishing():
		case <-ctx.Done():
			err = gaveUp(ctx, s.states.reason("the queue is full"))
		case <-behind:
			err = ErrBehind
		case <-intakeEnds:
			err = s.life.closed()
		}
	}
	if err != nil {
		s.replies().end(q, notSent(err))
	}
	select {
	case r := <-q.result: // a ready result beats an ended context
		return r.Message, r.Err
	default:
	}
	select {
	case r := <-q.result:
		return r.Message, r.Err
	case <-behind: // the reply would lie unread
		s.replies().giveUp(q, ErrBehind)
	case <-ctx.Done():
		s.replies().giveUp(q, nil)
	}
	s.call(withdrawRequests) // otherwise the session ends, and with it each request
	r := <-q.result
	return r.Message, r.Err
}

// newRequest makes a request, whose reply can come from now on. The stage is nil for a call of
// Request.
func (s *Session) newRequest(ctx context.Context, p Publishing, stage *requestStage) (*pendingRequest, error) {
	if err := checkRequest(&p.Message); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	box, topic, err := s.openMailbox(ctx)
	if err != nil {
		return nil, err
	}
	q := &pendingRequest{replies: s.replies(), box: box, ctx: ctx, message: p.Message, tag: p.Tag, stage: stage}
	if stage == nil {
		q.result = make(chan Reply, 1)
	}
	var properties frames.Properties
	if p.Properties != nil {
		properties = *p.Properties
	}
	properties.ResponseTopic, properties.Correlation = topic, q.id[:]
	q.timed = s.expireWith(ctx, &properties)
	q.message.Properties = &properties
	return q, s.replies().register(q)
}

// checkRequest checks the message of a request.
func checkRequest(m *frames.Message) error {
	const reason = "is set, but the client chooses it for a request"
	switch p := m.Properties; {
	case p == nil:
	case p.ResponseTopic != "":
		return &frames.InvalidError{Field: "response topic", Reason: reason}
	case p.Correlation != nil:
		return &frames.InvalidError{Field: "correlation data", Reason: reason}
	}
	return m.Validate(frames.V5)
}

// expireWith sets the message expiry interval of a request that has none to the time left until the
// deadline of ctx, and reports whether it has.
func (s *Session) expireWith(ctx context.Context, p *frames.Properties) bool {
	deadline, ok := ctx.Deadline()
	if _, has := p.Left(time.Now()); has || !ok {
		return false
	}
	left := (time.Until(deadline) + time.Second - 1).Truncate(time.Second)
	if left > math.MaxUint32*time.Second || s.settings.expiry > 0 && s.settings.expiry < left {
		return false
	}
	p.Expiry = max(left, time.Second)
	return true
}

// publishing returns the publication, whose Receipt comes to q.
func (q *pendingRequest) publishing() Publishing { return Publishing{Message: q.message, Tag: q} }

// published gets the Receipt of the request, from the loop.
func (q *pendingRequest) published(receipt Receipt, _ *slog.Logger) {
	err := receipt.Err
	var lowered *DowngradedError
	switch {
	case errors.As(err, &lowered): // the request has arrived
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

// openMailbox returns the mailbox, and the topic of the replies. The first request opens the
// mailbox, once there was a connection. If that fails, all requests that wait meanwhile fail too,
// unless the reason is the context of that first request.
func (s *Session) openMailbox(ctx context.Context) (*mailbox, string, error) {
	if s.settings.version < frames.V5 {
		return nil, "", &VersionError{Field: "response topic", Need: frames.V5, Have: s.settings.version}
	}
	if began := s.replies().began.wait(); began != nil {
		intakeEnds := s.life.intakeEnds.wait()
		if intakeEnds == nil {
			return nil, "", s.life.closed()
		}
		select {
		case <-began:
		case <-intakeEnds:
			return nil, "", s.life.closed()
		case <-ctx.Done():
			return nil, "", gaveUp(ctx, s.states.reason("the connection has just been made"))
		}
	}
	for {
		box, topic, opens, err := s.replies().mailbox()
		if err != nil {
			return nil, "", err
		}
		if opens {
			s.subscribeMailbox(ctx, box, topic)
		}
		select {
		case <-box.opened:
		default:
			select {
			case <-box.opened:
			case <-ctx.Done():
				return nil, "", gaveUp(ctx, s.states.reason("the topic of the replies is not subscribed yet"))
			}
		}
		if err, again := s.replies().failure(box); err == nil {
			return box, topic, nil
		} else if !again || ctx.Err() != nil {
			return nil, "", err
		}
	}
}

// failure returns why a mailbox is not open, and whether another try can help.
func (r *replies) failure(box *mailbox) (err error, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return box.err, box.own
}

// subscribeMailbox opens a mailbox. QoS 1 is enough, since the correlation data show a second copy.
func (s *Session) subscribeMailbox(ctx context.Context, box *mailbox, topic string) {
	sub, err := s.Subscribe(ctx, frames.Filter{Topic: topic, QoS: frames.AtLeastOnce})
	s.replies().opened(box, sub, err, err != nil && ctx.Err() != nil)
	if err == nil && !s.life.start(feeder, func() { s.readMailbox(box) }) {
		s.replies().close(box, s.life.closed())
	}
}

// readMailbox passes on the replies, on a goroutine of its own, until no more can come.
func (s *Session) readMailbox(box *mailbox) {
	inbox := box.sub.set.inbox
	var chunk []Delivery
	for chunk = inbox.take(nil, chunk); len(chunk) > 0; chunk = inbox.take(nil, chunk[:0]) {
		for i := range chunk {
			s.replies().deliver(&chunk[i])
		}
		inbox.done(nil)
		clear(chunk)
	}
	cause := box.sub.Err()
	if cause == nil || s.life.Err() != nil {
		cause = s.life.closed()
	}
	s.replies().close(box, cause)
}

// withdrawRequests ends the requests that gave up. Their publications are withdrawn if they are
// still queued. All of them take one pass over the publications.
func withdrawRequests(l *loop) {
	leaving := l.receipts.replies.takeLeaving()
	if len(leaving) == 0 {
		return
	}
	gone := make(map[*pendingRequest]flow.Handle, len(leaving))
	for _, q := range leaving {
		gone[q] = flow.Handle{}
	}
	l.sender.Each(func(h flow.Handle, o owner) {
		if q, ok := o.tag.(*pendingRequest); ok {
			if _, leaves := gone[q]; leaves {
				gone[q] = h
			}
		}
	})
	for _, q := range leaving {
		cause := q.cause
		h := gone[q]
		if h == (flow.Handle{}) {
			if cause == nil {
				cause = gaveUp(q.ctx, l.link.states.reason("there is no reply"))
			}
			l.receipts.replies.end(q, unconfirmed(cause))
			continue
		}
		if cause == nil {
			cause = gaveUpPublish(l, q.ctx, h)
		}
		l.withdraw(h, cause)
	}
}
