package stream

import (
	"context"
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

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
		case s.Publishes() <- q.publishing():
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
func (s *Session) newRequest(ctx context.Context, p Publishing, stage replyTaker) (*pendingRequest, error) {
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
