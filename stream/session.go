package stream

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/go-millrace/mqtt/frames"
)

// Session is one MQTT session across any number of connections. Its methods are safe for concurrent
// use.
type Session struct {
	settings  settings
	commands  commands          // for the loop
	publishes chan<- Publishing // to the loop, never closed
	calls     *publishCalls     // calls of Publish that the loop has not accepted
	lone      lonePath          // for a call of Publish that is alone
	counts    *receiptCounts    // shared with the stages of PublishFrom and lagging Ack channels
	inboxes   *inboxes          // of Subscriptions, and of messages that none claims
	states    *stateFeed
	requests  atomic.Pointer[replies] // made with the first request
	timings   timings
	life      *life
}

// call runs f on the loop and waits until f has returned. It returns false, without running f, when
// the session is ending.
func (s *Session) call(f command) bool {
	ran := make(chan bool, 1)
	if !s.commands.add(waitingCommand{f, ran}) {
		return false
	}
	s.life.wake()
	return <-ran
}

// Err returns the reason why the session ended by itself. It returns nil while the session runs,
// and after Close and Shutdown.
func (s *Session) Err() error { return s.life.Err() }

// Done returns a channel that is closed when the session has ended. By then all receive channels
// are closed and all goroutines of the session are gone.
func (s *Session) Done() <-chan struct{} { return s.life.done.passed() }

// Messages returns a channel like Subscription.Messages, for the messages that no Subscription
// claims.
func (s *Session) Messages() <-chan frames.Message { return s.inboxes.unclaimed.Messages() }

// Deliveries returns a channel like Subscription.Deliveries, for the messages that no Subscription
// claims.
func (s *Session) Deliveries() <-chan Delivery { return s.inboxes.unclaimed.Deliveries() }

// All returns an iterator like Subscription.All, for the messages that no Subscription claims.
func (s *Session) All(ctx context.Context) iter.Seq2[Delivery, error] {
	return s.inboxes.unclaimed.All(ctx)
}

// Online returns a channel that is closed while the session is connected. Call Online again for
// each wait, since every lost connection brings a new channel.
func (s *Session) Online() <-chan struct{} { return s.states.Online() }

// State returns the newest State.
func (s *Session) State() State { return s.states.State() }

// AwaitOnline waits until the session is connected. If ctx ends first, the error wraps ctx.Err(),
// the cause of ctx and the reason why the session is not connected. If the session ends first, the
// error wraps ErrClosed and the reason.
func (s *Session) AwaitOnline(ctx context.Context) error {
	online := s.states.Online()
	select {
	case <-online: // a ready result beats an ended context
		return nil
	default:
	}
	select {
	case <-online:
		return nil
	case <-s.life.done.passed():
		return s.life.closed()
	case <-ctx.Done():
		return gaveUp(ctx, s.states.reason("the connection has just been made"))
	}
}

// States returns a channel that first has the present State, then each new one. A slow reader gets
// only the newest State. The channel is closed when ctx or the session ends.
func (s *Session) States(ctx context.Context) <-chan State { return s.states.States(ctx) }

// Timings sets t to the durations recorded since its first call. The first call begins the
// recording and sets t to zero; with a nil t it only does the former. Later calls do not allocate,
// and no call waits. Timings may be called at any time, also after the end of the session.
func (s *Session) Timings(t *Timings) { s.timings.read(t) }
