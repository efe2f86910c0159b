package link

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Dialer makes the connections of one client, one at a time. It remembers the endpoint that
// accepted the last connection.
type Dialer struct {
	config    Config
	endpoints []*Endpoint
	last      int
}

// NewDialer returns a Dialer that tries the endpoints in their order.
func NewDialer(c Config, endpoints []*Endpoint) *Dialer {
	return &Dialer{config: c, endpoints: endpoints}
}

// Dial tries the endpoints in turn, beginning with the endpoint of the last connection, and returns
// the first connection that succeeds. With several endpoints the error gives the reason for each
// endpoint tried. Prepare is told number and last: the number of attempts since the last
// connection, this one included, and the error of the previous attempt or connection.
func (d *Dialer) Dial(ctx context.Context, number int, last error) (*Conn, error) {
	var failed endpointErrors
	for i := range d.endpoints {
		at := (d.last + i) % len(d.endpoints)
		a := d.config.attempt(d.endpoints[at])
		a.Number, a.LastErr = number, last
		c, err := d.dial(ctx, d.endpoints[at], &a)
		if err == nil {
			d.last = at
			return c, nil
		}
		if len(d.endpoints) == 1 {
			return nil, err
		}
		last = &endpointError{d.endpoints[at], err}
		failed = append(failed, last)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// dial connects to e and exchanges CONNECT and CONNACK, within ConnectTimeout.
func (d *Dialer) dial(ctx context.Context, e *Endpoint, a *Attempt) (*Conn, error) {
	ctx, cancel := withTimeout(ctx, d.config.ConnectTimeout)
	defer cancel()
	if d.config.Prepare != nil {
		var err error
		if e, err = d.config.prepare(ctx, e, a); err != nil {
			return nil, err
		}
	}
	hello, err := d.config.hello(a)
	if err != nil { // Open has checked everything that Prepare did not change
		return nil, wrap("Prepare: ", err)
	}
	raw, err := d.config.DialContext(ctx, e.network, e.addr)
	if err == nil && raw == nil {
		err = errNoConn
	}
	if err != nil {
		return nil, wrap("", withCause(ctx, err))
	}
	c := &Conn{
		Endpoint: e.String(), Version: d.config.Connect.Version,
		raw: &deadlineConn{Conn: raw, timeout: d.config.WriteTimeout, pace: d.config.CountEvery},
	}
	// From here on the end of ctx closes the connection, which ends every wait on it.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	if err = c.secure(ctx, e, a, &d.config); err == nil {
		err = c.handshake(hello, &d.config)
	}
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, withCause(ctx, err)
	}
	return c, nil
}

var errNoConn = errors.New("DialContext returned neither a connection nor an error")

// withTimeout adds a timeout, with its cause, to ctx. A timeout of 0 is unlimited.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("mqtt: no connection within ConnectTimeout (%v): %w", timeout, context.DeadlineExceeded))
}
