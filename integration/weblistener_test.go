package integration

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// webListener accepts WebSockets on another listener, at the path /mqtt with the subprotocol mqtt.
type webListener struct {
	net.Listener
	server http.Server
	conns  chan net.Conn // connections that Accept returns
	shut   chan struct{} // closed by Close
	serves sync.WaitGroup
	once   sync.Once
}

func newWebListener(l net.Listener) *webListener {
	w := &webListener{Listener: l, conns: make(chan net.Conn), shut: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/mqtt", w.open)
	w.server.Handler = mux
	w.server.ErrorLog = log.New(io.Discard, "", 0) // tests provoke failed handshakes
	w.serves.Go(func() { w.server.Serve(l) })
	return w
}

func (w *webListener) open(rw http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		return // Accept has sent a response
	}
	conn := &webConn{websocket.NetConn(context.Background(), c, websocket.MessageBinary), c}
	select {
	case w.conns <- conn:
	case <-w.shut:
		conn.Close()
	}
}

func (w *webListener) Accept() (net.Conn, error) {
	select {
	case conn := <-w.conns:
		return conn, nil
	case <-w.shut:
		return nil, net.ErrClosed
	}
}

func (w *webListener) Close() error {
	w.once.Do(func() { close(w.shut) })
	err := w.server.Close()
	w.serves.Wait()
	return err
}

// A webConn closes without the closing handshake, because the client may be gone.
type webConn struct {
	net.Conn
	c *websocket.Conn
}

func (c *webConn) Close() error { return c.c.CloseNow() }
