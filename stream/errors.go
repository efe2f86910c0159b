package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// These errors say what became of a message or a call. Test for them with errors.Is, since methods
// return them wrapped in other errors.
var (
	// ErrClosed says that the client has ended. It wraps net.ErrClosed.
	ErrClosed error = &closedError{}

	// ErrNotSent says that the message was not sent and will not be sent.
	ErrNotSent error = fateError("not sent")

	// ErrUnconfirmed says that the message may have arrived. The message was sent, or was about to
	// be sent, and no acknowledgment came. A kept session may still send it again.
	ErrUnconfirmed error = fateError("unconfirmed")

	// ErrKept says that the client has ended and that its Store holds the message: the next client
	// with this Store goes on with the exchange, and gives its own Receipt. Do not publish the
	// message again.
	ErrKept error = fateError("kept for the next client of the Store")

	// ErrSessionLost says that the broker lost the session while it had a QoS 2 message of the
	// client: PUBREC had arrived and PUBCOMP had not. The broker may have passed the message on, so
	// the client does not send it again. ErrUnconfirmed wraps it.
	ErrSessionLost = errors.New("mqtt: the broker lost the session")

	// ErrBehind says that a call was ended because it would have waited behind messages that
	// consumers have not taken: nothing was read for a second, since more than Options.MaxUnread
	// bytes wait. Take messages, and reading starts again. The exchange that the call began goes
	// on, as after a context that ended.
	//
	// Publications that came by a channel stay accepted, and their Receipts come when reading has
	// started again. So a consumer must not wait for a Receipt of its own before it takes messages.
	ErrBehind = errors.New("mqtt: nothing is read until consumers take the messages that wait (MaxUnread)")
)

type closedError struct{}

func (*closedError) Error() string { return "mqtt: client closed" }
func (*closedError) Unwrap() error { return net.ErrClosed }

type fateError string

func (e fateError) Error() string { return "mqtt: publication " + string(e) }

// causedError joins the fate of a message, or ErrClosed, with its cause.
type causedError struct{ fate, cause error }

// Error returns both texts with the prefix mqtt: only at the beginning.
func (e *causedError) Error() string {
	return e.fate.Error() + ": " + strings.TrimPrefix(e.cause.Error(), "mqtt: ")
}

func (e *causedError) Unwrap() []error { return []error{e.fate, e.cause} }

func notSent(cause error) error     { return &causedError{ErrNotSent, cause} }
func unconfirmed(cause error) error { return &causedError{ErrUnconfirmed, cause} }
func kept(cause error) error        { return &causedError{ErrKept, cause} }

// DowngradedError says that the broker acknowledged a QoS 2 publication with PUBACK, as for QoS 1.
// The message has arrived at the broker, but at least once instead of exactly once.
type DowngradedError struct{ ID uint16 }

func (e *DowngradedError) Error() string {
	return fmt.Sprintf("mqtt: the broker answered QoS 2 PUBLISH %d with PUBACK, so it was delivered at QoS 1", e.ID)
}

// RefusedError names the topic filters that the broker refused in its SUBACK.
type RefusedError struct{ Filters []frames.Filter }

func (e *RefusedError) Error() string {
	names := make([]string, len(e.Filters))
	for i, f := range e.Filters {
		names[i] = fmt.Sprintf("%q", f.Topic)
	}
	return "mqtt: the broker refused the topic filter " + strings.Join(names, ", ")
}

// ConnectError says that the broker refused the connection. It wraps its field Code, the reason
// code of the CONNACK (MQTT 3.1.1, section 3.2.2.3), so that errors.Is(err, frames.NotAuthorized),
// for example, tells the reason.
type ConnectError = link.ConnectError

// HTTPError says that the server did not answer the opening handshake of a WebSocket with status
// 101. Its field Status is the HTTP status code of the answer, and Body has the first 512 bytes of
// its body, in which secrets of the request are replaced.
type HTTPError = link.HTTPError

// OptionError says that an option, an argument or a part of the URL cannot be used. Field names it,
// and Reason gives the rule or the limit that was broken.
type OptionError = link.OptionError

// prefixed adds the prefix of this package's errors to an error of package frames or flow.
func prefixed(err error) error { return fmt.Errorf("mqtt: %w", err) }

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
