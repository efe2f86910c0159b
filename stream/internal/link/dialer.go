package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A Dialer makes the connections of one client, one at a time. It remembers the endpoint that
// accepted the last connection, and the protocol version of each endpoint.
type Dialer struct {
	config    Config
	endpoints []*Endpoint
	last      int
	versions  versions
	moved     *Endpoint // in place of the endpoints, after ServerMoved
	used      *Endpoint // of the last connection
}

// NewDialer returns a Dialer that tries the endpoints in their order.
func NewDialer(c Config, endpoints []*Endpoint) *Dialer {
	fixed := c.Connect.Version
	if fixed == 0 && c.Authenticate != nil {
		fixed = frames.V5
	}
	return &Dialer{config: c, endpoints: endpoints, versions: versions{fixed: fixed}}
}

// A Request describes an attempt to connect.
type Request struct {
	Number   int            // of attempts since the last connection, this one included
	LastErr  error          // of the previous attempt or connection
	ClientID string         // that the broker has assigned; "" for that of the Config
	Pinned   frames.Version // of the session that the broker keeps; 0 if there is none
}

// Dial tries the endpoints in turn, and returns the first connection that succeeds. It begins with
// the endpoint of the last connection, or with the next one if the broker of that connection has
// sent the client away. A broker to which the last connection referred comes before them. If Dial
// tried several endpoints, the error gives the reason for each.
func (d *Dialer) Dial(ctx context.Context, r Request) (*Conn, error) {
	var failed endpointErrors
	try := func(e *Endpoint, links *chain) *Conn {
		c, err := d.follow(ctx, e, r, links)
		if err != nil {
			r.LastErr = &endpointError{e, err}
			failed = append(failed, r.LastErr)
		}
		return c
	}
	if to, links := d.referral(ctx, r); to != nil {
		if c := try(to, links); c != nil {
			return c, nil
		}
	}
	if d.moved != nil && ctx.Err() == nil {
		if c := try(d.moved, new(chain)); c != nil {
			return c, nil
		}
		if ctx.Err() == nil {
			d.moved = nil
		}
	}
	begin := d.last
	if sentAway(r.LastErr) {
		begin++
	}
	for i := range d.endpoints {
		if len(failed) > 0 && ctx.Err() != nil {
			break
		}
		at := (begin + i) % len(d.endpoints)
		if c := try(d.endpoints[at], new(chain)); c != nil {
			d.last = at
			return c, nil
		}
	}
	if len(failed) == 1 && len(d.endpoints) == 1 {
		return nil, errors.Unwrap(failed[0])
	}
	return nil, failed
}

// negotiate connects to e with the versions that it may know, within ConnectTimeout. If the broker
// refuses both versions, the error is that of the first attempt. If it refuses the second CONNECT
// for another reason, the error is that refusal. If the second attempt fails without an answer, the
// error has both reasons.
func (d *Dialer) negotiate(ctx context.Context, e *Endpoint, r Request) (*Conn, error) {
	ctx, cancel := withTimeout(ctx, d.config.ConnectTimeout)
	defer cancel()
	var first error
	for _, v := range d.versions.toTry(e.String(), r.Pinned, time.Now()) {
		a := d.config.attempt(e)
		a.Number, a.LastErr, a.Version, a.clientID = r.Number, r.LastErr, v, r.ClientID
		c, refused, err := d.dial(ctx, e, &a)
		if err == nil {
			d.versions.accepted(e.String(), v, first != nil, time.Now())
			return c, nil
		}
		switch _, answered := err.(*ConnectError); {
		case first == nil || answered && !refused:
			first = err
		case !refused:
			first = &fallbackError{first, v, err}
		}
		if !refused {
			break
		}
		r.LastErr = err
	}
	return nil, first
}

// dial connects to e and exchanges CONNECT and CONNACK. The result refused says that the broker may
// not know the version of the attempt.
func (d *Dialer) dial(ctx context.Context, e *Endpoint, a *Attempt) (c *Conn, refused bool, err error) {
	if d.config.Prepare != nil {
		if e, err = d.config.prepare(ctx, e, a); err != nil {
			return nil, false, err
		}
	}
	if d.config.Authenticate != nil && a.Version >= frames.V5 {
		if a.exchange, err = BeginAuthentication(ctx, d.config.Authenticate); err != nil {
			return nil, false, withCause(ctx, err)
		}
	}
	hello, err := d.config.hello(a)
	if err != nil { // Open has checked everything that neither Prepare nor the version changes
		step := "CONNECT: "
		if d.config.Prepare != nil {
			step = "Prepare: "
		}
		return nil, false, wrap(step, err)
	}
	raw, err := d.config.DialContext(ctx, e.network(), e.addr)
	if err == nil && raw == nil {
		err = errNoConn
	}
	if err != nil {
		return nil, false, wrap("", withCause(ctx, err))
	}
	c = &Conn{
		Endpoint: e.String(), Version: a.Version,
		raw: deadlineConn{Conn: raw, timeout: d.config.WriteTimeout, pace: d.config.CountEvery},
	}
	// From here on the end of ctx closes the connection, which ends every wait on it.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	if err = c.secure(ctx, e, a, &d.config); err == nil {
		refused, err = c.handshake(ctx, hello, a, &d.config)
	}
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		if cause := context.Cause(ctx); cause != nil && closedHere(err) {
			return nil, false, wrap("", cause)
		}
		return nil, refused && ctx.Err() == nil, withCause(ctx, err)
	}
	return c, false, nil
}

// closedHere reports whether a call failed because this process closed the connection. The text
// would only hide the reason of the close.
func closedHere(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
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
