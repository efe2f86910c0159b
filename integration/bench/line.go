package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

const (
	brokerRead  = 256 << 10 // size of one read in bytes
	brokerWrite = 128 << 10 // size of one write to a subscriber at QoS 0 in bytes
)

// A line is the side of the broker in one connection. It answers each read with one write.
type line struct {
	b          *broker
	conn       net.Conn
	subscribed atomic.Bool // the reader sets it, flood reads it

	// Owned by the reader.
	v5        bool
	source    publication // the message for subscribers
	in, out   []byte
	completed int      // number of publications that the acks in out complete
	held      []byte   // echo at QoS 2: the message between PUBLISH and PUBREL
	came      int      // number of QoS 1 messages received while Hold is set
	owed      []uint16 // identifiers of unacknowledged QoS 1 messages, oldest first
	over      bool     // DISCONNECT has arrived
}

func newLine(b *broker, conn net.Conn) *line { return &line{b: b, conn: conn} }

// serve answers packets until the connection ends. It returns an error if the client sends a packet
// that a client must not send. For an I/O error it returns nil.
func (l *line) serve() error {
	size := brokerRead
	if l.b.s.Kind == idle { // so that five thousand lines need little memory
		size = 1 << 10
	}
	l.in = make([]byte, 0, size)
	for !l.over {
		n, err := l.conn.Read(l.in[len(l.in):cap(l.in)])
		if n == 0 && err != nil {
			return nil
		}
		l.in = l.in[:len(l.in)+n]
		if err := l.take(); err != nil {
			return err
		}
		if len(l.out) > 0 {
			if _, err := l.conn.Write(l.out); err != nil {
				return nil
			}
			l.out = l.out[:0]
		}
		if l.completed > 0 {
			l.b.complete(l.completed)
			l.completed = 0
		}
	}
	return nil
}

// take handles the complete packets in the buffer and makes room for the missing part of an
// incomplete packet.
func (l *line) take() error {
	rest := l.in
	for {
		body, end, err := frame(rest)
		if err != nil {
			return err
		}
		if end == 0 || end > len(rest) {
			if end > cap(l.in) {
				l.in = append(make([]byte, 0, end), rest...)
			} else {
				l.in = l.in[:copy(l.in[:cap(l.in)], rest)]
			}
			return nil
		}
		if err := l.packet(rest[0], rest[body:end], rest[:end]); err != nil {
			return fmt.Errorf("packet of type %d: %w", rest[0]>>4, err)
		}
		rest = rest[end:]
	}
}

// packet answers one packet. The parameter whole is the packet with its header.
func (l *line) packet(first byte, body, whole []byte) error {
	switch first & 0xf0 {
	case typePublish:
		return l.publish(first, body, whole)
	case typePuback, typePubcomp & 0xf0: // the exchange is complete, and the next message reuses its identifier
		id, err := idOf(first, body)
		if l.b.s.Kind == receive {
			l.out = l.source.append(l.out, id)
			l.b.sent.Add(1)
		}
		return err
	case typePubrec:
		id, err := idOf(first, body)
		l.out = appendAck(l.out, typePubrel, id)
		return err
	case typePubrel & 0xf0:
		id, err := idOf(first, body)
		l.out = appendAck(l.out, typePubcomp, id)
		l.completed++
		l.out = append(l.out, l.held...)
		l.held = l.held[:0]
		return err
	case typeConnect:
		return l.connect(body)
	case typeSubscribe & 0xf0:
		return l.subscribe(body)
	case typePingreq:
		l.out = append(l.out, typePingresp, 0)
	case typeDisconnect:
		l.over = true
	default:
		return errors.New("a client must not send it")
	}
	return nil
}

func (l *line) publish(first byte, body, whole []byte) error {
	back := l.b.s.Kind == echo
	switch qosOf(first) {
	case 0:
		l.completed++
	case 1:
		id, err := idOf(first, body)
		if err != nil {
			return err
		}
		if l.b.s.Hold > 0 {
			l.hold(id)
			return nil
		}
		l.out = appendAck(l.out, typePuback, id)
		l.completed++
	case 2:
		id, err := idOf(first, body)
		if err != nil {
			return err
		}
		l.out = appendAck(l.out, typePubrec, id)
		if back {
			l.held = append(l.held[:0], whole...)
		}
		return nil
	}
	if back { // the echo can have the identifier of the client, because each direction has its own identifiers
		l.out = append(l.out, whole...)
	}
	return nil
}

// hold acknowledges the oldest message when more than Hold messages have no ack. At the last
// message it acknowledges all of them.
func (l *line) hold(id uint16) {
	l.owed = append(l.owed, id)
	l.came++
	due := len(l.owed) - l.b.s.Hold
	if l.came == l.b.s.share(0) {
		due = len(l.owed)
	}
	for range max(due, 0) {
		l.out = appendAck(l.out, typePuback, l.owed[0])
		l.owed = l.owed[1:]
		l.completed++
	}
}

func (l *line) connect(body []byte) error {
	_, rest, err := text(body)
	if err != nil || len(rest) == 0 {
		return errShort
	}
	if l.v5 = rest[0] == 5; l.v5 {
		l.out = append(l.out, typeConnack, 3, 0, 0, 0)
	} else {
		l.out = append(l.out, typeConnack, 2, 0, 0)
	}
	l.source = newPublication(l.b.s.QoS, l.b.s.body(), l.v5)
	return nil
}

// subscribe grants the requested QoS for each filter.
func (l *line) subscribe(body []byte) error {
	if len(body) < 2 {
		return errShort
	}
	id, rest := binary.BigEndian.Uint16(body), body[2:]
	answer := binary.BigEndian.AppendUint16(nil, id)
	if l.v5 {
		n, after, err := varint(rest)
		if err != nil || n > len(after) {
			return errShort
		}
		rest = after[n:]
		answer = append(answer, 0)
	}
	for len(rest) > 0 {
		_, after, err := text(rest)
		if err != nil || len(after) == 0 {
			return errShort
		}
		answer = append(answer, after[0]&3)
		rest = after[1:]
	}
	l.out = append(appendHeader(l.out, typeSuback, len(answer)), answer...)
	l.subscribed.Store(true)
	return nil
}

// flood sends as many messages as the window allows. After that, each ack at QoS 1 or 2 makes the
// line send one more message.
func (l *line) flood() {
	if l.b.s.QoS > 0 {
		var first []byte
		for id := range l.b.s.Window {
			first = l.source.append(first, uint16(id+1))
		}
		l.b.sent.Add(int64(l.b.s.Window))
		_, _ = l.conn.Write(first)
		return
	}
	chunk, n := l.source.repeat(brokerWrite)
	for {
		if _, err := l.conn.Write(chunk); err != nil {
			return // the consumer has all its messages and has closed the connection
		}
		l.b.sent.Add(int64(n))
	}
}
