//go:build unix && !aix

package stream_test

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// A cuttingBroker acknowledges publications, and closes each connection after a number of packets.
// The QoS 0 messages of each topic have rising numbers as their payloads.
type cuttingBroker struct {
	net.Listener
	each   int // packets of a connection
	newest map[string]uint32
	wrong  int // messages that came again, or after later ones
	lasted int // connections that got all their packets
}

func (b *cuttingBroker) run() {
	for {
		c, err := greet(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			b.serve(c)
			c.Close()
		}
	}
}

func (b *cuttingBroker) serve(c net.Conn) {
	r := frames.NewReader(c, 0)
	for range b.each {
		f, err := frames.ReadFrame(r)
		if err != nil || f.Type() != frames.TypePublish {
			return // the client has ended the connection
		}
		p, err := frames.ParsePublish(f, frames.V311, nil, nil)
		if err != nil {
			b.wrong++
			return
		}
		switch n := binary.BigEndian.Uint32(p.Payload); {
		case p.QoS == 0 && n <= b.newest[p.Topic]:
			b.wrong++
		case p.QoS == 0:
			b.newest[p.Topic] = n
		default:
			c.Write([]byte{0x40, 2, byte(p.ID >> 8), byte(p.ID)}) // if it fails, so does the next read
		}
	}
	b.lasted++
}

// Callers of Publish, a caller of PublishFrom and the loop write to one connection after another.
func TestEveryWayToPublishAtTheSameTimeKeepsItsOrder(t *testing.T) {
	const messages = 3000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &cuttingBroker{Listener: l, each: 500, newest: make(map[string]uint32)}
	var broker, publishers sync.WaitGroup
	broker.Go(b.run)
	s, err := stream.Dial(t.Context(), "mqtt://"+l.Addr().String(), &stream.Options{Version: frames.V311, Window: 5, Queue: 10,
		Reconnect: &backoff.Backoff{Min: time.Millisecond, Max: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	number := func(topic string, n int, q frames.QoS) frames.Message {
		return frames.Message{Topic: topic, Payload: binary.BigEndian.AppendUint32(nil, uint32(n)), QoS: q}
	}
	check := func(err error) {
		if err != nil && !errors.Is(err, stream.ErrUnconfirmed) {
			t.Error(err)
		}
	}
	for _, topic := range []string{"a", "b"} {
		publishers.Go(func() {
			for n := range messages {
				check(s.Publish(t.Context(), number(topic, n+1, 0)))
				if n%50 == 0 {
					check(s.Publish(t.Context(), number(topic, n+1, 1)))
				}
			}
		})
	}
	in := make(chan frames.Message)
	receipts := s.PublishFrom(t.Context(), in)
	publishers.Go(func() {
		for n := range messages {
			in <- number("c", n+1, 0)
		}
		close(in)
	})
	ended := 0
	for r := range receipts {
		check(r.Err)
		ended++
	}
	publishers.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	l.Close()
	broker.Wait()
	if ended != messages || b.wrong > 0 || b.lasted < 5 {
		t.Errorf("%d Receipts of %d, %d messages out of order, %d connections", ended, messages, b.wrong, b.lasted)
	}
}
