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

// These errors tell the outcome of a message or a call. Test for them with errors.Is, since methods
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

	// ErrRefused says that the broker has refused the message: it did not arrive, and it is not
	// sent again. It comes with a [*RefusalError].
	ErrRefused error = fateError("refused by the broker")

	// ErrExpired is the reason inside ErrNotSent when the message has expired while it waited.
	ErrExpired = errors.New("mqtt: the message has expired")

	// ErrFull is the reason inside ErrNotSent when Options.Full is Refuse and the queue had no room
	// for the message, or when the message alone is larger than Options.QueueBytes.
	ErrFull = errors.New("mqtt: the queue has no room")

	// ErrEvicted is the reason inside ErrNotSent when Options.Full is EvictOldest and the message
	// gave way to a newer one.
	ErrEvicted = errors.New("mqtt: the message gave way to a newer one, since the queue was full")

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

// DowngradedError says that a publication has arrived at the broker with a lower QoS than it asked
// for. Either the broker acknowledged a QoS 2 publication with PUBACK, as for QoS 1, or it takes no
// higher QoS (Maximum QoS) and OptionsV5.LowerQoS is set.
type DowngradedError struct {
	ID  uint16     // the packet identifier; 0 at QoS 0
	QoS frames.QoS // with which the message was delivered
}

func (e *DowngradedError) Error() string {
	if e.QoS == frames.AtMostOnce {
		return "mqtt: the broker takes no higher QoS, so the message was sent at QoS 0"
	}
	return fmt.Sprintf("mqtt: PUBLISH %d was delivered at QoS 1: the broker takes no higher QoS, or has answered with PUBACK", e.ID)
}

// PoisonError says that the broker closed each connection on which a publication was sent, so that
// the session goes on without it (Options.GiveUp). It comes inside ErrUnconfirmed, and wraps Err.
type PoisonError struct {
	ID     uint16 // the packet identifier
	Topic  string
	Closes int   // in a row
	Err    error // the end of the last connection
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("mqtt: the broker closed %d connections in a row at PUBLISH %d to topic %q: %s",
		e.Closes, e.ID, e.Topic, strings.TrimPrefix(e.Err.Error(), "mqtt: "))
}

func (e *PoisonError) Unwrap() error { return e.Err }

// LimitError says that a message or a filter is beyond a limit that the broker has announced.
type LimitError struct {
	Field string // "packet size" (in bytes), "QoS" or "retain" (0 or 1)
	Value int
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("mqtt: %s %d is above the broker's limit of %d", e.Field, e.Value, e.Limit)
}

// VersionError says that the version of the connection lacks a property or an option.
type VersionError = frames.VersionError

// RefusalError has the answer of a broker that refused a publication. It wraps ErrRefused and its
// field Code.
type RefusalError struct {
	Code   frames.ReasonCode
	Reason string // the reason string
	User   []frames.UserProperty
}

func (e *RefusalError) Error() string {
	return ErrRefused.Error() + ": " + e.Code.Error() + link.Quote(e.Reason)
}

func (e *RefusalError) Unwrap() []error { return []error{ErrRefused, e.Code} }

// DisconnectError says that the broker ended the connection with a DISCONNECT (MQTT 5, section
// 3.14). It wraps its field Code.
type DisconnectError = link.DisconnectError

// RefusedError names the topic filters that the broker refused in its SUBACK, or that cannot be
// asked for on the connection. It wraps the Codes and Cause.
type RefusedError struct {
	Filters []frames.Filter
	Codes   []frames.ReasonCode // one for each filter; UnspecifiedError before MQTT 5
	Reason  string              // the reason string of SUBACK, on MQTT 5
	Cause   error               // why the SUBSCRIBE was not sent: a *VersionError, a *LimitError or a ReasonCode; else nil
}

func (e *RefusedError) Error() string {
	names := make([]string, len(e.Filters))
	for i, f := range e.Filters {
		names[i] = fmt.Sprintf("%q", f.Topic)
		if i < len(e.Codes) && e.Codes[i] != frames.UnspecifiedError {
			names[i] += " (" + e.Codes[i].Error() + ")"
		}
	}
	list := strings.Join(names, ", ")
	if e.Cause != nil {
		return "mqtt: the topic filter " + list + " cannot be asked for: " + strings.TrimPrefix(e.Cause.Error(), "mqtt: ")
	}
	return "mqtt: the broker refused the topic filter " + list + link.Quote(e.Reason)
}

func (e *RefusedError) Unwrap() (errs []error) {
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, code := range e.Codes {
		errs = append(errs, code)
	}
	return errs
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

// A lateError says that the broker or the line did not answer in time. It is a net.Error.
type lateError string

func (e lateError) Error() string   { return string(e) }
func (e lateError) Timeout() bool   { return true }
func (e lateError) Temporary() bool { return true }

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

// ErrNoResponder says that the broker has the request, and that nobody subscribes to its topic
// (MQTT 5, reason code 0x10, no matching subscribers). Some brokers never say so.
var ErrNoResponder = errors.New("mqtt: nobody subscribes to the topic of the request")

// hasError reports whether err wraps an error of type E.
func hasError[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}
