package stream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U47: a call whose context has ended before it sends nothing. The error has the cause.
func TestACallWithAnEndedContextSendsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
		reason := errors.New("too late")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		for range 100 {
			for _, q := range levels {
				wantError(t, s.Publish(ctx, message("t", "", q)), stream.ErrNotSent, reason)
			}
			sub, err := s.Subscribe(ctx, frames.Filter{Topic: "t"})
			if sub != nil {
				t.Fatal("Subscribe returned a Subscription")
			}
			wantError(t, err, reason)
			in := make(chan frames.Message, 1)
			in <- message("t", "", 0)
			for r := range s.PublishFrom(ctx, in) {
				wantError(t, r.Err, stream.ErrNotSent)
			}
		}
		c.ExpectQuiet(time.Hour)
		if st := s.Stats(); st.Sent > 0 || st.Queued > 0 || st.Subscribed > 0 {
			t.Errorf("%+v", st)
		}
	})
}
