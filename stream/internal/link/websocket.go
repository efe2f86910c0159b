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
// be aligned with WebSocket frames [MQTT-6.0.0-2]. Writes are divided into frames by framedConn,
// and inbound frames are read as one stream.
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
	pongs := newPongConn(conn)
	once := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return pongs, nil },
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
	pongs.start()
	return framedConn{websocket.NetConn(context.Background(), c, websocket.MessageBinary)}, nil
}

// A framedConn divides long writes into frames. A pong has to wait for the end of the frame being
// written, and the WebSocket library closes the connection if the wait takes longer than five
// seconds. Over a slow line a long frame takes longer. The pong precedes the next frame.
type framedConn struct{ net.Conn }

// frameBytes fills, with the eight bytes of its header, the write buffer of the library, so shorter
// frames take no more writes than long ones. Such a frame passes a line of 1 kB/s in time.
const frameBytes = 4<<10 - 8

func (c framedConn) Write(p []byte) (n int, err error) {
	for len(p) > frameBytes {
		m, err := c.Conn.Write(p[:frameBytes])
		n += m
		if err != nil {
			return n, err
		}
		p = p[frameBytes:]
	}
	m, err := c.Conn.Write(p)
	return n + m, err
}

// notUnderstood reports whether the peer closed the WebSocket because it did not understand our
// data. RabbitMQ 3.10 does so in place of a CONNACK if it does not know the protocol version: with
// StatusInternalError, since its parser fails.
func notUnderstood(err error) bool {
	switch websocket.CloseStatus(err) {
	case websocket.StatusProtocolError, websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData,
		websocket.StatusInternalError:
		return true
	}
	return false
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
