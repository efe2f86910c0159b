package stream

import (
	"context"
	"errors"
	"time"
)

var errNotReceived = errors.New("messages that have arrived are not received yet")

// drainPoll is the interval at which Drain looks at the buffers of channels. A receive from a
// buffered channel wakes nobody but a sender.
const drainPoll = 5 * time.Millisecond

// Drain ends the Subscription and loses no message that has arrived. It sends UNSUBSCRIBE, and the
// channels close when they have handed over the rest. Drain returns when the broker's UNSUBACK has
// come and consumers have received every message: from the channel or in the range loop, which must
// have asked for the next message or ended. It does not wait for Ack. Somebody must go on to
// receive meanwhile, since Drain waits for him.
//
// When ctx ends first, Drain returns the cause of ctx, and the Subscription ends nevertheless:
// messages not received stay in its channels, or are given up by a call of Unsubscribe.
func (sub *Subscription) Drain(ctx context.Context) error {
	if err := sub.end(ctx, false); err != nil {
		return err
	}
	box, life := sub.set.inbox, sub.session.life
	select {
	case <-box.servedChannel():
	case <-ctx.Done():
		return gaveUp(ctx, errNotReceived)
	case <-life.done.passed():
		return life.closed()
	}
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	for box.buffered() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return gaveUp(ctx, errNotReceived)
		case <-life.done.passed():
			return life.closed()
		}
	}
	return nil
}
