package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A contextError is the error of a call that ended by its context. It wraps the cause of the
// context and the reason why the call had no result yet.
type contextError struct{ cause, reason error }

func (e *contextError) Error() string {
	return "mqtt: " + strings.TrimPrefix(e.cause.Error(), "mqtt: ") + ": " + strings.TrimPrefix(e.reason.Error(), "mqtt: ")
}

func (e *contextError) Unwrap() []error { return []error{e.cause, e.reason} }

// gaveUp returns the error of a call that ended by ctx. It wraps ctx.Err() also if the cause of ctx
// does not.
func gaveUp(ctx context.Context, reason error) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, ctx.Err()) {
		cause = &endedError{ctx.Err(), cause}
	}
	return &contextError{cause, reason}
}

// An endedError is the cause of a context that does not say how the context has ended.
type endedError struct{ err, cause error }

func (e *endedError) Error() string   { return e.cause.Error() }
func (e *endedError) Unwrap() []error { return []error{e.err, e.cause} }

// recently is how long a connection must last before the failure before it no longer explains
// anything. It is as long as the longest default interval between attempts.
const recently = time.Minute

// reason returns why a call has no result yet: the session is offline, or else waits, with the last
// failure if the session has been online only for a short time.
func (f *stateFeed) reason(waits string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch lasted := time.Since(f.state.Since); {
	case !f.state.Online && f.failure == nil:
		return errors.New("no connection yet")
	case !f.state.Online:
		return &causedError{errNotConnected, f.failure}
	case f.failure != nil && lasted < recently:
		return &causedError{fmt.Errorf("%s; connected %v ago after", waits, lasted.Round(time.Millisecond)), f.failure}
	}
	return errors.New(waits)
}

var errNotConnected = errors.New("not connected")
