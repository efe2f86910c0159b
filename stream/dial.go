package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-millrace/mqtt/frames"
)

// dial makes a connection to the first endpoint that takes one, beginning with
// the last that did. It runs on the dialer's goroutine.
func (s *Session) dial(ctx context.Context) (*link, error) {
	var failed roundError
	for i := range s.endpoints {
		at := (s.good + i) % len(s.endpoints)
		l, err := s.dialOne(ctx, s.endpoints[at])
		if err == nil {
			s.good = at
			return l, nil
		}
		if len(s.endpoints) == 1 {
			return nil, err
		}
		failed = append(failed, fmt.Errorf("%v: %w", s.endpoints[at], err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// roundError is why none of several endpoints took a connection.
type roundError []error

func (e roundError) Unwrap() []error { return e }

func (e roundError) Error() string {
	all := make([]string, len(e))
	for i, err := range e {
		all[i] = err.Error()
	}
	return strings.Join(all, "; ")
}

// dialOne makes a connection to e and shakes hands, within ConnectTimeout.
func (s *Session) dialOne(ctx context.Context, e *endpoint) (*link, error) {
	o := &s.options
	if o.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.ConnectTimeout, fmt.Errorf("no connection within ConnectTimeout (%v): %w", o.ConnectTimeout, context.DeadlineExceeded))
		defer cancel()
	}
	hello, err := s.hello(ctx, e)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := s.tlsConfig(ctx, e)
	if err != nil {
		return nil, err
	}
	raw, err := o.DialContext(ctx, e.network, e.addr)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", because(ctx, err))
	}
	l := &link{endpoint: e, raw: &timedConn{Conn: raw, timeout: o.WriteTimeout}}
	// From here on the end of ctx closes the connection, which ends whatever waits on it.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	if err = l.open(ctx, tlsConfig, o); err == nil {
		err = l.handshake(s, hello)
	}
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, because(ctx, err)
	}
	return l, nil
}

// hello is the CONNECT of the next connection, with the credentials of the moment.
func (s *Session) hello(ctx context.Context, e *endpoint) ([]byte, error) {
	o := &s.options
	user, password := e.login(o)
	if o.Credentials != nil {
		var err error
		if user, password, err = o.Credentials(ctx); err != nil {
			return nil, fmt.Errorf("mqtt: Credentials: %w", because(ctx, err))
		}
	}
	connect := o.connect(user, password)
	if err := connect.Validate(); err != nil {
		return nil, fmt.Errorf("mqtt: Credentials: %w", err)
	}
	hello, err := connect.Append(nil, o.Version)
	if err != nil {
		return nil, fmt.Errorf("mqtt: Credentials: %w", err)
	}
	return hello, nil
}

// unwelcome reports whether a broker refused who we are, and each of several did:
// to ask again soon is of no use then, and looks like an attack.
func unwelcome(err error) bool {
	var round roundError
	if errors.As(err, &round) {
		return !slices.ContainsFunc(round, func(err error) bool { return !unwelcome(err) })
	}
	return errors.Is(err, frames.BadUserNameOrPassword) || errors.Is(err, frames.NotAuthorized)
}

// because prefers the reason why ctx ended to the error that this led to.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}
