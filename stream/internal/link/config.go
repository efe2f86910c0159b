package link

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Config is the configuration of a Dialer.
type Config struct {
	// Connect is the CONNECT packet of every connection. Its user name and password take precedence
	// over those in the URL of an endpoint. Its Version is 0 to negotiate: 5, or 3.1.1 at a broker
	// that does not know 5. Its Properties are sent on MQTT 5 only.
	Connect frames.Connect

	// Authenticate, if set, makes the exchange of an enhanced authentication, also with a broker to
	// which another one refers. Only MQTT 5 has it, so a Version of 0 is 5 then: with 3.1.1 the
	// broker would not have to prove its identity.
	Authenticate func(context.Context) (Exchange, error)

	// Redirect, if set, decides where to connect when a broker refers to another one. Its context
	// ends after ConnectTimeout. If it returns an error, the redirect is not followed.
	Redirect func(context.Context, Redirect) (string, error)

	// TLS is the TLS configuration for secure endpoints, nil for the defaults.
	TLS *tls.Config

	// AnySubprotocol accepts a WebSocket server that selects no subprotocol.
	AnySubprotocol bool

	// Lossy sends a will without the properties that the version of the connection does not have.
	Lossy bool

	// Prepare, if set, is called before each dial and may change the Attempt. Its context ends
	// after ConnectTimeout. If it returns an error, the dial fails.
	Prepare func(context.Context, *Attempt) error

	// DialContext makes the network connection, to which TLS and WebSocket are added.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	ConnectTimeout time.Duration // of an attempt at one endpoint, handshake included; 0 is unlimited
	WriteTimeout   time.Duration // how long a write may make no progress; 0 is unlimited
	CountEvery     time.Duration // how far Conn.Sent may lag behind a write; 0 is unlimited
	MaxPacket      int           // the largest packet accepted, in bytes
	Logger         *slog.Logger
}

// Validate checks the CONNECT packet of every endpoint, whose URL may hold a user name and a
// password.
func (c *Config) Validate(endpoints []*Endpoint) error {
	for _, e := range endpoints {
		a := c.attempt(e)
		if a.Version = c.Connect.Version; a.Version == 0 {
			a.Version = frames.V5 // a field that 3.1.1 lacks shows at an attempt
		}
		if _, err := c.hello(&a); err != nil {
			return wrap("", err)
		}
	}
	return nil
}

// login returns the user name and the password for an endpoint. It takes both from the Config if
// either is set there, otherwise from the URL. A broker to which another one has referred gets only
// the user name and password that the Redirect function gave.
func (c *Config) login(e *Endpoint) (user string, password []byte) {
	own := c.Connect.UserName != "" || len(c.Connect.Password) > 0
	switch {
	case own && !e.referred:
		return c.Connect.UserName, c.Connect.Password
	case e.user == nil:
		return "", nil
	}
	if p, ok := e.user.Password(); ok {
		password = []byte(p)
	}
	return e.user.Username(), password
}

// connect returns the CONNECT packet, the first packet of a connection [MQTT-3.1.0-1]. An empty
// password without a user name counts as none.
func (c *Config) connect(a *Attempt) *frames.Connect {
	p := c.Connect
	p.Version, p.Will = a.Version, a.Will
	if a.clientID != "" {
		p.ClientID = a.clientID
	}
	if a.Version < frames.V5 {
		p.Properties = nil
		if c.Lossy && p.Will != nil && p.Will.Properties != nil {
			will := *p.Will
			will.Properties = nil
			p.Will = &will
		}
	}
	p.UserNameFlag, p.UserName = a.Username != "", a.Username
	p.PasswordFlag, p.Password = a.Password != nil && (p.UserNameFlag || len(a.Password) > 0), a.Password
	return &p
}

// hello returns the encoded CONNECT packet of the attempt a.
func (c *Config) hello(a *Attempt) ([]byte, error) {
	connect := c.connect(a)
	if err := connect.Validate(); err != nil {
		return nil, err
	}
	if x := a.exchange; x != nil {
		p := frames.ConnectProperties{}
		if connect.Properties != nil {
			p = *connect.Properties
		}
		p.AuthMethod, p.AuthData = x.Method, x.first
		connect.Properties = &p
	}
	return connect.Append(nil, connect.Version)
}

// tlsConfig returns the TLS configuration of a connection to e, nil without TLS. It copies the
// configuration t of the user and fills in ServerName (the host in the URL) and MinVersion (at
// least TLS 1.2). Without NextProtos, no protocol is negotiated: a server that has a list of
// protocols without mqtt would refuse the client.
func tlsConfig(e *Endpoint, t *tls.Config) *tls.Config {
	if !e.tls {
		return nil
	}
	if t = t.Clone(); t == nil {
		t = new(tls.Config)
	}
	if t.ServerName == "" {
		t.ServerName = e.host
	}
	if e.WebSocket() {
		t.NextProtos = []string{"http/1.1"} // this WebSocket library does not use HTTP/2
	}
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	return t
}
