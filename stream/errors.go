package stream

import (
	"fmt"
	"net"
	"strings"

	"github.com/go-millrace/mqtt/frames"
)

// The three errors that tell what became of a message or a call. They come
// wrapped: compare with errors.Is.
var (
	// ErrClosed says that the client has ended. It wraps net.ErrClosed.
	ErrClosed error = &closedError{}

	// ErrNotSent says that nothing of the message left this process and
	// nothing will.
	ErrNotSent error = fateError("not sent")

	// ErrUnconfirmed says that the message may have arrived: it left, or was
	// about to, and no acknowledgment came. A kept session goes on trying.
	ErrUnconfirmed error = fateError("unconfirmed")
)

type closedError struct{}

func (*closedError) Error() string { return "mqtt: client closed" }
func (*closedError) Unwrap() error { return net.ErrClosed }

type fateError string

func (e fateError) Error() string { return "mqtt: publication " + string(e) }

// ended joins what became of a message with the reason.
type ended struct{ fate, cause error }

func (e *ended) Error() string   { return e.fate.Error() + ": " + e.cause.Error() }
func (e *ended) Unwrap() []error { return []error{e.fate, e.cause} }

func notSent(cause error) error     { return &ended{ErrNotSent, cause} }
func unconfirmed(cause error) error { return &ended{ErrUnconfirmed, cause} }

// DowngradedError says that the broker acknowledged a QoS 2 publication at QoS
// 1: the message arrived there, at least once instead of exactly once.
type DowngradedError struct{ ID uint16 }

func (e *DowngradedError) Error() string {
	return fmt.Sprintf("mqtt: the broker answered QoS 2 PUBLISH %d with PUBACK: taken at QoS 1", e.ID)
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

// ConnectError says that the broker refused the connection. It wraps the
// reason code of the CONNACK (MQTT 3.1.1, section 3.2.2.3), so that
// errors.Is(err, frames.NotAuthorized) and the like tell the reason.
type ConnectError struct{ Code frames.ReasonCode }

func (e *ConnectError) Error() string { return "mqtt: connection refused: " + e.Code.Error() }
func (e *ConnectError) Unwrap() error { return e.Code }

// OptionError names the option, or the part of the URL, that cannot be used.
type OptionError struct {
	Field  string
	Reason string
}

func (e *OptionError) Error() string { return "mqtt: " + e.Field + " " + e.Reason }

func badOption(field, format string, args ...any) error {
	return &OptionError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
