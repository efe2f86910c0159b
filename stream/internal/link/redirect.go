package link

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// A Redirect says that a broker refers the client to another one (MQTT 5, section 4.11).
type Redirect struct {
	Reference string // the Server Reference, as the broker has sent it; it may be empty
	From      string // the URL of the broker, without user, password and query
	Permanent bool   // ServerMoved, and not UseAnotherServer
	Secure    bool   // From uses TLS
	Hop       int    // 1 for the first redirect of an attempt
}

// maxHops bounds the redirects of one attempt.
const maxHops = 8

// A chain is a sequence of redirects. The zero value is ready for use.
//
// Invariant: places has each endpoint of the chain once.
type chain struct {
	places    []string
	hops      int  // redirects
	temporary bool // one of them is UseAnotherServer
}

// follow connects to e, or to the broker to which e refers. No endpoint of the chain is tried
// twice.
func (d *Dialer) follow(ctx context.Context, e *Endpoint, r Request, links *chain) (*Conn, error) {
	for begin := e; ; {
		c, err := d.negotiate(ctx, e, r)
		if err == nil {
			if d.used = e; links.hops > 0 && !links.temporary {
				d.moved = e
			}
			return c, nil
		}
		refused, answered := err.(*ConnectError)
		if e != begin {
			err = &endpointError{e, err}
		}
		if d.config.Redirect == nil || !answered || !redirects(refused.Code) || ctx.Err() != nil {
			return nil, err
		}
		to, fault := d.redirect(ctx, e, links, refused.Code, refused.ServerReference)
		if fault != nil {
			return nil, &redirectError{err, fault}
		}
		e, r.LastErr = to, err
	}
}

// redirects reports whether a broker with this reason code refers to another one.
func redirects(code frames.ReasonCode) bool {
	return code == frames.UseAnotherServer || code == frames.ServerMoved
}

// redirect adds a redirect to the chain, and asks the policy for the endpoint to use. A connection
// with TLS never leads to one without it.
func (d *Dialer) redirect(ctx context.Context, from *Endpoint, links *chain, code frames.ReasonCode, reference string) (*Endpoint, error) {
	if links.hops == maxHops {
		return nil, fmt.Errorf("more than %d redirects", maxHops)
	}
	links.hops++
	links.places = append(links.places, from.place())
	links.temporary = links.temporary || code == frames.UseAnotherServer
	ctx, cancel := withTimeout(ctx, d.config.ConnectTimeout)
	defer cancel()
	url, err := d.config.Redirect(ctx, Redirect{
		Reference: reference, From: from.String(), Permanent: code == frames.ServerMoved, Secure: from.tls, Hop: links.hops,
	})
	if err != nil {
		return nil, withCause(ctx, err)
	}
	to, err := parseEndpoint("Redirect", url)
	switch {
	case err != nil:
		return nil, err
	case from.tls && !to.tls:
		return nil, BadOption("Redirect", "leads from a scheme with TLS to %s, which has none", to.scheme)
	case slices.Contains(links.places, to.place()):
		return nil, fmt.Errorf("it refers to %s, which was tried", to)
	}
	to.referred = true
	d.config.Logger.Info("redirected", "from", from.String(), "to", to.String(), "code", code.Error())
	return to, nil
}

// referral returns the endpoint to which the broker has referred in the DISCONNECT that ended the
// last connection, or nil, and the chain that begins with this redirect.
func (d *Dialer) referral(ctx context.Context, r Request) (*Endpoint, *chain) {
	var bye *DisconnectError
	if d.config.Redirect == nil || d.used == nil || r.Number != 1 || !errors.As(r.LastErr, &bye) || !redirects(bye.Code) {
		return nil, nil
	}
	// A broker that is used for a time only speaks for itself, not for the broker that refers to
	// it.
	links := &chain{temporary: d.used.referred && d.used != d.moved}
	to, err := d.redirect(ctx, d.used, links, bye.Code, bye.ServerReference)
	if err != nil {
		d.config.Logger.Warn("a redirect is not followed", "error", err)
		return nil, nil
	}
	if !links.temporary {
		d.moved = nil // the broker there has moved on
	}
	return to, links
}

// A redirectError is a refusal with a Server Reference that cannot be followed.
type redirectError struct{ refused, fault error }

func (e *redirectError) Error() string {
	return e.refused.Error() + "; the redirect is not followed: " + text(e.fault)
}

func (e *redirectError) Unwrap() []error { return []error{e.refused, e.fault} }
