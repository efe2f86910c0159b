package integration

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A proxy passes bytes between clients and a broker and simulates network faults. It runs until the
// end of the test.
type proxy struct {
	url     string // URL for clients
	serving sync.WaitGroup

	mu     sync.Mutex
	manner manner // manner of new connections
	relays map[*relay]bool
	shut   bool
}

// A manner describes the faults of a connection. The zero value has no faults.
type manner struct {
	delay time.Duration // maximum delay of the bytes of one read
	split bool          // write byte by byte
	rate  int           // bytes per second towards the broker; 0: no limit
	ends  func() end    // returns the end of a new connection; nil: connections do not break
}

// An end says where and how a connection breaks off: after a number of bytes in one direction, and
// either by a reset or as if the other side had closed it.
type end struct {
	way   way
	after int
	reset bool
}

type way int

const up, down way = 0, 1 // to the broker, to the client

// A relay is one connection through the proxy.
type relay struct {
	manner manner
	end    *end
	to     [2]*net.TCPConn // index: the way, up or down
	bytes  [2]atomic.Int64 // bytes passed on; index: the way
	state  atomic.Int32

	sever sync.Once
	over  chan struct{} // closed by cut
}

const (
	lost  = 1 + iota // half open: bytes are read and dropped, and no side notices when the other closes
	stuck            // nothing is read, as if the broker had stopped reading
)

func newProxy(t *testing.T, b *broker, m manner) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "mqtt://" + l.Addr().String(), manner: m, relays: make(map[*relay]bool)}
	p.serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			if broker, err := net.Dial("tcp", b.url[len("mqtt://"):]); err != nil {
				client.Close()
			} else {
				p.relay(client.(*net.TCPConn), broker.(*net.TCPConn))
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.shut = true
		p.mu.Unlock()
		p.each(func(r *relay) { r.cut(false) })
		p.serving.Wait()
	})
	return p
}

func (p *proxy) relay(client, broker *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.manner.rate > 0 {
		client.SetReadBuffer(16 << 10) // so that the bytes wait at the client
	}
	r := &relay{manner: p.manner, to: [2]*net.TCPConn{up: broker, down: client}, over: make(chan struct{})}
	if p.manner.ends != nil {
		e := p.manner.ends()
		r.end = &e
	}
	if p.shut || r.end != nil && r.end.after == 0 {
		r.cut(r.end != nil && r.end.reset)
		return
	}
	p.relays[r] = true
	p.serving.Go(func() {
		var pumps sync.WaitGroup
		pumps.Go(func() { r.pump(up, client) })
		pumps.Go(func() { r.pump(down, broker) })
		pumps.Wait()
		r.cut(false)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.relays, r)
	})
}

func (p *proxy) set(m manner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.manner = m
}

func (p *proxy) each(f func(*relay)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.relays {
		f(r)
	}
}

// cut closes the connections to both sides.
func (r *relay) cut(reset bool) {
	r.sever.Do(func() {
		close(r.over)
		for _, conn := range r.to {
			if reset {
				conn.SetLinger(0)
			}
			conn.Close()
		}
	})
}

func (r *relay) pump(w way, from *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !r.pass(w, buf[:n]) {
			return
		}
		switch {
		case err == nil:
			continue
		case r.state.Load() == lost:
		case errors.Is(err, io.EOF):
			r.to[w].CloseWrite()
		default:
			r.cut(true)
		}
		return
	}
}

// pass writes b to the other side and reports whether the relay continues to read.
func (r *relay) pass(w way, b []byte) bool {
	select {
	case <-time.After(rand.N(r.manner.delay + 1)):
	case <-r.over:
	}
	if w == up && r.manner.rate > 0 {
		select {
		case <-time.After(time.Duration(len(b)) * time.Second / time.Duration(r.manner.rate)):
		case <-r.over:
		}
	}
	switch r.state.Load() {
	case lost:
		return true
	case stuck:
		<-r.over
		return false
	}
	last, step := false, len(b)
	if r.end != nil && r.end.way == w {
		left := r.end.after - int(r.bytes[w].Load())
		last = left <= len(b)
		b = b[:min(left, len(b))]
	}
	if r.manner.split {
		step = 1
	}
	for piece := range slices.Chunk(b, max(step, 1)) {
		r.bytes[w].Add(int64(len(piece)))
		if _, err := r.to[w].Write(piece); err != nil {
			r.cut(true)
			return false
		}
	}
	if last {
		r.cut(r.end.reset)
	}
	return !last
}
