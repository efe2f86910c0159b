//go:build unix && !aix

package stream_test

import (
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// The loop, or a caller of Publish, writes as many bytes as the socket accepts at once. The writer
// goroutine writes the remaining bytes. When the socket buffer holds only part of each packet, no
// byte is lost, repeated or out of order.
func TestASocketThatTakesPartOfABatch(t *testing.T) {
	const n, size = 300, 15_000
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			got := make(chan error, 1)
			go func() { got <- readInOrder(l, n, size) }()

			s, err := stream.Dial(t.Context(), "mqtt://broker", &stream.Options{
				Version: frames.V311, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					c, err := new(net.Dialer).DialContext(ctx, network, l.Addr().String())
					if c, ok := c.(interface{ SetWriteBuffer(int) error }); ok {
						err = c.SetWriteBuffer(4 << 10)
					}
					return c, err
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var parts atomic.Int64
			s.WatchLone(func(r stream.LoneResult) {
				if r == stream.LoneAccepted {
					parts.Add(1)
				}
			})
			for i := range n {
				payload := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))
				if err := s.Publish(t.Context(), frames.Message{Topic: "t", Payload: payload[:size]}); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-got; err != nil {
				t.Error(err)
			}
			if parts.Load() == 0 {
				t.Error("no caller of Publish has left a part of its message to the writer")
			}
		})
	}
}

// User code may have set the socket to blocking mode, for example with os.File.Fd. Even then the
// loop must not wait for a broker that does not read.
func TestASocketThatBlocksDoesNotStopTheLoop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	release, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		c, err := greet(l)
		if err == nil {
			<-release
			c.Close()
		}
		ended <- err
	}()
	s, err := stream.Dial(t.Context(), "mqtt://broker", &stream.Options{
		Version: frames.V311, NoReconnect: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
			if err != nil {
				return nil, err
			}
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return nil, err
			}
			f.Fd()
			return c, f.Close()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	full := make(chan struct{})
	go func() {
		defer close(full)
		for err := error(nil); err == nil; {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err = s.Publish(ctx, frames.Message{Topic: "t", Payload: make([]byte, 15_000)})
			cancel()
		}
		s.Stats()
	}()
	select {
	case <-full:
	case <-time.After(10 * time.Second):
		t.Error("the loop waits for the network")
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-full
	s.Close()
}

// greet accepts one connection and answers its CONNECT.
func greet(l net.Listener) (net.Conn, error) {
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	_, err = frames.ReadFrame(frames.NewReader(c, 0)) // reads CONNECT; the client sends no more bytes before CONNACK
	if err == nil {
		var hello []byte
		if hello, err = (frames.Connack{}).Append(nil, frames.V311); err == nil {
			_, err = c.Write(hello)
		}
	}
	if err != nil {
		c.Close()
	}
	return c, err
}

// readInOrder is a broker for one connection. It expects n numbered PUBLISH packets.
func readInOrder(l net.Listener, n, size int) error {
	c, err := greet(l)
	if err != nil {
		return err
	}
	defer c.Close()
	r := frames.NewReader(c, 0)
	for i := range n {
		f, err := frames.ReadFrame(r)
		if err != nil {
			return err
		}
		p, err := frames.ParsePublish(f, frames.V311, nil, nil)
		switch {
		case err != nil:
			return err
		case len(p.Payload) != size, binary.BigEndian.Uint32(p.Payload) != uint32(i):
			return &frames.ProtocolError{Type: frames.TypePublish, Reason: "out of place"}
		}
	}
	return nil
}

// U-T. The loop writes DISCONNECT to the socket. Still the second begins that Close waits for the
// broker. The times are real, so the test accepts any that is far from all other limits.
func TestCloseOnASocketWaitsASecondForABrokerThatStaysOpen(t *testing.T) {
	for name, stalled := range map[string]bool{"the socket takes all": false, "the socket is full": true} {
		t.Run(name, func(t *testing.T) {
			b := streamtest.New(t, streamtest.TCP(), streamtest.KeepOpen())
			s, c := connected(t, b, &stream.Options{Window: 100, Queue: 100})
			if stalled {
				c.Stall()
				for range 100 {
					s.Publishes() <- stream.Publishing{Message: frames.Message{Topic: "t", Payload: make([]byte, 100_000)}}
				}
			}
			defer time.AfterFunc(10*time.Second, c.Drop).Stop()
			began := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d < 900*time.Millisecond || d >= 10*time.Second {
				t.Errorf("Close took %v", d)
			}
		})
	}
}

func TestCloseOnASocketReturnsWhenTheBrokerHasClosed(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, c := connected(t, b, nil)
	sub := subscribed(t, s, c, "f", atLeast)
	c.Publish(message("f", "x", atLeast))
	d := <-sub.Deliveries()
	d.Ack()
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 900*time.Millisecond {
		t.Errorf("Close took %v", d)
	}
	c.Expect(ack(puback, 1))
	c.ExpectDisconnect()
}

// Small and large batches of QoS 1 and 2, on sockets that are reset again and again.
func TestPublicationsSurviveSocketsThatAreReset(t *testing.T) {
	const cuts, each = 5, 100
	b := streamtest.New(t, streamtest.TCP())
	receipts := make(chan stream.Receipt, cuts*each)
	s := open(t, b, &stream.Options{
		KeepSession: true, ClientID: "c", Window: 50, Ack: receipts,
		Reconnect: &backoff.Backoff{Min: time.Millisecond, Max: time.Millisecond},
	})
	go func() {
		for i := range cuts * each {
			m := frames.Message{Topic: "t", Payload: make([]byte, i%7*1000), QoS: frames.QoS(1 + i%2)}
			s.Publishes() <- stream.Publishing{Message: m}
		}
	}()
	for cut := range cuts {
		c := b.Handshake(cut > 0)
		for n := 0; n < each/2; {
			switch p := streamtest.Next[frames.Packet](c).(type) {
			case frames.Publish:
				kind := puback
				if p.QoS == exactly {
					kind = pubrec
				}
				c.Send(ack(kind, p.ID))
				n++
			case frames.Ack:
				c.Send(ack(pubcomp, p.ID))
			}
		}
		c.Abort()
	}
	c := b.Handshake(true)
	c.Respond(&streamtest.Responder{})
	for range cuts * each {
		if r := <-receipts; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}
