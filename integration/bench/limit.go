package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// limits are minimal programs whose speed is an upper bound for a client. They write packets that
// were encoded before the run, in batches, and parse only the necessary parts of the answers. The
// first program does everything in one goroutine. The second has a reader and a writer, like a
// client that accepts messages at any time. The third only receives, and polls.
var limits = []contender{
	{name: "limit, one goroutine", connect: connectLimit(func(r *raw) session { return &oneGoroutine{raw: r} })},
	{name: "limit, two goroutines", connect: connectLimit(func(r *raw) session { return &twoGoroutines{raw: r, spares: make(chan []byte, 64)} })},
	{name: "limit, polling", connect: connectLimit(func(r *raw) session { return &polling{raw: r} })},
}

const limitBatch = 64 << 10 // size of one write in bytes

// raw is the connection of a limit program.
type raw struct {
	s       *scenario
	conn    net.Conn
	in, out []byte
	message publication
}

func connectLimit(use func(*raw) session) func(*scenario, string) (session, error) {
	return func(s *scenario, id string) (session, error) {
		if s.Kind == idle || s.Kind == durable {
			return nil, errUnsupported
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "tcp://"))
		if err != nil {
			return nil, err
		}
		r := newRaw(s, conn)
		return use(r), r.connect(id)
	}
}

func newRaw(s *scenario, conn net.Conn) *raw {
	return &raw{s: s, conn: conn, in: make([]byte, 0, max(limitBatch, 2*s.Payload)), message: newPublication(s.QoS, s.body(), false)}
}

func (r *raw) connect(id string) error {
	body := appendText(nil, "MQTT")
	body = append(body, 4, 2, 0, 0) // level 4, the flag clean session, no keep alive
	body = appendText(body, id)
	r.out = append(appendHeader(nil, typeConnect, len(body)), body...)
	if err := r.flush(); err != nil {
		return err
	}
	return r.await(typeConnack)
}

func (r *raw) Close() error {
	r.out = append(r.out, typeDisconnect, 0)
	return errors.Join(r.flush(), r.conn.Close())
}

// flush writes and clears the buffer out.
func (r *raw) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	_, err := r.conn.Write(r.out)
	r.out = r.out[:0]
	return err
}

// read reads once and calls the function packet for each complete packet.
func (r *raw) read(packet func(first byte, body []byte) error) error {
	n, err := r.conn.Read(r.in[len(r.in):cap(r.in)])
	if n == 0 && err != nil {
		return err
	}
	r.in = r.in[:len(r.in)+n]
	rest := r.in
	for {
		body, end, err := frame(rest)
		if err != nil {
			return err
		}
		if end == 0 || end > len(rest) {
			if end > cap(r.in) {
				return fmt.Errorf("a packet of %d bytes", end)
			}
			r.in = r.in[:copy(r.in[:cap(r.in)], rest)]
			return nil
		}
		if err := packet(rest[0], rest[body:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
}

// await reads until a packet of the given type has arrived.
func (r *raw) await(first byte) error {
	for found := false; !found; {
		err := r.read(func(got byte, _ []byte) error {
			found = found || got == first
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// subscribe subscribes to the filters and waits for SUBACK.
func (r *raw) subscribe(filters ...string) error {
	body := []byte{0, 1}
	for _, f := range filters {
		body = append(appendText(body, f), r.s.QoS)
	}
	r.out = append(appendHeader(r.out, typeSubscribe, len(body)), body...)
	if err := r.flush(); err != nil {
		return err
	}
	return r.await(typeSuback)
}

// answered handles an ack for a publication. The result done is 1 if an exchange is complete, or
// else 0. If an ack must be sent, it is appended to out.
func answered(first byte, body []byte, out []byte) (_ []byte, done int, err error) {
	switch first {
	case typePuback, typePubcomp:
		return out, 1, nil
	case typePubrec:
		id, err := idOf(first, body)
		return appendAck(out, typePubrel, id), 0, err
	}
	return out, 0, fmt.Errorf("packet of type %d is not an ack", first>>4)
}

// arrived handles a packet to a subscriber. The result n is 1 for a message, or else 0. If an ack
// must be sent, it is appended to out.
func arrived(first byte, body []byte, out []byte) (_ []byte, n int, err error) {
	if first&0xf0 == typePublish && qosOf(first) == 0 {
		return out, 1, nil
	}
	id, err := idOf(first, body)
	switch {
	case err != nil:
	case first == typePubrel:
		out = appendAck(out, typePubcomp, id)
	case first&0xf0 != typePublish:
		err = fmt.Errorf("packet of type %d is not for a subscriber", first>>4)
	case qosOf(first) == 1:
		out, n = appendAck(out, typePuback, id), 1
	default:
		out, n = appendAck(out, typePubrec, id), 1
	}
	return out, n, err
}

// nextID returns the packet identifier after id.
func nextID(id uint16) uint16 {
	if id++; id == 0 {
		id = 1
	}
	return id
}

// writeOnly writes n messages at QoS 0 and waits for no acks.
func (r *raw) writeOnly(n int) error {
	batch, each := r.message.repeat(limitBatch)
	size := len(batch) / each
	for ; n > 0; n -= each {
		if _, err := r.conn.Write(batch[:min(n, each)*size]); err != nil {
			return err
		}
	}
	return nil
}
