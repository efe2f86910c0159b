package link

import (
	"context"
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
// endpoint tried.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	var failed endpointErrors
	for i := range d.endpoints {
		at := (d.last + i) % len(d.endpoints)
		c, err := d.dial(ctx, d.endpoints[at])
		if err == nil {
			d.last = at
			return c, nil
		}
		if len(d.endpoints) == 1 {
			return nil, err
		}
		failed = append(failed, &endpointError{d.endpoints[at], err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// dial connects to e and exchanges CONNECT and CONNACK, within ConnectTimeout.
func (d *Dialer) dial(ctx context.Context, e *Endpoint) (*Conn, error) {
	ctx, cancel := withTimeout(ctx, d.config.ConnectTimeout)
	defer cancel()
	hello, err := d.config.hello(ctx, e)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := d.config.tlsConfig(ctx, e)
	if err != nil {
		return nil, err
	}
	raw, err := d.config.DialContext(ctx, e.network, e.addr)
	if err != nil {
		return nil, wrap("", withCause(ctx, err))
	}
	c := &Conn{
		Endpoint: e.String(), Version: d.config.Connect.Version,
		raw: &deadlineConn{Conn: raw, timeout: d.config.WriteTimeout, pace: d.config.CountEvery},
	}
	// From here on the end of ctx closes the connection, which ends every wait on it.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	if err = c.secure(ctx, e, tlsConfig, &d.config); err == nil {
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

// withTimeout adds a timeout, with its cause, to ctx. A timeout of 0 is unlimited.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("mqtt: no connection within ConnectTimeout (%v): %w", timeout, context.DeadlineExceeded))
}
