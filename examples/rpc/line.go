package main

import (
	"context"
	"net"
	"net/url"
	"sync"

	"github.com/go-millrace/mqtt/examples/internal/demo"
)

// A line leads all connections to one broker. It can break them, or lead to a new broker.
type line struct {
	mu     sync.Mutex
	addr   string
	conns  []net.Conn
	broker *demo.Broker // the present one, unless it is that of the command line
}

func newLine(broker string) (*line, error) {
	u, err := url.Parse(broker)
	if err != nil {
		return nil, err
	}
	return &line{addr: u.Host}, nil
}

// dial is Options.DialContext.
func (l *line) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	l.mu.Lock()
	addr := l.addr
	l.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr != l.addr {
		conn.Close() // the broker has gone meanwhile
	}
	l.conns = append(l.conns, conn)
	return conn, nil
}

// cut breaks all connections. The broker keeps the sessions.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// restart leads to a new broker, which knows no session.
func (l *line) restart() error {
	next, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		return err
	}
	u, err := url.Parse(next.URL)
	if err != nil {
		return err
	}
	l.mu.Lock()
	last := l.broker
	l.broker, l.addr = next, u.Host
	l.mu.Unlock()
	l.cut()
	if last != nil {
		return last.Close()
	}
	return nil
}

// close ends the broker that restart has started.
func (l *line) close() {
	if l.broker != nil {
		l.broker.Close()
	}
}
