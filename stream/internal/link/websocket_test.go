//go:build !js

package link

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/go-millrace/mqtt/frames"
)

// V1: a broker behind a WebSocket refuses MQTT 5 also with a close message that says that it does
// not understand the data. Another close message, which may be about credentials, is no refusal of
// the version.
func TestACloseMessageMayRefuseTheVersion(t *testing.T) {
	for status, refused := range map[websocket.StatusCode]bool{
		websocket.StatusNormalClosure:           true,
		websocket.StatusProtocolError:           true,
		websocket.StatusUnsupportedData:         true,
		websocket.StatusInvalidFramePayloadData: true,
		websocket.StatusPolicyViolation:         false,
		websocket.StatusInternalError:           true,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
			if err != nil {
				t.Error(err)
				return
			}
			conn := websocket.NetConn(r.Context(), c, websocket.MessageBinary)
			if p := readConnect(t, conn); p == nil || p.Version == frames.V5 {
				c.Close(status, "not like this")
				return
			}
			conn.Write(accept())
			readConnect(t, conn) // until the client closes
		}))
		d := newTestDialer(t, &fakeNet{}, negotiating, strings.Replace(server.URL, "http:", "ws:", 1))
		d.config.DialContext = new(net.Dialer).DialContext
		c, err := d.Dial(t.Context(), Request{Number: 1})
		switch {
		case err == nil:
			if c.Abort(); !refused || c.Version != frames.V311 {
				t.Errorf("status %d: connected at MQTT %v", status, c.Version)
			}
		case refused:
			t.Errorf("status %d: %v", status, err)
		default:
			once(t, err, "not like this")
		}
		server.Close()
	}
}
