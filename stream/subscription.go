package stream

import (
	"context"
	"fmt"
	"iter"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A Subscription is a set of topic filters with channels of its own. It is restored at every
// connection until Unsubscribe.
type Subscription struct {
	session *Session
	set     *filterSet
}

// Subscribe asks the broker for the filters and waits until it has granted all of them. If it
// refuses one, none stays and the error is a *RefusedError; if ctx ends first, the filters are
// unsubscribed. Messages can arrive before Subscribe returns; they wait in the Subscription.
//
// Messages that wait unclaimed and match are claimed by the new Subscription. A message goes to
// every Subscription that it matches.
func (s *Session) Subscribe(ctx context.Context, filters ...frames.Filter) (*Subscription, error) {
	if err := checkFilters(s.settings.version, filters); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	sub := &Subscription{session: s, set: newFilterSet(s.inboxes.newInbox(), filters)}
	s.call(func(l *loop) { l.subscribe(sub.set) })
	select {
	case err := <-sub.set.reply:
		return sub.orError(err)
	case <-ctx.Done():
	case <-s.life.done:
	}
	s.call(func(l *loop) { l.abandon(sub.set, context.Cause(ctx)) })
	select {
	case err := <-sub.set.reply: // a ready result beats an ended context
		return sub.orError(err)
	default:
		return nil, s.life.closed()
	}
}

func (sub *Subscription) orError(err error) (*Subscription, error) {
	if err != nil {
		return nil, err
	}
	return sub, nil
}

func checkFilters(v frames.Version, filters []frames.Filter) error {
	if len(filters) == 0 { // [MQTT-3.8.3-3]
		return link.BadOption("filters", "are none; SUBSCRIBE needs at least one")
	}
	for i, f := range filters {
		if err := f.Validate(v); err != nil {
			return fmt.Errorf("mqtt: filter %d of %d: %w", i+1, len(filters), err)
		}
	}
	return nil
}

// Messages returns the channel whose hand-off acknowledges a message: nothing is lost before the
// hand-off, nothing is known after it. It is unbuffered, closed after its last value, and the same
// at every call.
func (sub *Subscription) Messages() <-chan frames.Message { return sub.set.inbox.Messages() }

// Deliveries returns the channel of messages that their consumer acknowledges with Ack. It is
// buffered (256), closed after its last value, and the same at every call.
func (sub *Subscription) Deliveries() <-chan Delivery { return sub.set.inbox.Deliveries() }

// All returns an iterator over the messages, without a goroutine. A message is acknowledged when
// the loop asks for the next one; leaving the loop does not acknowledge the last one. It ends
// without an error when the client was closed or unsubscribed, otherwise with the reason: that of
// ctx, or Err.
func (sub *Subscription) All(ctx context.Context) iter.Seq2[Delivery, error] {
	return sub.set.inbox.All(ctx)
}

// Granted returns the QoS that the broker granted for each filter, in order.
func (sub *Subscription) Granted() []frames.QoS { return sub.set.Granted() }

// Err returns why the channels ended; nil while they have not, and after Unsubscribe or Close. A
// broker that refuses a filter when the Subscription is restored ends it with a *RefusedError.
func (sub *Subscription) Err() error { return sub.set.inbox.Err() }

// Unsubscribe ends the Subscription and waits for the broker's UNSUBACK. The channels hand over the
// messages that have arrived, then close: read them to the end, since a message that is left
// withholds the acks of all later ones. Filters that another Subscription of the session has too
// stay subscribed. When ctx ends first, the Subscription ends all the same.
func (sub *Subscription) Unsubscribe(ctx context.Context) error {
	s := sub.session
	reply := make(chan error, 1)
	if !s.call(func(l *loop) { l.unsubscribe(sub.set, reply) }) {
		return s.life.closed()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
	case <-s.life.done:
	}
	select {
	case err := <-reply:
		return err
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.life.closed()
}
