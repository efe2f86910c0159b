//go:build !js

package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"

	"github.com/go-millrace/mqtt/frames"
)

// dialWebSocket opens a WebSocket over conn for binary frames [MQTT-6.0.0-1]. MQTT packets need not
// be aligned with WebSocket frames [MQTT-6.0.0-2]. Each write becomes one frame, and inbound frames
// are read as one stream.
func dialWebSocket(ctx context.Context, conn net.Conn, e *Endpoint, header http.Header, config *Config) (net.Conn, error) {
	host := header.Get("Host")
	if host == "" {
		host = hostHeader(e)
	}
	offer := []string{"mqtt"} // [MQTT-6.0.0-3]
	if config.Connect.Version == frames.V31 {
		offer = append(offer, "mqttv3.1")
	}
	// The connection and its TLS exist already, so only the path and the query of this URL are
	// used.
	target := "http://broker" + e.path
	if e.query != "" {
		target += "?" + e.query
	}
	once := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	c, answer, err := websocket.Dial(ctx, target, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     once,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:   header,
		Host:         host,
		Subprotocols: offer,
	})
	var failed *url.Error
	switch {
	case answer != nil && answer.StatusCode != http.StatusSwitchingProtocols:
		body, _ := io.ReadAll(answer.Body) // the first 1,024 bytes; the library has read them
		return nil, &HTTPError{Status: answer.StatusCode, Body: quotable(string(body), secretsOf(e, header))}
	case errors.As(err, &failed): // the text of failed has the query, which may hold a token
		return nil, wrap("WebSocket: ", failed.Err)
	case err != nil:
		return nil, wrap("WebSocket: ", err)
	}
	if got := c.Subprotocol(); got == "" && !config.AnySubprotocol {
		c.CloseNow()
		return nil, fmt.Errorf("mqtt: WebSocket: the server selected no subprotocol of %s; Options.AnySubprotocol accepts that", strings.Join(offer, ", "))
	}
	return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
}

// hostHeader returns the value of the HTTP header Host. As in a browser, a default port is left
// out.
func hostHeader(e *Endpoint) string {
	host, port, err := net.SplitHostPort(e.addr)
	if err != nil || port != schemes[e.scheme].port {
		return e.addr
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
