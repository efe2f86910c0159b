package streamtest

import (
	"context"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// Dialing records one call of Broker.Dial.
type Dialing struct {
	Network, Addr string
	At            time.Time // the time of the call
}

// rule is the plan for the next n dials.
type rule struct {
	n   int
	err error // nil: the dials hang
}

// Dial connects a client. Its type is that of Options.DialContext. Like a dial to a listening
// socket, Dial returns before the test calls Accept, unless Refuse or Hold applies to this dial.
// The connection is a *PipeConn, and a *net.TCPConn with the option TCP.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: Addr{network, addr}, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	planned, err := b.next(network, addr)
	switch {
	case planned && err != nil:
		return nil, err
	case planned:
		select {
		case <-ctx.Done():
			return fail(ctx.Err())
		case <-b.closed:
			return fail(net.ErrClosed)
		}
	}
	var s *socket
	if b.o.tcp {
		if s, err = dialSocket(ctx, &b.o); err != nil {
			return fail(err)
		}
	}
	c, client, served := b.connect(network, addr, s)
	if c == nil {
		return fail(net.ErrClosed)
	}
	if served {
		return client, nil
	}
	select {
	case b.dialed <- c:
		return client, nil
	case <-ctx.Done():
		_ = c.end.Close()
		s.close()
		return fail(ctx.Err())
	case <-b.closed:
		s.close()
		return fail(net.ErrClosed)
	}
}

// next records a dial and returns its plan. The results (true, nil) mean that the dial must hang.
func (b *Broker) next(network, addr string) (planned bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials = append(b.dials, Dialing{Network: network, Addr: addr, At: time.Now()})
	if len(b.plan) == 0 {
		return false, nil
	}
	r := &b.plan[0]
	err = r.err
	if r.n--; r.n <= 0 {
		b.plan = b.plan[1:]
	}
	return true, err
}

// connect makes the connection, over the socket s if it is not nil, and starts the Responder, if
// any, on it. After Close it returns nil.
func (b *Broker) connect(network, addr string, s *socket) (c *Conn, client net.Conn, served bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		s.close()
		return nil, nil, false
	}
	near, end := pipe(limitOf(b.o.buffer), b.o.sendBuffer, Addr{network, "client"}, Addr{network, addr})
	near.answered = !b.o.open
	near.SetRate(b.o.fromClient)
	end.SetRate(b.o.toClient)
	c = newConn(b, len(b.conns)+1, near, end)
	client = near
	if s != nil {
		s.pipe, c.socket, client = near, s, s.client
		b.served.Go(s.run)
	}
	b.conns = append(b.conns, c)
	if b.auto != nil {
		c.respond(b.auto)
	}
	return c, client, b.auto != nil
}

// Refuse makes n dials fail with err. Dials planned by earlier calls of Refuse and Hold come first.
// A nil err means ECONNREFUSED.
func (b *Broker) Refuse(n int, err error) {
	if err == nil {
		err = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	b.add(rule{n, err})
}

// Hold makes n dials hang until their context ends. Dials planned by earlier calls of Refuse and
// Hold come first.
func (b *Broker) Hold(n int) { b.add(rule{n: n}) }

func (b *Broker) add(r rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.n > 0 {
		b.plan = append(b.plan, r)
	}
}

// Admit cancels the plans of Refuse and Hold. Dials that already hang keep hanging.
func (b *Broker) Admit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan = nil
}

// Dials returns all calls of Dial so far, in order. It includes refused dials.
func (b *Broker) Dials() []Dialing {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.dials)
}
