package streamtest

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// answered returns a client that a Responder has accepted.
func answered(t *testing.T, r *Responder) *client {
	t.Helper()
	b := New(t)
	b.Respond(r)
	return dial(t, b).handshake()
}

func TestResponderAcknowledgesEverything(t *testing.T) {
	r := &Responder{}
	cl := answered(t, r)
	tests := []struct{ send, want frames.Packet }{
		{pub("a", "x", 1, 1), ack(frames.TypePuback, 1)},
		{pub("a", "x", 2, 2), ack(frames.TypePubrec, 2)},
		{ack(frames.TypePubrel, 2), ack(frames.TypePubcomp, 2)},
		{ack(frames.TypePubrel, 9), ack(frames.TypePubcomp, 9)},
		{frames.Subscribe{ID: 3, Filters: []frames.Filter{{Topic: "a", QoS: 2}, {Topic: "b"}}},
			frames.Suback{ID: 3, Codes: []frames.ReasonCode{2, 0}}},
		{frames.Unsubscribe{ID: 4, Topics: []string{"a"}}, frames.Unsuback{ID: 4}},
		{frames.Pingreq{}, frames.Pingresp{}},
	}
	for _, tt := range tests {
		cl.send(tt.send)
		cl.expect(tt.want)
		if tt.send.Type() != frames.TypePublish && tt.send.Type() != frames.TypePubrel && r.Received(tt.send.Type()) != 1 {
			t.Errorf("counted %d %v", r.Received(tt.send.Type()), tt.send.Type())
		}
	}
	cl.send(pub("a", "x", 0, 0), frames.Pingreq{})
	cl.expect(frames.Pingresp{})
	if n, m := r.Received(frames.TypePublish), r.Sent(frames.TypePubcomp); n != 3 || m != 2 {
		t.Errorf("counted %d PUBLISH received and %d PUBCOMP sent", n, m)
	}
}

func TestResponderAnswersOneReadInOneWrite(t *testing.T) {
	b := New(t)
	r := &Responder{}
	cl := dial(t, b)
	c := b.Accept()
	cl.send(hello, pub("a", "x", 1, 1), pub("a", "x", 2, 2), frames.Pingreq{})
	c.Respond(r)
	cl.expect(frames.Connack{}, ack(frames.TypePuback, 1), ack(frames.TypePubrec, 2), frames.Pingresp{})
	if c.Reads() != 1 {
		t.Errorf("the answers came in %d reads", c.Reads())
	}
}

func TestResponderTakesOverFromAScript(t *testing.T) {
	b := New(t)
	cl := dial(t, b)
	cl.send(hello, pub("a", "by hand", 1, 1), pub("a", "by itself", 1, 2))
	c := b.Handshake(false)
	c.Complete(Next[frames.Publish](c))
	c.Respond(&Responder{})
	cl.expect(frames.Connack{}, ack(frames.TypePuback, 1), ack(frames.TypePuback, 2))
}

func TestResponderCountsItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Responder{}
		one, two := answered(t, r), answered(t, r)
		synctest.Wait()
		if r.Clients() != 2 {
			t.Errorf("%d clients, want 2", r.Clients())
		}
		_ = one.conn.Close()
		two.send(frames.Disconnect{})
		synctest.Wait()
		if r.Clients() != 0 {
			t.Errorf("%d clients left", r.Clients())
		}
	})
}

func TestResponderFailsTheTestOfAClientInTheWrong(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"no CONNECT", encode(t, frames.Pingreq{}), "PINGREQ out of place"},
		{"two CONNECT", encode(t, hello, hello), "CONNECT out of place"},
		{"broker's packet", encode(t, hello, frames.Pingresp{}), "PINGRESP from a client"},
		{"acknowledgment for nothing", encode(t, hello, ack(frames.TypePuback, 5)), "PUBACK for identifier 5"},
		{"malformed", append(encode(t, hello), 0x36, 0), "protocol violation"},
		{"another protocol", []byte("GET / HTTP/1.1\r\n"), "protocol violation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeTB{TB: t}
			b := New(f)
			b.Respond(&Responder{})
			cl := dial(t, b)
			_, _ = cl.conn.Write(tt.bytes)
			for err := error(nil); err == nil; { // until the Responder closes the connection
				_, err = cl.conn.Read(make([]byte, 100))
			}
			b.Close() // waits for the goroutine of the Responder
			if got := f.failure(); !strings.Contains(got, tt.want) || !strings.HasPrefix(got, "streamtest: connection 1 at +") {
				t.Errorf("failure is %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestResponderDoesNotMindHowAConnectionEnds(t *testing.T) {
	ends := map[string]func(*client){
		"closed":        func(cl *client) { _ = cl.conn.Close() },
		"aborted":       func(cl *client) { cl.conn.(*PipeConn).Abort() },
		"inside packet": func(cl *client) { _, _ = cl.conn.Write([]byte{0x30, 9}); _ = cl.conn.Close() },
		"disconnected":  func(cl *client) { cl.send(frames.Disconnect{}) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) { end(answered(t, &Responder{})) })
	}
}

// The client writes all packets before it reads. The Responder must go on reading meanwhile.
func TestResponderReadsWhileTheClientDoesNot(t *testing.T) {
	const messages = 300
	payload := string(make([]byte, 1000))
	conns := map[string]func(*testing.T, *Responder) net.Conn{
		"in memory": func(t *testing.T, r *Responder) net.Conn {
			b := New(t, Buffer(100))
			b.Respond(r)
			return dial(t, b).conn
		},
		"of another kind": func(t *testing.T, r *Responder) net.Conn {
			here, there := net.Pipe()
			done := make(chan error)
			go func() { done <- r.Serve(there) }()
			t.Cleanup(func() {
				_ = here.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			return here
		},
	}
	for name, connect := range conns {
		t.Run(name, func(t *testing.T) {
			r := &Responder{Loopback: true}
			cl := newClient(t, connect(t, r)).handshake()
			cl.send(frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "#"}}})
			cl.expect(frames.Suback{ID: 1, Codes: []frames.ReasonCode{0}})
			for i := range messages {
				cl.send(pub("a", payload, 1, uint16(i+1)))
			}
			for i := range messages {
				cl.expect(pub("a", payload, 0, 0), ack(frames.TypePuback, uint16(i+1)))
			}
		})
	}
}

func TestPublishWaitsForAClientFarBehind(t *testing.T) {
	message := frames.Message{Topic: "a", Payload: make([]byte, aheadBytes)}
	subscribed := func(t *testing.T, r *Responder) *client {
		cl := answered(t, r)
		cl.send(frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "a", QoS: 1}}})
		cl.expect(frames.Suback{ID: 1, Codes: []frames.ReasonCode{1}})
		return cl
	}
	waits := func(r *Responder, m frames.Message) chan int {
		done := make(chan int, 1)
		go func() { done <- r.Publish(m) }()
		synctest.Wait()
		if len(done) > 0 {
			return nil
		}
		return done
	}
	t.Run("until it reads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &Responder{}
			cl := subscribed(t, r)
			r.Publish(message)
			done := waits(r, message)
			if done == nil {
				t.Fatal("Publish did not wait")
			}
			cl.next()
			if n := <-done; n != 1 {
				t.Errorf("%d copies", n)
			}
		})
	})
	t.Run("until it is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &Responder{}
			cl := subscribed(t, r)
			r.Publish(message)
			done := waits(r, message)
			if done == nil {
				t.Fatal("Publish did not wait")
			}
			elapse(time.Hour)
			_ = cl.conn.Close()
			<-done
		})
	})
	t.Run("until it acknowledges", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &Responder{Window: 1}
			cl := subscribed(t, r)
			m := frames.Message{Topic: "a", QoS: 1}
			for range aheadMessages + 2 { // the first is in flight, the others are queued behind the window
				r.Publish(m)
			}
			done := waits(r, m)
			if done == nil {
				t.Fatal("Publish did not wait")
			}
			cl.send(ack(frames.TypePuback, cl.next().(frames.Publish).ID))
			<-done
		})
	})
}

func BenchmarkResponder(b *testing.B) {
	broker := New(b)
	broker.Respond(&Responder{})
	conn, err := broker.Dial(b.Context(), "tcp", "x")
	if err != nil {
		b.Fatal(err)
	}
	batch, _ := hello.Append(nil, frames.V311)
	_, _ = conn.Write(batch)
	batch = batch[:0]
	const size = 100
	for i := range uint16(size) {
		batch, _ = pub("bench/topic", strings.Repeat("x", 64), 1, i+1).Append(batch, frames.V311)
	}
	buf := make([]byte, 64<<10)
	n, _ := conn.Read(buf)
	want := n
	b.ReportAllocs()
	for i := 0; i < b.N; i += size {
		_, _ = conn.Write(batch)
		for want += 4 * size; n < want; {
			k, err := conn.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			n += k
		}
	}
}
