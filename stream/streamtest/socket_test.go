package streamtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// socketed returns a client and its connection over TCP.
func socketed(t *testing.T, opts ...Option) (*Broker, *client, *Conn) {
	t.Helper()
	b := New(t, append(opts, TCP())...)
	cl := dial(t, b)
	return b, cl, b.Accept()
}

func TestTCPRunsAScriptOverASocket(t *testing.T) {
	_, cl, c := socketed(t)
	if _, ok := cl.conn.(*net.TCPConn); !ok {
		t.Fatalf("the client has a %T", cl.conn)
	}
	if network, addr := c.Dialed(); network != "tcp" || addr != "broker:1883" {
		t.Errorf("dialed %s %s", network, addr)
	}
	cl.send(hello)
	c.Handshake(false)
	cl.expect(frames.Connack{})
	done := cl.answerTo(pub("a", "x", 1, 1), ack(frames.TypePuback, 1))
	c.Deliver(msg("x", 1))
	<-done
	cl.send(frames.Disconnect{})
	_ = cl.conn.Close()
	c.ExpectDisconnect()
	c.Send(frames.Pingresp{}) // is lost
}

func TestTCPDropLetsTheClientReadTheRest(t *testing.T) {
	_, cl, c := socketed(t)
	cl.send(frames.Pingreq{}) // is not read
	c.Send(frames.Pingresp{})
	c.Drop()
	cl.expect(frames.Pingresp{})
	if _, err := cl.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after Drop: %v", err)
	}
}

func TestTCPAbortResetsTheConnection(t *testing.T) {
	_, cl, c := socketed(t)
	c.Abort()
	if _, err := cl.conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Abort: %v", err)
	}
}

func TestTCPClientThatClosesWithUnreadBytesHasClosed(t *testing.T) {
	_, cl, c := socketed(t)
	c.Send(frames.Pingresp{}, frames.Pingresp{})
	cl.expect(frames.Pingresp{})
	_ = cl.conn.Close()
	c.ExpectClosed()
}

func TestTCPCloseWriteOfTheClientClosesUnlessKeepOpenIsSet(t *testing.T) {
	_, cl, c := socketed(t)
	_ = cl.conn.(*net.TCPConn).CloseWrite()
	if _, err := cl.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the broker did not close: %v", err)
	}
	c.ExpectClosed()

	_, cl, c = socketed(t, KeepOpen())
	_ = cl.conn.(*net.TCPConn).CloseWrite()
	c.ExpectClosed()
	c.Send(frames.Pingresp{})
	cl.expect(frames.Pingresp{})
}

func TestTCPScriptThatDoesNotReadStopsTheClient(t *testing.T) {
	const size = 8 << 20 // more than all buffers hold
	_, cl, c := socketed(t, Buffer(4<<10))
	p := encode(t, pub("a", strings.Repeat("x", size), 0, 0))
	_ = cl.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := cl.conn.Write(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > 2<<20 {
		t.Fatalf("the client wrote %d bytes: %v", n, err)
	}
	_ = cl.conn.SetWriteDeadline(time.Time{})
	written := make(chan error, 1)
	go func() {
		_, err := cl.conn.Write(p[n:])
		written <- err
	}()
	if got := Next[frames.Publish](c); len(got.Payload) != size {
		t.Errorf("%d bytes arrived", len(got.Payload))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestTCPSendWaitsForTheClientWithASendBuffer(t *testing.T) {
	failure := failureOf(t, func(tb testing.TB) {
		b := New(tb, TCP(), SendBuffer(4<<10), Timeout(100*time.Millisecond))
		dial(t, b)
		b.Accept().SendBytes(make([]byte, 8<<20))
	})
	if !strings.Contains(failure, "the client does not read") {
		t.Errorf("failure: %q", failure)
	}
}

func TestTCPBrokerClosesWhateverItsClientsDo(t *testing.T) {
	b, cl, c := socketed(t, KeepOpen())
	dial(t, b) // nobody accepts it
	c.Send(pub("a", strings.Repeat("x", 100_000), 0, 0))
	closed := make(chan struct{})
	go func() {
		b.Close()
		close(closed)
	}()
	cl.expect(pub("a", strings.Repeat("x", 100_000), 0, 0)) // is not lost
	<-closed
	if _, err := b.Dial(context.Background(), "tcp", "x"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial after Close: %v", err)
	}
}

func TestTCPDialEndsWithItsContext(t *testing.T) {
	b := New(t, TCP())
	for range backlog {
		dial(t, b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Dial(ctx, "tcp", "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v", err)
	}
}

func TestTCPResponder(t *testing.T) {
	b := New(t, TCP())
	b.Respond(&Responder{Loopback: true})
	cl := dial(t, b).handshake()
	cl.send(frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "a", QoS: 1}}})
	cl.expect(frames.Suback{ID: 1, Codes: []frames.ReasonCode{1}})
	cl.send(pub("a", "x", 1, 2))
	cl.expect(pub("a", "x", 1, 1), ack(frames.TypePuback, 2))
}

func TestTCPFailsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := failureOf(t, func(tb testing.TB) { New(tb, TCP()) })
		if !strings.Contains(failure, "synctest bubble") {
			t.Errorf("failure: %q", failure)
		}
	})
}
