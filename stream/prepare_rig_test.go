package stream_test

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/go-millrace/mqtt/stream"
)

// login returns a Prepare that sets the user name and the password.
func login(f func(context.Context) (string, []byte, error)) func(context.Context, *stream.Attempt) error {
	return func(ctx context.Context, a *stream.Attempt) (err error) {
		a.Username, a.Password, err = f(ctx)
		return err
	}
}

// withTLS returns a Prepare that sets the TLS configuration.
func withTLS(f func(context.Context) (*tls.Config, error)) func(context.Context, *stream.Attempt) error {
	return func(ctx context.Context, a *stream.Attempt) (err error) {
		a.TLS, err = f(ctx)
		return err
	}
}

// headers returns a Prepare that sets the headers of the WebSocket handshake.
func headers(f func(context.Context) (http.Header, error)) func(context.Context, *stream.Attempt) error {
	return func(ctx context.Context, a *stream.Attempt) (err error) {
		a.Header, err = f(ctx)
		return err
	}
}
