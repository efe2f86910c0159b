package gocdk

import (
	"net"
	"sync"
	"testing"
	"time"
)

const (
	cutEvery = 200 * time.Millisecond
	delay    = 20 * time.Millisecond // each way, so that cuts come between the packets of an exchange
)

// A proxy passes bytes on to a broker and cuts all its connections every 200 ms.
type proxy struct {
	listener net.Listener
	broker   string
	end      chan struct{}
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // both sides of every connection; nil when the proxy has ended
	cuts  int               // connections that were cut
}

func newProxy(t *testing.T, broker string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, broker: broker, end: make(chan struct{}), conns: make(map[net.Conn]bool)}
	p.running.Go(p.accept)
	p.running.Go(p.cutAlways)
	t.Cleanup(func() {
		l.Close()
		close(p.end)
		p.cut()
		p.mu.Lock()
		p.conns = nil
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.broker)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		if p.conns == nil {
			client.Close()
			broker.Close()
		} else {
			p.conns[client], p.conns[broker] = true, true
			p.running.Go(func() { p.pass(client, broker) })
			p.running.Go(func() { p.pass(broker, client) })
		}
		p.mu.Unlock()
	}
}

func (p *proxy) cutAlways() {
	ticker := time.NewTicker(cutEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.cut()
		case <-p.end:
			return
		}
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts += len(p.conns) / 2
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// pass passes bytes on until a side closes.
func (p *proxy) pass(from, to net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		time.Sleep(delay)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			p.mu.Lock()
			delete(p.conns, from)
			p.mu.Unlock()
			return
		}
	}
}
