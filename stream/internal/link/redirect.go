package link

import (
	"context"
	"errors"
	"fmt"

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

// follow connects to e, or to the broker to which e refers. No endpoint is tried twice.
func (d *Dialer) follow(ctx context.Context, e *Endpoint, r Request) (*Conn, error) {
	tried := map[string]bool{}
	permanent := true
	for hop := 1; ; hop++ {
		tried[e.String()] = true
		c, err := d.negotiate(ctx, e, r)
		if err == nil {
			if d.used = e; hop > 1 && permanent {
				d.moved = e
			}
			return c, nil
		}
		var refused *ConnectError
		if d.config.Redirect == nil || !errors.As(err, &refused) || !redirects(refused.Code) || ctx.Err() != nil {
			return nil, err
		}
		permanent = permanent && refused.Code == frames.ServerMoved
		to, fault := d.redirect(ctx, e, Redirect{refused.ServerReference, e.String(), refused.Code == frames.ServerMoved, e.tls, hop})
		switch {
		case fault != nil:
		case hop == maxHops:
			fault = fmt.Errorf("more than %d redirects", maxHops)
		case tried[to.String()]:
			fault = fmt.Errorf("it refers to %s, which was tried", to)
		}
		if fault != nil {
			return nil, &redirectError{err, fault}
		}
		d.config.Logger.Info("redirected", "from", e.String(), "to", to.String(), "code", refused.Code.Error())
		e, r.LastErr = to, err
	}
}

// redirects reports whether a broker with this reason code refers to another one.
func redirects(code frames.ReasonCode) bool {
	return code == frames.UseAnotherServer || code == frames.ServerMoved
}

// redirect asks the policy for the endpoint to use. A connection with TLS never leads to one without
// it.
func (d *Dialer) redirect(ctx context.Context, from *Endpoint, r Redirect) (*Endpoint, error) {
	url, err := d.config.Redirect(ctx, r)
	if err != nil {
		return nil, err
	}
	to, err := parseEndpoint("Redirect", url)
	if err != nil {
		return nil, err
	}
	if from.tls && !to.tls {
		return nil, BadOption("Redirect", "leads from a scheme with TLS to %s, which has none", to.scheme)
	}
	to.referred = true
	return to, nil
}

// referral returns the endpoint to which the broker has referred in the DISCONNECT that ended the
// last connection, or nil.
func (d *Dialer) referral(ctx context.Context, r Request) *Endpoint {
	var bye *DisconnectError
	if d.config.Redirect == nil || r.Number != 1 || !errors.As(r.LastErr, &bye) || !redirects(bye.Code) {
		return nil
	}
	to, err := d.redirect(ctx, d.used, Redirect{bye.ServerReference, d.used.String(), bye.Code == frames.ServerMoved, d.used.tls, 1})
	if err != nil {
		d.config.Logger.Warn("a redirect is not followed", "error", err)
		return nil
	}
	if bye.Code == frames.ServerMoved {
		d.moved = to
	}
	return to
}

// A redirectError is a refusal with a Server Reference that cannot be followed.
type redirectError struct{ refused, fault error }

func (e *redirectError) Error() string {
	return e.refused.Error() + "; the redirect is not followed: " + text(e.fault)
}

func (e *redirectError) Unwrap() []error { return []error{e.refused, e.fault} }
