package streamtest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

func TestFailedStepsNameWantedAndReceivedPacket(t *testing.T) {
	half := func(cl *client) { _, _ = cl.conn.Write([]byte{byte(frames.TypePublish) << 4, 5, 0}) }
	end := func(cl *client) { _ = cl.conn.Close() }
	ping := func(cl *client) { cl.send(frames.Pingreq{}) }
	tests := []struct {
		name   string
		client func(*client)
		step   func(*Conn)
		want   string
	}{
		{"nothing came", func(*client) {}, func(c *Conn) { Next[frames.Publish](c) }, "wanted PUBLISH, got nothing"},
		{"another type", ping, func(c *Conn) { Next[frames.Publish](c) }, "wanted PUBLISH, got PINGREQ{}"},
		{"no acknowledgment", ping, func(c *Conn) { Next[frames.Ack](c) }, "wanted an acknowledgment, got PINGREQ{}"},
		{"closed", end, func(c *Conn) { Next[frames.Packet](c) }, "wanted a packet, got the end: the client closed"},
		{"another type for ExpectType", ping, func(c *Conn) { c.ExpectType(frames.TypePuback) }, "wanted PUBACK, got PINGREQ{}"},
		{"another type for Expect", ping, func(c *Conn) { c.Expect(ack(frames.TypePuback, 7)) }, "wanted PUBACK{ID:7}, got PINGREQ{}"},
		{"closed inside a packet", func(cl *client) { half(cl); end(cl) },
			func(c *Conn) { Next[frames.Publish](c) }, "got the end inside a packet"},
		{"part of a packet", half, func(c *Conn) { Next[frames.Publish](c) }, "got 3 bytes of a packet"},
		{"bad packet", func(cl *client) { _, _ = cl.conn.Write([]byte("GET / HTTP/1.1\r\n")) },
			func(c *Conn) { c.ExpectConnect() }, "wanted CONNECT, got an invalid packet"},
		{"not closed", ping, func(c *Conn) { c.ExpectClosed() }, "wanted the end of the connection, got PINGREQ{}"},
		{"never closed", func(*client) {}, func(c *Conn) { c.ExpectClosed() }, "wanted the end of the connection, got nothing"},
		{"not closed after DISCONNECT", func(cl *client) { cl.send(frames.Disconnect{}) },
			func(c *Conn) { c.ExpectDisconnect() }, "wanted the end of the connection, got nothing"},
		{"no end of Rest", ping, func(c *Conn) { c.Rest() }, "wanted the end of the connection, got nothing"},
		{"not quiet", ping, func(c *Conn) { c.ExpectQuiet(time.Second) }, "wanted nothing for 1s, got PINGREQ{}"},
		{"not quite quiet", half, func(c *Conn) { c.ExpectQuiet(time.Second) }, "wanted nothing for 1s, got 3 bytes of a packet"},
		{"closed, not quiet", end, func(c *Conn) { c.ExpectQuiet(time.Second) }, "wanted nothing for 1s, got the end"},
		{"not nothing", ping, func(c *Conn) { c.ExpectNone() }, "wanted nothing, got PINGREQ{}"},
		{"part, not nothing", half, func(c *Conn) { c.ExpectNone() }, "wanted nothing, got 3 bytes"},
		{"closed, not nothing", end, func(c *Conn) { c.ExpectNone() }, "wanted nothing, got the end"},
		{"nonsense expected", func(cl *client) { cl.send(ack(frames.TypePuback, 1)) },
			func(c *Conn) { c.Expect(ack(frames.TypePuback, 0)) }, "the script expects a packet that cannot be encoded: PUBACK{}"},
		{"nonsense sent", func(*client) {}, func(c *Conn) { c.Send(ack(frames.TypePuback, 0)) },
			"the script sends a packet that cannot be encoded: PUBACK{}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := failureOf(t, func(tb testing.TB) {
					b := New(tb)
					cl := dial(t, b)
					c := b.Accept()
					tt.client(cl)
					tt.step(c)
				})
				if !strings.Contains(got, tt.want) || !strings.HasPrefix(got, "streamtest: ") {
					t.Errorf("failure is %q, want %q in it", got, tt.want)
				}
			})
		})
	}
}

func TestFailureShowsTheDifferingFieldsAndTheLastPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := failureOf(t, func(tb testing.TB) {
			b := New(tb)
			dial(t, b)
			b.Accept()
			cl := dial(t, b)
			cl.send(hello)
			c := b.Handshake(false)
			elapse(1500 * time.Millisecond)
			cl.send(pub("b", strings.Repeat("x", 99)+"y", 1, 7))
			c.Expect(pub("a", strings.Repeat("x", 99)+"z", 1, 7))
		})
		x := `"` + strings.Repeat("x", 80) + `"... (100 bytes)`
		want := `streamtest: connection 2 at +1.5s: unexpected PUBLISH:
	Topic: wanted "a", got "b"
	Payload: wanted ` + x + `, got ` + x + ` (the first difference is at byte 99; lengths 100 and 100)
the last packets of this connection:
	+0s got CONNECT{Version:3.1.1 ClientID:"c" CleanSession:true}
	+0s sent CONNACK{}
	+1.5s got PUBLISH{Topic:"b" Payload:` + x + ` QoS:1 ID:7}`
		if got = strings.ReplaceAll(got, frames.AtLeastOnce.String(), "1"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestTraceKeepsTheLastPackets(t *testing.T) {
	tr := trace{start: time.Now()}
	for i := range uint16(100) {
		tr.add("got", ack(frames.TypePuback, i+1))
	}
	s := tr.String()
	if strings.Count(s, "PUBACK") != traceLength || !strings.Contains(s, "{ID:93}") || !strings.HasSuffix(s, "{ID:100}") {
		t.Errorf("%s", s)
	}
}
