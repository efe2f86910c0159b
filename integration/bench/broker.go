package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// A broker is a null broker for one run: it does not route messages. It counts or acknowledges
// inbound messages and sends each subscriber as many messages as its window allows. In an echo
// scenario it returns each message on the same connection.
type broker struct {
	s        *scenario
	listener net.Listener
	lines    sync.WaitGroup // the goroutines of the connections

	completed atomic.Int64  // publications counted (QoS 0) or completely acknowledged
	all       chan struct{} // closed when all publications of the scenario are completed
	sent      atomic.Int64  // messages to subscribers

	mu     sync.Mutex
	open   []*line
	served int
	errs   []error
}

// A server is the broker of a run.
type server interface {
	done() <-chan struct{} // closed when all publications have been counted or acknowledged
	flood()                // starts sending messages to the subscribers
	messages() int64       // number of messages sent to subscribers
	close() error          // stops the broker and returns the errors of the run
}

// serve starts the broker named by s and sets s.URL.
func serve(s *scenario) (server, error) {
	if s.Through == "mosquitto" {
		return newMosquitto(s)
	}
	return newBroker(s)
}

// newBroker starts a null broker and sets s.URL.
func newBroker(s *scenario) (*broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &broker{s: s, listener: l, all: make(chan struct{})}
	s.URL = "tcp://" + l.Addr().String()
	b.lines.Go(b.accept)
	return b, nil
}

func (b *broker) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		l := newLine(b, conn)
		b.mu.Lock()
		b.open = append(b.open, l)
		b.served++
		if b.served > b.s.Clients {
			b.errs = append(b.errs, errors.New("a client connected a second time"))
		}
		b.mu.Unlock()
		b.lines.Go(func() {
			defer conn.Close()
			if err := l.serve(); err != nil {
				b.fail(err)
			}
		})
	}
}

func (b *broker) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, fmt.Errorf("the null broker: %w", err))
}

// complete adds n to the number of completed publications.
func (b *broker) complete(n int) {
	total := int64(b.s.Messages)
	if now := b.completed.Add(int64(n)); now >= total && now-int64(n) < total {
		close(b.all)
	}
}

func (b *broker) messages() int64 { return b.sent.Load() }

func (b *broker) done() <-chan struct{} { return b.all }

// flood starts sending messages to the subscribers.
func (b *broker) flood() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.open {
		if l.subscribed.Load() {
			b.lines.Go(l.flood)
		}
	}
}

// close ends all connections and returns their errors.
func (b *broker) close() error {
	b.listener.Close()
	b.mu.Lock()
	err := errors.Join(b.errs...)
	for _, l := range b.open {
		l.conn.Close()
	}
	b.mu.Unlock()
	b.lines.Wait()
	return err
}
