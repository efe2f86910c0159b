package stream

import (
	"context"

	"github.com/go-millrace/mqtt/frames"
)

// replies returns the replies of the session, which the first request makes.
func (s *Session) replies() *replies {
	if r := s.requests.Load(); r != nil {
		return r
	}
	made := &replies{}
	s.call(func(l *loop) {
		if l.receipts.replies == nil {
			l.receipts.replies = made
			if l.link.online() {
				made.connected(&l.link.terms)
			}
			s.requests.Store(made)
		}
		made = l.receipts.replies
	})
	return made
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

// subscribeMailbox opens a mailbox. QoS 1 is enough, since the correlation data show a second copy.
func (s *Session) subscribeMailbox(ctx context.Context, box *mailbox, topic string) {
	sub, err := s.Subscribe(ctx, frames.Filter{Topic: topic, QoS: frames.AtLeastOnce})
	s.replies().opened(box, err, err != nil && ctx.Err() != nil)
	if err == nil && !s.life.start(feeder, func() { s.readMailbox(box, sub) }) {
		s.replies().close(box, s.life.closed())
	}
}

// readMailbox passes on the replies, on a goroutine of its own, until no more can come.
func (s *Session) readMailbox(box *mailbox, sub *Subscription) {
	inbox := sub.set.inbox
	for c := (chunk{}); inbox.take(nil, &c); clear(c.deliveries) {
		s.inboxes.hands.over(&c, len(c.deliveries))
		for i := range c.deliveries {
			s.replies().deliver(&c.deliveries[i])
		}
		inbox.done(&c, len(c.deliveries))
	}
	cause := sub.Err()
	if cause == nil || s.life.Err() != nil {
		cause = s.life.closed()
	}
	s.replies().close(box, cause)
}
