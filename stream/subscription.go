package stream

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// A Subscription is a set of topic filters with channels of its own. It is
// desired state: it is restored at every connection until Unsubscribe.
type Subscription struct {
	box     *inbox
	filters []frames.Filter
	granted []frames.QoS // guarded by boxes.mu; one for each filter

	// Owned by the loop.
	state   phase
	open    int             // SUBSCRIBE or UNSUBSCRIBE packets that are not acknowledged
	refused []frames.Filter // by the acks so far
	reply   chan error      // cap 1, to Subscribe
	leavers []chan<- error  // cap 1 each, to Unsubscribe
}

// phase is where in its life a Subscription is.
type phase byte

const (
	asking  phase = iota // Subscribe waits
	active               // its filters are desired
	leaving              // UNSUBSCRIBE is on its way
	gone
)

// Subscribe asks the broker for the filters and waits until it has granted all
// of them. If it refuses one, none stays and the error is a *RefusedError; if
// ctx ends first, what was asked for is taken back. Messages can arrive before
// Subscribe returns; they wait in the Subscription.
//
// Messages that wait unclaimed and match are claimed by the new Subscription.
// A message goes to every Subscription that it matches.
func (s *Session) Subscribe(ctx context.Context, filters ...frames.Filter) (*Subscription, error) {
	if err := checkFilters(s.options.Version, filters); err != nil {
		return nil, err
	}
	sub := &Subscription{
		box:     newInbox(s),
		filters: slices.Clone(filters),
		granted: make([]frames.QoS, len(filters)),
		reply:   make(chan error, 1),
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.call(func(l *loop) { l.subscribe(sub) })
	select {
	case err := <-sub.reply:
		return sub.orError(err)
	case <-ctx.Done():
	case <-s.done:
	}
	s.call(func(l *loop) { l.giveUp(sub, context.Cause(ctx)) })
	select {
	case err := <-sub.reply: // a ready result beats an ended context
		return sub.orError(err)
	default:
		return nil, s.endedBy()
	}
}

func (sub *Subscription) orError(err error) (*Subscription, error) {
	if err != nil {
		return nil, err
	}
	return sub, nil
}

// Messages returns the channel whose hand-off settles a message: nothing is
// lost on the way to the hand-off, nothing is known after it. It is unbuffered,
// closed after its last value, and the same at every call.
func (sub *Subscription) Messages() <-chan frames.Message { return sub.box.Messages() }

// Deliveries returns the channel of messages that their consumer settles with
// Ack. It is buffered (256), closed after its last value, and the same at every
// call.
func (sub *Subscription) Deliveries() <-chan Delivery { return sub.box.Deliveries() }

// All returns an iterator over the messages, without a goroutine. A message is
// settled when the loop asks for the next one; leaving the loop does not settle
// the last one.
func (sub *Subscription) All(ctx context.Context) iter.Seq2[Delivery, error] { return sub.box.All(ctx) }

// Granted returns the QoS that the broker granted for each filter, in order.
func (sub *Subscription) Granted() []frames.QoS {
	mu := &sub.box.s.boxes.mu
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(sub.granted)
}

// Err returns why the channels ended; nil while they have not, and after
// Unsubscribe or Close. A broker that refuses a filter when the subscription is
// restored ends it with a *RefusedError.
func (sub *Subscription) Err() error { return sub.box.Err() }

// Unsubscribe ends the Subscription and waits for the broker's UNSUBACK. The
// channels hand over what had arrived, then close: read them to the end, since
// what is left withholds the acks of all later messages. Filters that another
// Subscription of the session has too stay subscribed. When ctx ends first, the
// Subscription ends all the same.
func (sub *Subscription) Unsubscribe(ctx context.Context) error {
	s := sub.box.s
	reply := make(chan error, 1)
	if !s.call(func(l *loop) { l.unsubscribe(sub, reply) }) {
		return s.endedBy()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
	case <-s.done:
	}
	select {
	case err := <-reply:
		return err
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.endedBy()
}

func checkFilters(v frames.Version, filters []frames.Filter) error {
	if len(filters) == 0 { // [MQTT-3.8.3-3]
		return badOption("filters", "are none; SUBSCRIBE needs at least one")
	}
	for i, f := range filters {
		if err := f.Validate(v); err != nil {
			return fmt.Errorf("mqtt: filter %d of %d: %w", i+1, len(filters), err)
		}
	}
	return nil
}
