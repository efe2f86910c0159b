package link

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// An error has the prefix once, however many steps add to it, and keeps everything that it wraps.
func TestErrorTextsHaveThePrefixOnce(t *testing.T) {
	ctx, cancel := withTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	e, err := ParseEndpoints("mqtt://broker", nil)
	if err != nil {
		t.Fatal(err)
	}
	late := wrap("Prepare: ", withCause(ctx, wrap("", io.EOF)))
	for _, err := range []error{
		late,
		&endpointError{e[0], late},
		endpointErrors{&endpointError{e[0], late}, &endpointError{e[0], &ConnectError{frames.NotAuthorized}}},
	} {
		if text := err.Error(); !strings.HasPrefix(text, "mqtt: ") || strings.Count(text, "mqtt: ") != 1 {
			t.Errorf("the text is %q", text)
		}
		if !errors.Is(err, io.EOF) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v has lost an error that it wraps", err)
		}
	}
}

func TestRejectedByAllIsRejected(t *testing.T) {
	refused := &ConnectError{frames.NotAuthorized}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused, true},
		{wrap("", &ConnectError{frames.BadUserNameOrPassword}), true},
		{&ConnectError{frames.ServerUnavailable}, false},
		{endpointErrors{refused, refused}, true},
		{endpointErrors{refused, io.EOF}, false},
	} {
		if got := CredentialsRejected(c.err); got != c.want {
			t.Errorf("%v: rejected is %t", c.err, got)
		}
	}
}
