package stream

import (
	"context"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Publish publishes m and waits until its QoS exchange is complete. When ctx ends first and m is
// still queued, m is withdrawn and the error wraps ErrNotSent. When ctx ends later in the exchange,
// m may still arrive and the error wraps ErrUnconfirmed.
func (s *Session) Publish(ctx context.Context, m frames.Message) error {
	if err := m.Validate(s.settings.version); err != nil {
		return notSent(err)
	}
	if ctx.Err() != nil {
		return notSent(context.Cause(ctx))
	}
	call, alone := s.calls.begin(m)
	result := loneRefused
	if alone {
		result = s.lone.publish(call)
	}
	switch result {
	case loneWritten:
		s.calls.end(call)
		return nil
	case loneAccepted:
		s.calls.accepted()
	default:
		if !s.calls.leave(call) {
			return notSent(s.life.closed())
		}
	}
	select {
	case r := <-call.receipt:
		s.calls.end(call)
		return r.Err
	case <-ctx.Done():
	}
	if s.calls.takeBack(call) {
		return notSent(gaveUp(ctx, s.states.reason("the queue is full")))
	}
	s.call(func(l *loop) { l.withdraw(call.handle, gaveUpPublish(l, ctx, call.handle)) })
	// Whether m was withdrawn or not, its Receipt is there now. A ready result beats an ended
	// context.
	r := <-call.receipt
	s.calls.end(call)
	return r.Err
}

// Publishes returns the channel that accepts publishings. The channel is unbuffered: when the send
// returns, the session has accepted the publishing, which gets exactly one Receipt. The channel is
// never closed, so use it in a select together with Done.
func (s *Session) Publishes() chan<- Publishing {
	s.lone.close()
	return s.publishes
}

// PublishFrom publishes the messages of in and returns the Receipts, in the order of the messages.
// PublishFrom stops receiving from the channel in when that channel is closed, or when ctx or the
// session ends. It closes the returned channel after the last Receipt. Read the returned channel
// until then. When ctx ends, messages still queued are withdrawn.
func (s *Session) PublishFrom(ctx context.Context, in <-chan frames.Message) <-chan Receipt {
	return publishFrom(ctx, s, func(m, to *frames.Message) error { *to = *m; return nil }, in)
}

// PublishFrom is Session.PublishFrom for values of any type, which the function enc converts to
// messages. A value for which enc fails comes back as the Tag of a Receipt whose Err wraps
// ErrNotSent and the reason.
func PublishFrom[T any](ctx context.Context, s *Session, enc func(T) (frames.Message, error), in <-chan T) <-chan Receipt {
	encode := func(v *T, to *frames.Message) (err error) {
		*to, err = enc(*v)
		return err
	}
	if enc == nil {
		encode = func(*T, *frames.Message) error {
			return link.BadOption("enc", "is nil; PublishFrom needs an Encoder")
		}
	}
	return publishFrom(ctx, s, encode, in)
}

// PublishBatches is PublishFrom for batches. It returns the Receipts of each batch together, in the
// order of its messages.
func (s *Session) PublishBatches(ctx context.Context, in <-chan []frames.Message) <-chan Receipts {
	return startStage(ctx, s, &batchBuffer{validator: validator{version: s.settings.version}}, in, batchesCap)
}

// batchesCap is the buffer size of the channel that PublishBatches returns.
const batchesCap = 8

func publishFrom[T any](ctx context.Context, s *Session, encode func(*T, *frames.Message) error, in <-chan T) <-chan Receipt {
	e := &encoder[T]{validator: validator{version: s.settings.version}, encode: encode}
	return startStage(ctx, s, e, in, max(256, min(stageBatch, s.settings.window+s.settings.queue)))
}

// startStage starts the goroutine of a stage, whose channel of Receipts has room for room values.
func startStage[In, Out any](ctx context.Context, s *Session, buffer stageBuffer[In, Out], in <-chan In, room int) <-chan Out {
	st := &stageRunner[In, Out]{stage: newStage(ctx, s.settings.window+s.settings.queue), buffer: buffer, out: make(chan Out, room)}
	st.life, st.counts = s.life, s.counts
	s.call(func(l *loop) { st.runs = l.intake.stageRuns() })
	st.withdraw = func(st *stage) { s.call(func(l *loop) { l.withdrawStage(st) }) }
	if ctx.Err() != nil {
		in = nil // a stage whose context has ended takes no message
	}
	st.dropped = func(n int) { s.call(func(l *loop) { l.receipts.abandoned(n) }) }
	s.counts.senders.Add(1)
	if !s.life.start(stageHelper, func() { st.run(in) }) {
		close(st.out)
		st.leave()
	}
	return st.out
}
