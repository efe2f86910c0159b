package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestRetryableMeansThatTryingAgainCanHelp(t *testing.T) {
	notSent := func(err error) error { return fmt.Errorf("%w: %w", stream.ErrNotSent, err) }
	for _, row := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{stream.ErrUnconfirmed, false},
		{stream.ErrKept, false},
		{fmt.Errorf("%w: %w", stream.ErrKept, io.EOF), false},
		{stream.ErrBehind, false},
		{notSent(stream.ErrBehind), true},
		{stream.ErrClosed, false},
		{notSent(stream.ErrClosed), false},
		{notSent(&frames.InvalidError{Field: "topic"}), false},
		{notSent(context.Canceled), true},
		{notSent(errors.New("no space left")), true},
		{context.DeadlineExceeded, true},
		{&stream.OptionError{Field: "f"}, false},
		{&stream.RefusedError{}, false},
		{&stream.DowngradedError{}, false},
		{&stream.ConnectError{Code: frames.ServerUnavailable}, true},
		{&stream.ConnectError{Code: frames.NotAuthorized}, false},
		{&stream.ConnectError{Code: frames.ServerBusy}, true},
		{&stream.RefusalError{Code: frames.QuotaExceeded}, false},
		{notSent(stream.ErrExpired), false},
		{notSent(stream.ErrEvicted), false},
		{notSent(stream.ErrFull), true},
		{notSent(&stream.LimitError{Field: "QoS"}), false},
		{notSent(&stream.VersionError{Field: "content type"}), false},
		{&stream.HTTPError{Status: 503}, true},
		{&stream.HTTPError{Status: 403}, false},
		{&tls.CertificateVerificationError{Err: io.EOF}, false},
		{io.ErrUnexpectedEOF, true},
		{errors.New("of somebody else"), false},
		{fmt.Errorf("mqtt: Prepare: %w", &net.OpError{Op: "dial", Err: io.EOF}), true},
		{fmt.Errorf("mqtt: Prepare: %w", errors.New("no such token")), false},
	} {
		if got := stream.Retryable(row.err); got != row.want {
			t.Errorf("%v: %t", row.err, got)
		}
	}
}

// U35: State returns the newest State, and AwaitOnline tells why the session is not online.
func TestAwaitOnlineTellsWhyTheSessionIsNotOnline(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		reason := errors.New("no route to the mill")
		b.Refuse(1, reason)
		o := faultOptions(frames.V311)
		s := open(t, b, o)
		own := errors.New("impatient")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, own)
		defer cancel()
		wantError(t, s.AwaitOnline(ctx), own, context.DeadlineExceeded, reason)
		if n := testing.AllocsPerRun(100, func() { s.State() }); n > 0 {
			t.Errorf("State allocates %v times", n)
		}
		b.Handshake(false)
		wantError(t, s.AwaitOnline(aMinute(t)), nil)
		wantError(t, s.AwaitOnline(ctx), nil) // a ready result beats an ended context
		if st := s.State(); !st.Online || st.Err != nil {
			t.Errorf("State %+v", st)
		}
		s.Close()
		if err := s.AwaitOnline(aMinute(t)); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
