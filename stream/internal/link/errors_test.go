package link

import (
	"context"
	"errors"
	"io"
	"os"
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
		endpointErrors{&endpointError{e[0], late}, &endpointError{e[0], &ConnectError{Code: frames.NotAuthorized}}},
	} {
		if text := err.Error(); !strings.HasPrefix(text, "mqtt: ") || strings.Count(text, "mqtt: ") != 1 {
			t.Errorf("the text is %q", text)
		}
		if !errors.Is(err, io.EOF) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v has lost an error that it wraps", err)
		}
	}
}

// endsLater is a context whose deadline has passed, and which has not ended yet.
type endsLater struct{ context.Context }

func (endsLater) Deadline() (time.Time, bool) { return time.Now(), true }

// The timer of a net.Dialer may fire before the timer of its context.
func TestATimeoutAtTheDeadlineHasTheCauseOfItsContext(t *testing.T) {
	cause := errors.New("too late")
	ctx, cancel := context.WithCancelCause(context.Background())
	if err := withCause(endsLater{ctx}, io.EOF); !errors.Is(err, io.EOF) || errors.Is(err, cause) {
		t.Errorf("no timeout: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if err := withCause(endsLater{ctx}, os.ErrDeadlineExceeded); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, cause) {
		t.Errorf("a timeout: %v", err)
	}
}

func TestRejectedByAllIsRejected(t *testing.T) {
	refused := &ConnectError{Code: frames.NotAuthorized}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused, true},
		{wrap("", &ConnectError{Code: frames.BadUserNameOrPassword}), true},
		{&ConnectError{Code: frames.ServerUnavailable}, false},
		{endpointErrors{refused, refused}, true},
		{endpointErrors{refused, io.EOF}, false},
	} {
		if got := Useless(c.err); got != c.want {
			t.Errorf("%v: rejected is %t", c.err, got)
		}
	}
}

// V88: an error quotes at most 1,024 bytes of a reason string, without control characters, and cuts
// no character in two.
func TestAReasonStringIsQuotedAndCut(t *testing.T) {
	for reason, want := range map[string]string{
		"":                                   "",
		"a \"b\"\n\x00\u202e":                ` ("a \"b\"\n\x00\u202e")`,
		strings.Repeat("x", 60_000):          ` ("` + strings.Repeat("x", 1024) + `")`,
		strings.Repeat("é", 1024):            ` ("` + strings.Repeat("é", 512) + `")`,
		"x" + strings.Repeat("é", 1024):      ` ("x` + strings.Repeat("é", 511) + `")`,
		"x" + strings.Repeat("é", 511) + "z": ` ("x` + strings.Repeat("é", 511) + `z")`,
	} {
		if got := Quote(reason); got != want {
			t.Errorf("%.40q: %s", reason, got)
		}
		for _, err := range []error{
			&ConnectError{Code: frames.Banned, Reason: reason},
			&DisconnectError{Code: frames.Banned, Reason: reason},
		} {
			if text := err.Error(); !strings.HasSuffix(text, ": banned"+want) || !errors.Is(err, frames.Banned) {
				t.Errorf("%.80s", text)
			}
			once(t, err)
		}
	}
}
