package link

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-millrace/mqtt/frames"
)

// An Attempt describes one dial to one endpoint. Before Prepare is called, all fields are set from
// the Options and the URL. Prepare owns the values and may change the first group of fields.
type Attempt struct {
	URL      *url.URL        // without user name and password; the scheme cannot be changed
	Username string          // of CONNECT; empty for none
	Password []byte          // of CONNECT; empty without Username for none
	TLS      *tls.Config     // nil for the defaults; must be nil if the scheme does not use TLS
	Header   http.Header     // of the WebSocket handshake, never nil; must be empty with other schemes
	Will     *frames.Message // nil for none

	// For information; changes have no effect.
	Endpoint string         // the URL, as logs and errors show it
	Version  frames.Version // of the protocol
	Number   int            // 1 for the first attempt since the last connection; fallbacks of one round share it
	LastErr  error          // why the previous dial failed or the last connection ended; nil at first

	clientID string          // that the broker has assigned; "" for that of the Config
	exchange *Authentication // nil without one
}

// attempt returns the dial to e as the Config and the URL describe it. Only Prepare needs values
// that may be changed, and the fields for information. A ServerName of the Config is the name of
// the broker in the URL, not of one to which that broker refers.
func (c *Config) attempt(e *Endpoint) Attempt {
	user, password := c.login(e)
	a := Attempt{Username: user, Password: password, TLS: c.TLS, Will: c.Connect.Will}
	if e.referred && a.TLS != nil && a.TLS.ServerName != "" {
		a.TLS = a.TLS.Clone()
		a.TLS.ServerName = ""
	}
	return a
}

// prepare lets the user change the attempt a to connect to e, and checks the result. It returns the
// endpoint that is dialed.
func (c *Config) prepare(ctx context.Context, e *Endpoint, a *Attempt) (*Endpoint, error) {
	a.URL, a.Endpoint = e.url(), e.String()
	a.Password = append([]byte(nil), a.Password...)
	a.Header = make(http.Header)
	if a.TLS = a.TLS.Clone(); !e.tls {
		a.TLS = nil
	}
	if a.Will != nil {
		will := a.Will.Clone()
		a.Will = &will
	}
	if err := c.Prepare(ctx, a); err != nil {
		return nil, wrap("Prepare: ", withCause(ctx, err))
	}
	to, err := e.changed(a.URL)
	if err == nil {
		err = a.check(to)
	}
	if err != nil {
		return nil, wrap("Prepare: ", err)
	}
	return to, nil
}

// check returns an error for a field that does not fit to the endpoint e.
func (a *Attempt) check(e *Endpoint) error {
	switch {
	case a.TLS != nil && !e.tls:
		return BadOption("TLS", "is set, but the URL's scheme is %s, which does not use it", e.scheme)
	case len(a.Header) > 0 && !e.WebSocket():
		return BadOption("Header", "is set, but the URL's scheme is %s, which does not use it", e.scheme)
	}
	for name, values := range a.Header {
		switch {
		case name == "" || strings.ContainsFunc(name, notInToken):
			return BadOption("Header", "has the name %q, which is not a token of HTTP", name)
		case setByHandshake(name):
			return BadOption("Header", "has %s, which the opening handshake sets itself", name)
		}
		for _, value := range values {
			if strings.ContainsFunc(value, isControl) {
				return BadOption("Header", "has a control character in the value of %s", name)
			}
		}
	}
	return nil
}

// notInToken reports whether r may not occur in the name of a header (RFC 9110, section 5.6.2).
func notInToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// setByHandshake reports whether the opening handshake of a WebSocket sets the header itself.
func setByHandshake(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Connection", "Upgrade", "Content-Length", "Transfer-Encoding":
		return true
	}
	return strings.HasPrefix(name, "Sec-Websocket-")
}
