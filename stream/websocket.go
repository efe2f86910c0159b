package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"

	"github.com/go-millrace/mqtt/frames"
)

// HTTPError says that the server did not answer the opening handshake of a
// WebSocket with status 101.
type HTTPError struct{ Status int }

func (e *HTTPError) Error() string {
	return fmt.Sprintf("mqtt: WebSocket: the server answered %d %s", e.Status, http.StatusText(e.Status))
}

// dialWebSocket opens a WebSocket over conn, for binary frames [MQTT-6.0.0-1].
// Packets and frames need not align [MQTT-6.0.0-2]: each write is a frame, and
// frames that come in are read as one stream.
func dialWebSocket(ctx context.Context, conn net.Conn, e *endpoint, o *Options) (net.Conn, error) {
	header := make(http.Header)
	if o.Header != nil {
		h, err := o.Header(ctx)
		if err != nil {
			return nil, fmt.Errorf("mqtt: Header: %w", because(ctx, err))
		}
		header = h
	}
	offer := []string{"mqtt"} // [MQTT-6.0.0-3]
	if o.Version == frames.V31 {
		offer = append(offer, "mqttv3.1")
	}
	// The connection is made, and its TLS: of the URL only path and query count.
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
		Host:         hostHeader(e),
		Subprotocols: offer,
	})
	var failed *url.Error
	switch {
	case answer != nil && answer.StatusCode != http.StatusSwitchingProtocols:
		return nil, &HTTPError{Status: answer.StatusCode}
	case errors.As(err, &failed): // its text has the query
		return nil, fmt.Errorf("mqtt: WebSocket: %w", failed.Err)
	case err != nil:
		return nil, fmt.Errorf("mqtt: WebSocket: %w", err)
	}
	if got := c.Subprotocol(); got == "" && !o.AnySubprotocol {
		c.CloseNow()
		return nil, fmt.Errorf("mqtt: WebSocket: the server selected no subprotocol of %s; Options.AnySubprotocol accepts that", strings.Join(offer, ", "))
	}
	return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
}

// hostHeader is the host as a browser would name it: without a default port.
func hostHeader(e *endpoint) string {
	host, port, err := net.SplitHostPort(e.addr)
	if err != nil || port != schemes[e.scheme].port {
		return e.addr
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
