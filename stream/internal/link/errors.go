package link

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// OptionError says that an option, or a part of the URL, cannot be used.
type OptionError struct {
	Field  string
	Reason string
}

func (e *OptionError) Error() string { return "mqtt: " + e.Field + " " + e.Reason }

// BadOption returns an OptionError.
func BadOption(field, format string, args ...any) error {
	return &OptionError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// ConnectError says that the broker refused the connection. It wraps the reason code of the
// CONNACK.
type ConnectError struct {
	Code frames.ReasonCode

	// MQTT 5.
	Reason          string // the reason string
	ServerReference string // another broker; see the codes UseAnotherServer and ServerMoved
	User            []frames.UserProperty
}

func (e *ConnectError) Error() string {
	return "mqtt: connection refused: " + e.Code.Error() + Quote(e.Reason)
}

func (e *ConnectError) Unwrap() error { return e.Code }

// DisconnectError says that the broker ended the connection with a DISCONNECT. It wraps the reason
// code. Only MQTT 5 has it.
type DisconnectError struct {
	Code            frames.ReasonCode
	Reason          string // the reason string
	ServerReference string // another broker; see the codes UseAnotherServer and ServerMoved
	User            []frames.UserProperty
}

func (e *DisconnectError) Error() string {
	return "mqtt: the broker closed the connection: " + e.Code.Error() + Quote(e.Reason)
}

func (e *DisconnectError) Unwrap() error { return e.Code }

// maxReason is how many bytes of a reason string an error shows.
const maxReason = 1024

// Quote returns the reason string of a broker for the end of an error text, or "" if there is none.
func Quote(reason string) string {
	if reason == "" {
		return ""
	}
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") // a character may be cut in two
	}
	return fmt.Sprintf(" (%q)", reason)
}

// HTTPError says that the server did not answer the opening handshake of a WebSocket with status
// 101. Body has at most the first 512 bytes of the answer, without the secrets of the request.
type HTTPError struct {
	Status int
	Body   string
}

func (e *HTTPError) Error() string {
	text := fmt.Sprintf("mqtt: WebSocket: the server answered %d", e.Status)
	if s := http.StatusText(e.Status); s != "" {
		text += " " + s
	}
	if e.Body != "" {
		text += fmt.Sprintf(": %q", e.Body)
	}
	return text
}

// endpointErrors has one error for each endpoint that was tried.
type endpointErrors []error

func (e endpointErrors) Unwrap() []error { return e }

func (e endpointErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = text(err)
	}
	return "mqtt: " + strings.Join(texts, "; ")
}

// EachEndpoint returns the error of each endpoint if err is the failure of several, else nil.
func EachEndpoint(err error) []error {
	var all endpointErrors
	errors.As(err, &all)
	return all
}

// endpointError adds the endpoint to the error of a failed attempt.
type endpointError struct {
	endpoint *Endpoint
	err      error
}

func (e *endpointError) Error() string { return "mqtt: " + e.endpoint.String() + ": " + text(e.err) }
func (e *endpointError) Unwrap() error { return e.err }

// fallbackError adds the failure of a second attempt, with another version, to the refusal of the
// first.
type fallbackError struct {
	refused error
	version frames.Version
	err     error
}

func (e *fallbackError) Error() string {
	return fmt.Sprintf("mqtt: %s; with MQTT %v: %s", text(e.refused), e.version, text(e.err))
}

func (e *fallbackError) Unwrap() []error { return []error{e.refused, e.err} }

// text returns the error text without the prefix "mqtt: ", for use in the middle of a longer text.
func text(err error) string { return strings.TrimPrefix(err.Error(), "mqtt: ") }

// slowCodes are the reason codes after which another attempt soon is useless (section 4.13): who we
// are must change first, or another client with our identifier takes the session over again.
var slowCodes = []frames.ReasonCode{
	frames.BadUserNameOrPassword, frames.NotAuthorized, frames.Banned, frames.BadAuthenticationMethod,
	frames.SessionTakenOver, frames.AdministrativeAction,
}

// Useless reports whether another attempt soon is useless, and looks like an attack: the broker, or
// the WebSocket server in front of it with status 401 or 403, rejected our credentials or has one
// of slowCodes. With several endpoints each of them must have done so.
func Useless(err error) bool {
	var all endpointErrors
	if errors.As(err, &all) {
		return !slices.ContainsFunc(all, func(err error) bool { return !Useless(err) })
	}
	var h *HTTPError
	if errors.As(err, &h) {
		return h.Status == http.StatusUnauthorized || h.Status == http.StatusForbidden
	}
	return slices.ContainsFunc(slowCodes, func(code frames.ReasonCode) bool { return errors.Is(err, code) })
}

// sentAway reports whether a broker has ended a connection for a reason that another broker may not
// have (section 4.13).
func sentAway(err error) bool {
	var bye *DisconnectError
	if !errors.As(err, &bye) {
		return false
	}
	switch bye.Code {
	case frames.ServerUnavailable, frames.ServerBusy, frames.ServerShuttingDown, frames.KeepAliveTimeout, frames.QuotaExceeded:
		return true
	}
	return false
}

// wrapped adds the step that failed, and the prefix mqtt:, to an error.
type wrapped struct {
	step string
	err  error
}

func (e *wrapped) Error() string { return "mqtt: " + e.step + text(e.err) }
func (e *wrapped) Unwrap() error { return e.err }

// wrap adds the step that failed, such as "TLS: ", to err.
func wrap(step string, err error) error { return &wrapped{step, err} }

// withCause adds the cause of ctx, if ctx has ended, to err. A net.Dialer has a timer of its own
// for the deadline of ctx, which may fire a moment before ctx ends.
func withCause(ctx context.Context, err error) error {
	var late interface{ Timeout() bool }
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) && errors.As(err, &late) && late.Timeout() {
		<-ctx.Done()
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return &contextError{cause, err}
	}
	return err
}

type contextError struct{ cause, err error }

func (e *contextError) Error() string   { return "mqtt: " + text(e.cause) + " (" + text(e.err) + ")" }
func (e *contextError) Unwrap() []error { return []error{e.cause, e.err} }
