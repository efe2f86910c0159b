package link

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// dialWebSocket returns an error: a program in a browser has no sockets. It can wrap a WebSocket of
// the browser as a net.Conn and return it from DialContext, for a URL of scheme mqtt.
func dialWebSocket(context.Context, net.Conn, *Endpoint, http.Header, *Config) (net.Conn, error) {
	return nil, wrap("WebSocket: ", errors.New("js has no sockets; use the scheme mqtt and a DialContext that returns a WebSocket of the browser"))
}

// notUnderstood returns false, since there is no WebSocket.
func notUnderstood(error) bool { return false }
