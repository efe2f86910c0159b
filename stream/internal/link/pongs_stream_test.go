//go:build !js

package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"pgregory.net/rapid"
)

// A pongServer is a WebSocket server that keeps the bytes it receives and counts the pongs.
type pongServer struct {
	*httptest.Server
	pongs    atomic.Int64
	received chan []byte // the bytes of one connection, after it was closed
}

func newPongServer(secure bool) *pongServer {
	s := &pongServer{received: make(chan []byte, 1)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	return s
}

func (s *pongServer) serve(w http.ResponseWriter, r *http.Request) {
	var got []byte
	defer func() { s.received <- got }()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:   []string{"mqtt"},
		OnPongReceived: func(context.Context, []byte) { s.pongs.Add(1) },
	})
	if err != nil {
		return
	}
	got, _ = io.ReadAll(websocket.NetConn(r.Context(), c, websocket.MessageBinary))
}

// dial returns a WebSocket, and the pongConn under it.
func (s *pongServer) dial(t *rapid.T) (net.Conn, *pongConn) {
	address, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	if s.TLS != nil {
		config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName = "example.com" // a name in the certificate of httptest
		conn = tls.Client(conn, config)
	}
	pongs := newPongConn(conn) // under the one of dialWebSocket, and in reach of the test
	c, err := dialWebSocket(context.Background(), pongs, &Endpoint{addr: address.Host, path: "/"}, http.Header{}, &Config{})
	if err != nil {
		t.Fatal(err)
	}
	pongs.start()
	return c, pongs
}

// Whatever the client writes between pongs, the server's parser accepts the stream and finds each
// byte in it.
func TestPongsLieBetweenFrames(t *testing.T) {
	for name, secure := range map[string]bool{"ws": false, "wss": true} {
		t.Run(name, func(t *testing.T) {
			s := newPongServer(secure)
			defer s.Close()
			rapid.Check(t, func(t *rapid.T) {
				sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(4000, 4200), rapid.IntRange(1, 40_000)), 1, 20).Draw(t, "sizes")
				c, pongs := s.dial(t)
				before, sent := s.pongs.Load(), int64(0)
				stop, pinger := make(chan struct{}), sync.WaitGroup{}
				pinger.Go(func() {
					for sent < 500 {
						pongs.pong()
						sent++
						select {
						case <-stop:
							return
						default:
						}
					}
				})
				var want []byte
				for i, n := range sizes {
					p := bytes.Repeat([]byte{byte(i)}, n)
					want = append(want, p...)
					if _, err := c.Write(p); err != nil {
						t.Errorf("write: %v", err)
					}
				}
				close(stop)
				pinger.Wait()
				c.Close()
				pongs.pong() // after the close frame
				if got := <-s.received; !bytes.Equal(got, want) {
					t.Errorf("%d bytes arrive, want %d", len(got), len(want))
				}
				if got := s.pongs.Load() - before; got != sent {
					t.Errorf("%d pongs arrive, want %d", got, sent)
				}
			})
		})
	}
}
