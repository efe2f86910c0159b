package stream_test

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A sink records only the size and the beginning of a large write.
type sink struct {
	net.Conn
	size chan int
	head []byte
}

func (c *sink) Write(p []byte) (int, error) {
	if len(p) < 1<<20 {
		return c.Conn.Write(p)
	}
	c.head = bytes.Clone(p[:9])
	c.size <- len(p)
	return len(p), nil
}

// E3. The test needs half a gigabyte of memory, so only this test sends a packet of the largest
// size.
func TestTheLargestPacketIsSentAndOneByteMoreIsAnError(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		out := &sink{size: make(chan int, 1)}
		s, c := connected(t, b, &stream.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := b.Dial(ctx, network, addr)
			out.Conn = conn
			return out, err
		}})
		head := "\x00\x01t"
		if version >= frames.V5 {
			head += "\x00" // no properties
		}
		payload := make([]byte, frames.MaxRemaining-len(head)+1)
		sent := c.Bytes()
		wantError(t, s.Publish(t.Context(), frames.Message{Topic: "t", Payload: payload}), stream.ErrNotSent)
		if c.Bytes() != sent || len(out.size) > 0 {
			t.Error("part of the packet was written")
		}
		if err := s.Publish(t.Context(), frames.Message{Topic: "t", Payload: payload[1:]}); err != nil {
			t.Fatal(err)
		}
		if n := takeFrom(t, out.size); n != frames.MaxPacket || !bytes.HasPrefix(out.head, []byte("\x30\xff\xff\xff\x7f"+head)) {
			t.Errorf("wrote %d bytes that begin with %x", n, out.head)
		}
		if err := s.Publish(t.Context(), message("t", "after it", 0)); err != nil {
			t.Error(err)
		}
		c.Expect(publish("t", "after it", atMost, 0, false))
	})
}
