package stream_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	wsContinuation = 0x0
	wsText         = 0x1
	wsBinary       = 0x2
	wsClose        = 0x8
	wsPing         = 0x9
	wsPong         = 0xa
)

// webSocket is the server's end of a WebSocket, written without a library. The script writes single
// frames, and sees each frame of the client.
type webSocket struct {
	net.Conn
	t       *testing.T
	in      *bufio.Reader
	request *http.Request

	rest    []byte // unread part of the current frame
	opcodes []byte // opcodes of the client's frames so far
}

// upgrade accepts a connection and answers its opening handshake with the given header lines. From
// then on the script runs over WebSocket frames.
func upgrade(t *testing.T, b *streamtest.Broker, lines ...string) (*streamtest.Conn, *webSocket) {
	t.Helper()
	c := b.Accept()
	return c, upgradeOver(t, c, lines...)
}

func upgradeOver(t *testing.T, c *streamtest.Conn, lines ...string) *webSocket {
	t.Helper()
	w := newWebSocket(t, c)
	w.asked()
	sum := sha1.Sum([]byte(w.request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.answer(append([]string{"101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:])}, lines...)...)
	c.Wrap(w)
	return w
}

func newWebSocket(t *testing.T, c *streamtest.Conn) *webSocket {
	return &webSocket{Conn: c.Raw(), t: t, in: bufio.NewReader(c.Raw())}
}

// asked reads the opening handshake of the client.
func (w *webSocket) asked() {
	w.t.Helper()
	var err error
	if w.request, err = http.ReadRequest(w.in); err != nil {
		w.t.Fatal(err)
	}
}

// answer writes a status line and header lines as the answer to the opening handshake.
func (w *webSocket) answer(lines ...string) {
	text := "HTTP/1.1 "
	for _, line := range lines {
		text += line + "\r\n"
	}
	io.WriteString(w.Conn, text+"\r\n")
}

// frame writes one frame. The parameter last reports whether the frame ends its message.
func (w *webSocket) frame(opcode byte, last bool, payload []byte) {
	head := []byte{opcode}
	if last {
		head[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	w.Conn.Write(append(head, payload...))
}

// Write writes p in one binary frame.
func (w *webSocket) Write(p []byte) (int, error) {
	w.frame(wsBinary, true, p)
	return len(p), nil
}

// Read reads the payload of the client's binary frames. After a close frame it returns io.EOF.
func (w *webSocket) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		opcode, payload, err := w.next()
		if err != nil {
			return 0, err
		}
		w.opcodes = append(w.opcodes, opcode)
		switch opcode {
		case wsBinary, wsContinuation:
			w.rest = payload
		case wsClose:
			return 0, io.EOF
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// next reads one frame of the client, which must be masked.
func (w *webSocket) next() (opcode byte, payload []byte, err error) {
	var head [14]byte
	if _, err := io.ReadFull(w.in, head[:2]); err != nil {
		return 0, nil, err
	}
	n, extended := uint64(head[1]&0x7f), 0
	switch n {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	if head[1]&0x80 == 0 {
		return 0, nil, fmt.Errorf("a frame of the client is not masked")
	}
	if _, err := io.ReadFull(w.in, head[2:2+extended+4]); err != nil {
		return 0, nil, err
	}
	switch extended {
	case 2:
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 8:
		n = binary.BigEndian.Uint64(head[2:])
	}
	mask := head[2+extended : 2+extended+4]
	payload = make([]byte, n)
	if _, err := io.ReadFull(w.in, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0] & 0xf, payload, nil
}
