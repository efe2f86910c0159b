package link

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Config is the configuration of a Dialer. Its functions are called at every attempt. Their context
// ends after ConnectTimeout, and the attempt fails if a function returns an error.
type Config struct {
	// Connect is the CONNECT packet of every connection. Its user name and password take precedence
	// over those in the URL of an endpoint, and Credentials, if set, over both.
	Connect     frames.Connect
	Credentials func(context.Context) (user string, password []byte, err error)

	// TLS is the TLS configuration for secure endpoints, nil for the defaults. TLSConfig, if set,
	// is called in place of TLS.
	TLS       *tls.Config
	TLSConfig func(context.Context) (*tls.Config, error)

	// Header, if set, returns the HTTP header of a WebSocket handshake. AnySubprotocol accepts a
	// server that selects no subprotocol.
	Header         func(context.Context) (http.Header, error)
	AnySubprotocol bool

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
		connect := c.connect(c.login(e))
		if err := connect.Validate(); err != nil {
			return wrap("", err)
		}
		if _, err := connect.Append(nil, connect.Version); err != nil {
			return wrap("", err)
		}
	}
	return nil
}

// login returns the user name and the password for an endpoint. It takes both from the Config if
// either is set there, otherwise from the URL.
func (c *Config) login(e *Endpoint) (user string, password []byte) {
	if c.Connect.UserName != "" || c.Connect.Password != nil || e.user == nil {
		return c.Connect.UserName, c.Connect.Password
	}
	if p, ok := e.user.Password(); ok {
		password = []byte(p)
	}
	return e.user.Username(), password
}

// connect returns the CONNECT packet, the first packet of a connection [MQTT-3.1.0-1].
func (c *Config) connect(user string, password []byte) *frames.Connect {
	p := c.Connect
	p.UserNameFlag, p.UserName = user != "", user
	p.PasswordFlag, p.Password = password != nil, password
	return &p
}

// hello returns the encoded CONNECT packet of the next connection to e, with the present
// credentials.
func (c *Config) hello(ctx context.Context, e *Endpoint) ([]byte, error) {
	user, password := c.login(e)
	if c.Credentials != nil {
		var err error
		if user, password, err = c.Credentials(ctx); err != nil {
			return nil, wrap("Credentials: ", withCause(ctx, err))
		}
	}
	connect := c.connect(user, password)
	if err := connect.Validate(); err != nil {
		return nil, wrap("Credentials: ", err)
	}
	hello, err := connect.Append(nil, connect.Version)
	if err != nil {
		return nil, wrap("Credentials: ", err)
	}
	return hello, nil
}

// tlsConfig returns the TLS configuration of the next connection to e, nil without TLS. It copies
// the configuration of the user and fills in ServerName (the host in the URL), NextProtos (the
// protocol over TLS) and MinVersion (at least TLS 1.2).
func (c *Config) tlsConfig(ctx context.Context, e *Endpoint) (*tls.Config, error) {
	if !e.tls {
		return nil, nil
	}
	t := c.TLS
	if c.TLSConfig != nil {
		var err error
		if t, err = c.TLSConfig(ctx); err != nil {
			return nil, wrap("TLSConfig: ", withCause(ctx, err))
		}
	}
	if t = t.Clone(); t == nil {
		t = new(tls.Config)
	}
	if t.ServerName == "" {
		t.ServerName = e.host
	}
	if e.WebSocket() {
		t.NextProtos = []string{"http/1.1"} // this WebSocket library does not use HTTP/2
	} else if t.NextProtos == nil {
		t.NextProtos = []string{"mqtt"}
	}
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	return t, nil
}
