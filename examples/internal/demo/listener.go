package demo

import (
	"log/slog"
	"net"
	"sync"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// door is a listener for mochi. In mochi's own listeners, Close can deadlock with a client that
// disconnects at the same moment.
type door struct {
	net.Listener
	id string

	mu    sync.Mutex
	conns map[net.Conn]bool
	shut  bool
	users sync.WaitGroup
}

func newDoor(id string, l net.Listener) *door {
	return &door{Listener: l, id: id, conns: make(map[net.Conn]bool)}
}

func (d *door) ID() string              { return d.id }
func (d *door) Address() string         { return d.Addr().String() }
func (d *door) Protocol() string        { return d.Addr().Network() }
func (d *door) Init(*slog.Logger) error { return nil }

// Serve accepts connections. Server.Serve calls it once, on a separate goroutine.
func (d *door) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := d.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.shut {
			conn.Close()
		} else {
			d.conns[conn] = true
			d.users.Go(func() {
				establish(d.id, conn) // returns when the client is gone
				d.mu.Lock()
				defer d.mu.Unlock()
				delete(d.conns, conn)
			})
		}
		d.mu.Unlock()
	}
}

// cut closes all connections. Clients can connect again.
func (d *door) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.conns {
		conn.Close()
	}
}

// Close closes all connections and waits until mochi has finished with them.
func (d *door) Close(listeners.CloseFn) {
	d.Listener.Close()
	d.mu.Lock()
	d.shut = true
	for conn := range d.conns {
		conn.Close()
	}
	d.mu.Unlock()
	d.users.Wait()
}
