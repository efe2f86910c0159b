package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// A connector connects through an HTTP proxy with the method CONNECT (RFC 9110, section 9.3.6).
type connector struct {
	proxy   string // host:port
	user    *url.Userinfo
	forward proxy.Dialer // connects to the proxy
}

func newConnector(u *url.URL, forward proxy.Dialer) (proxy.Dialer, error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return &connector{proxy: net.JoinHostPort(u.Hostname(), port), user: u.User, forward: forward}, nil
}

func (c *connector) Dial(network, addr string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, addr)
}

func (c *connector) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.forward.(proxy.ContextDialer).DialContext(ctx, network, c.proxy)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	through, err := c.connect(conn, addr)
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", c.proxy, err)
	}
	return through, nil
}

// connect asks the proxy for a tunnel to addr.
func (c *connector) connect(conn net.Conn, addr string) (net.Conn, error) {
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if c.user != nil {
		password, _ := c.user.Password()
		login := base64.StdEncoding.EncodeToString([]byte(c.user.Username() + ":" + password))
		ask.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := ask.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, ask)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	return &tunnel{Conn: conn, in: in}, nil
}

// A tunnel is a connection through a proxy. Read first returns the bytes that arrived together with
// the answer of the proxy.
type tunnel struct {
	net.Conn
	in *bufio.Reader // nil once it is empty
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.in != nil {
		if t.in.Buffered() > 0 {
			return t.in.Read(p)
		}
		t.in = nil
	}
	return t.Conn.Read(p)
}
