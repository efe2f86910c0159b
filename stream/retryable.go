package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Retryable reports whether the failed call has left nothing behind and trying again can help.
//
//	nil                                             false
//	ErrUnconfirmed, *DowngradedError                false: the message may have arrived
//	ErrKept                                         false: the next client sends it
//	ErrClosed                                       false: use a new client
//	*OptionError, *InvalidError, *OwnerError        false: an argument must change first
//	*RefusedError, ErrRefused                       false: the broker will refuse again
//	*LimitError, *VersionError, ErrExpired          false: the message must change first
//	*ConnectError                                   ServerUnavailable, ServerBusy, QuotaExceeded,
//	                                                UseAnotherServer, ConnectionRateExceeded:
//	                                                true, else false
//	*HTTPError                                      408, 429 and 5xx: true, else false
//	*ProtocolError, *TooLargeError                  false: the broker will send the same again
//	certificate that is not trusted                 false
//	ErrEvicted                                      false: it would displace a newer message
//	ErrFull                                         true, unless the message is larger than
//	                                                QueueBytes
//	ErrNotSent for any other reason                 true, also if the reason is ErrBehind
//	network error, end of a context                 true
//	any other error                                 false, also ErrBehind alone
//
// An error of Options.Prepare or Options.DialContext is judged by the errors that it wraps. If each
// of several endpoints has failed, Retryable is true when it is true for one of them.
func Retryable(err error) bool {
	if all := link.EachEndpoint(err); all != nil {
		for _, err := range all {
			if Retryable(err) {
				return true
			}
		}
		return false
	}
	var refused *ConnectError
	var answer *HTTPError
	var network net.Error
	switch {
	case err == nil, errors.Is(err, ErrUnconfirmed), errors.Is(err, ErrKept), errors.Is(err, ErrClosed), permanent(err):
		return false
	case errors.As(err, &refused):
		switch refused.Code {
		case frames.ServerUnavailable, frames.ServerBusy, frames.QuotaExceeded, frames.UseAnotherServer, frames.ConnectionRateExceeded:
			return true
		}
		return false
	case errors.As(err, &answer):
		return answer.Status == http.StatusRequestTimeout || answer.Status == http.StatusTooManyRequests || answer.Status >= 500
	}
	return errors.Is(err, ErrNotSent) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// permanent reports whether err comes again however often the call is tried.
func permanent(err error) bool {
	return hasError[*OptionError](err) || hasError[*frames.InvalidError](err) || hasError[*flow.OwnerError](err) ||
		hasError[*LimitError](err) || hasError[*VersionError](err) || errors.Is(err, ErrRefused) || errors.Is(err, ErrExpired) ||
		errors.Is(err, ErrEvicted) || hasError[*oversizeError](err) ||
		hasError[*RefusedError](err) || hasError[*DowngradedError](err) || hasError[*frames.ProtocolError](err) ||
		hasError[*frames.TooLargeError](err) || hasError[*tls.CertificateVerificationError](err)
}
