package stream

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A Subscription is a set of topic filters with receive channels of its own. Until Unsubscribe is
// called, the session restores the Subscription at every new connection.
type Subscription struct {
	session *Session
	set     *filterSet
}

// Subscribe asks the broker for the filters and waits until the broker has granted all of them. If
// the broker refuses a filter, the Subscription ends and Subscribe returns a *RefusedError. If ctx
// ends first, the Subscription ends, and the error wraps the cause of ctx and the reason known so
// far. If the broker does not answer SUBSCRIBE for 20 s or KeepAlive, whichever is shorter, but
// does answer PINGREQ, Subscribe returns an error that says so.
//
// A Subscription that ends in this way is unsubscribed, unless KeepSession is set: then the
// broker's session stays as it is, since it may have had the filters before. Their messages wait
// unclaimed for the next Subscription.
//
// Messages that arrive before Subscribe returns wait in the Subscription. A message that no
// Subscription has claimed so far moves to the new Subscription if a filter matches it. A message
// that arrives later goes to every Subscription with a matching filter.
func (s *Session) Subscribe(ctx context.Context, filters ...frames.Filter) (*Subscription, error) {
	if err := checkFilters(s.settings.version, filters); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	sub := &Subscription{session: s, set: newFilterSet(s.inboxes.newInbox(), filters, false)}
	s.call(func(l *loop) { l.subscribe(sub.set) })
	select {
	case err := <-sub.set.reply:
		return sub.orError(err)
	case <-ctx.Done():
	case <-s.life.done.passed():
	}
	s.call(func(l *loop) { l.abandon(sub.set, gaveUpRequest(l, ctx, sub.set, frames.TypeSubscribe)) })
	select {
	case err := <-sub.set.reply: // a ready result beats an ended context
		return sub.orError(err)
	default:
		return nil, s.life.closed()
	}
}

// Declare subscribes to the filters from now on and returns at once, online or not. The client asks
// for them at every connection. If the broker refuses a filter, the others live on, and Refused
// names the refused one, which is asked for again at the next connection. Declare claims unclaimed
// messages as Subscribe does. Its error concerns the arguments, or is ErrClosed.
func (s *Session) Declare(filters ...frames.Filter) (*Subscription, error) {
	if err := checkFilters(s.settings.version, filters); err != nil {
		return nil, err
	}
	sub := &Subscription{session: s, set: newFilterSet(s.inboxes.newInbox(), filters, true)}
	if !s.call(func(l *loop) { l.subscribe(sub.set) }) {
		return nil, s.life.closed()
	}
	return sub, nil
}

// Ready returns a channel that is closed when the broker has answered every filter once, or the
// Subscription has ended. It is closed when Subscribe returns.
func (sub *Subscription) Ready() <-chan struct{} { return sub.set.ready }

// Refused returns the filters that the broker refused in its last answers, in order. After Declare
// the Subscription lives on without them, and Err stays nil while its channels are open.
func (sub *Subscription) Refused() []frames.Filter { return sub.set.Refused() }

func (sub *Subscription) orError(err error) (*Subscription, error) {
	if err != nil {
		return nil, err
	}
	return sub, nil
}

func checkFilters(v frames.Version, filters []frames.Filter) error {
	if len(filters) == 0 { // [MQTT-3.8.3-3]
		return link.BadOption("filters", "are missing; SUBSCRIBE needs at least one")
	}
	for i, f := range filters {
		if err := f.Validate(v); err != nil {
			return fmt.Errorf("mqtt: filter %d of %d: %w", i+1, len(filters), err)
		}
	}
	return nil
}

// Messages returns a channel that acknowledges each message when the consumer receives it. A
// message is not lost before that receive, but a consumer that fails afterwards does not get it
// again. The channel is unbuffered, closed after its last value, and the same at every call.
func (sub *Subscription) Messages() <-chan frames.Message { return sub.set.inbox.Messages() }

// Deliveries returns a channel of messages that the consumer acknowledges with Ack. The channel has
// a buffer of 256, is closed after its last value, and is the same at every call.
func (sub *Subscription) Deliveries() <-chan Delivery { return sub.set.inbox.Deliveries() }

// Batches returns a channel of Batches of at most max deliveries, at least 1, for a consumer that
// does work for many messages at once, such as one transaction of a database. A Batch is handed
// over when it is full or has 4 MiB, counted as for ReceiveBytes, and otherwise when the time wait
// has passed since its first message was put into it; a wait of 0 is at once. While nobody receives
// a Batch that is not full, further messages are added to it. The consumer may keep a Batch. It
// acknowledges all its deliveries with Batch.Ack, or each with Delivery.Ack.
//
// A broker sends no more QoS 1 and 2 messages than it may have in flight, which is Receive Maximum
// on MQTT 5 (256 unless OptionsV5.ReceiveMaximum is set) and a setting of the broker before
// (mosquitto: 20). A max above that limit makes each Batch wait for wait.
//
// The channel is unbuffered, closed after its last value, and the same at every call with the same
// arguments. With a max below 1 or a negative wait it is closed from the start, and Err returns an
// *OptionError.
func (sub *Subscription) Batches(max int, wait time.Duration) <-chan Batch {
	return sub.set.inbox.Batches(max, wait)
}

// Latest returns a channel of the newest messages, for a consumer that needs only the present
// values, such as a dashboard. Each message is acknowledged when it arrives, also at QoS 2, so a
// slow consumer holds up nothing. The client keeps the newest messages that nobody has received: N,
// or with PerTopic N of each topic. For a newer one it drops the oldest, and Stats.Superseded
// counts it. A receive never gets a message that was superseded before.
//
// Without PerTopic, messages are handed over in order of arrival. With PerTopic, the topics take
// turns with one message each, and those of one topic are handed over in order of arrival. A newer
// message takes the place of the one that it supersedes, so that no topic waits longer because its
// values change often. A retained message and a message without payload are like any other.
//
// Each message is a copy that the consumer may keep. The messages of a channel count with at most
// Options.ReceiveBytes, or are one message. When more arrive, the oldest message of the topic that
// was updated longest ago is superseded, so the number of topics needs no other bound. They are
// part of Stats.Inbox, InboxBytes and InboxMemory, and do not pause reading.
//
// After Drain, and at the end of a client with NoReconnect, the channel hands over the messages
// that it keeps, and closes. Unsubscribe, Shutdown and Close drop them, which a kept session does
// not deliver again, and Stats.Discarded counts them.
//
// The channel is unbuffered, closed after its last value, and the same at every call with the same
// options. With a negative N it is closed from the start, and Err returns an *OptionError.
func (sub *Subscription) Latest(o LatestOptions) <-chan frames.Message {
	return sub.set.inbox.Latest(o)
}

// All returns an iterator over the messages, which needs no goroutine. A message is acknowledged
// when the range loop asks for the next message; a break leaves the last message unacknowledged.
// The iterator ends without an error after Close or Unsubscribe. Otherwise its last pair has the
// error: the cause of ctx, or Err.
func (sub *Subscription) All(ctx context.Context) iter.Seq2[Delivery, error] {
	return sub.set.inbox.All(ctx)
}

// AllBatches returns an iterator over Batches of at most max deliveries, at least 1. A Batch has
// the messages that are there, at least one and at most 4 MiB of them, counted as for ReceiveBytes.
// The Batch and the payloads in it are lent until the range loop asks for the next Batch, which
// acknowledges all its deliveries. Then their memory is used again, so receiving needs no copy and
// no new memory, unless another Subscription has messages of the same read. To keep a message, keep
// its Message.Clone; Requeue makes a copy by itself.
//
// A break, and a panic in the loop body, leave the last Batch unacknowledged; it may then be kept.
// The iterator needs no goroutine. It ends without an error after Close or Unsubscribe. Otherwise
// its last pair has the error: the cause of ctx, Err, or an *OptionError if max is below 1.
func (sub *Subscription) AllBatches(ctx context.Context, max int) iter.Seq2[Batch, error] {
	return sub.set.inbox.AllBatches(ctx, max)
}

// Granted returns the QoS that the broker granted for each filter, in order. A filter that is
// refused or not answered yet has QoS 0.
func (sub *Subscription) Granted() []frames.QoS { return sub.set.Granted() }

// Err returns the reason why the channels closed. It returns nil while they are open, and after
// Unsubscribe, Drain, Close or Shutdown. If the broker refuses a filter when the session restores
// the Subscription, the Subscription ends with a *RefusedError.
//
// A call of Batches, Latest or Merge with a wrong argument returns a closed channel and does not
// end the Subscription. Err then returns an *OptionError until the next consumer begins: a call
// that makes a channel, or a range loop. A range loop never ends with that error.
func (sub *Subscription) Err() error { return sub.set.inbox.Err() }

// Unsubscribe ends the Subscription at once, and waits for the broker's UNSUBACK. Its channels
// close. Messages that nobody has received, and messages that arrive before the UNSUBACK, are
// acknowledged and dropped; Stats.Discarded counts them. A delivery that was received before still
// needs its Ack. To receive the rest, use Drain. A filter that another Subscription of the session
// shares stays subscribed. When ctx ends before the UNSUBACK comes, Unsubscribe returns the cause
// of ctx, and the Subscription ends nevertheless.
func (sub *Subscription) Unsubscribe(ctx context.Context) error { return sub.end(ctx, true) }

// end unsubscribes and waits for the UNSUBACK. If discard is set, the messages that nobody has
// received are dropped.
func (sub *Subscription) end(ctx context.Context, discard bool) error {
	s := sub.session
	reply := make(chan error, 1)
	if !s.call(func(l *loop) {
		if discard {
			sub.set.inbox.discard(l.discard)
		}
		sub.set.unsubscribe(l.subs, reply)
	}) {
		return s.life.closed()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
	case <-s.life.done.passed():
	}
	var gaveUp error
	s.call(func(l *loop) {
		if ctx.Err() != nil {
			gaveUp = gaveUpRequest(l, ctx, sub.set, frames.TypeUnsubscribe)
		}
	})
	select {
	case err := <-reply:
		return err
	default:
	}
	if gaveUp != nil {
		return gaveUp
	}
	return s.life.closed()
}
