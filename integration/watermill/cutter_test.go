package watermillmqtt_test

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A cutter passes bytes between clients and a broker and cuts all its connections at every tick.
type cutter struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	done  bool
}

// startCutter returns the URL for clients of the broker at url.
func startCutter(t *testing.T, url string, every time.Duration) string {
	t.Helper()
	addr := strings.TrimPrefix(url, "mqtt://")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{conns: make(map[net.Conn]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { c.relay(client, addr) })
		}
	})
	stop := make(chan struct{})
	running.Go(func() {
		for tick := time.Tick(every); ; {
			select {
			case <-tick:
				c.cut(false)
			case <-stop:
				c.cut(true)
				return
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		l.Close()
		running.Wait()
	})
	return "mqtt://" + l.Addr().String()
}

func (c *cutter) relay(client net.Conn, addr string) {
	defer client.Close()
	broker, err := net.Dial("tcp", addr)
	if err != nil {
		return // the broker restarts
	}
	defer broker.Close()
	if !c.add(client) {
		return
	}
	defer c.remove(client)
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(broker, client)
		broker.(*net.TCPConn).CloseWrite()
	})
	io.Copy(client, broker)
	client.Close()
	up.Wait()
}

func (c *cutter) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *cutter) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// cut closes all connections, half of them with a reset.
func (c *cutter) cut(last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = last
	for conn := range c.conns {
		if rand.N(2) == 0 {
			conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
	}
}
