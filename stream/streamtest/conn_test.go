package streamtest

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// linked returns a client and the script's end of its connection.
func linked(t *testing.T, opts ...Option) (*client, *Conn) {
	t.Helper()
	b := New(t, opts...)
	return dial(t, b), b.Accept()
}

func TestScriptFollowsAWholeConnection(t *testing.T) {
	b := New(t)
	cl := dial(t, b)
	cl.send(hello)
	c := b.Handshake(true)
	cl.expect(frames.Connack{SessionPresent: true})

	sub := frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "a/#", QoS: 1}, {Topic: "b", QoS: 0}}}
	cl.send(sub)
	c.Grant(Next[frames.Subscribe](c))
	cl.expect(frames.Suback{ID: 1, Codes: []frames.ReasonCode{1, 0}})

	cl.send(pub("a", "0", 0, 0), pub("a", "1", 1, 2), pub("a", "2", 2, 3), ack(frames.TypePubrel, 3))
	for range 3 {
		c.Complete(Next[frames.Publish](c))
	}
	cl.expect(ack(frames.TypePuback, 2), ack(frames.TypePubrec, 3), ack(frames.TypePubcomp, 3))

	cl.send(frames.Unsubscribe{ID: 4, Topics: []string{"b"}}, frames.Pingreq{})
	c.Expect(frames.Unsubscribe{ID: 4, Topics: []string{"b"}}, frames.Pingreq{})
	c.ExpectNone()

	cl.send(frames.Disconnect{})
	_ = cl.conn.Close()
	c.ExpectDisconnect()
}

func TestScriptTakesTheVersionFromConnect(t *testing.T) {
	cl, c := linked(t)
	old := hello
	old.Version = frames.V31
	out, err := old.Append(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = (frames.Ack{Kind: frames.TypePubrel, ID: 1, DUP: true}).Append(out, frames.V31); err != nil {
		t.Fatal(err)
	}
	write(t, cl.conn, string(out))
	if c.Version() != frames.V311 {
		t.Errorf("before CONNECT: %v", c.Version())
	}
	c.Expect(old, frames.Ack{Kind: frames.TypePubrel, ID: 1, DUP: true}) // legal on 3.1 only
	if c.Version() != frames.V31 {
		t.Errorf("after CONNECT: %v", c.Version())
	}
}

func TestPacketsOfAScriptAreItsOwn(t *testing.T) {
	cl, c := linked(t)
	cl.send(pub("a", "first", 0, 0))
	first := Next[frames.Publish](c)
	for range 100 {
		cl.send(pub("a", strings.Repeat("x", 1000), 0, 0))
		Next[frames.Publish](c)
	}
	if string(first.Payload) != "first" {
		t.Errorf("payload has become %q", first.Payload)
	}
}

func TestExpectDoesNotTellNilFromEmpty(t *testing.T) {
	cl, c := linked(t)
	cl.send(pub("a", "", 0, 0), hello)
	c.Expect(frames.Publish{Message: frames.Message{Topic: "a"}})
	c.Expect(hello) // the version 0 matches any version
}

func TestAutoPingAnswersWhileAStepWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, c := linked(t, AutoPing())
		go func() {
			for range 3 {
				elapse(time.Minute)
				cl.send(frames.Pingreq{})
				cl.expect(frames.Pingresp{})
			}
			cl.send(frames.Disconnect{})
		}()
		c.ExpectQuiet(2*time.Minute + time.Second)
		c.Expect(frames.Disconnect{})
	})
}

func TestExpectQuietTakesExactlyItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, c := linked(t)
		start := time.Now()
		c.ExpectQuiet(90 * time.Second)
		if d := time.Since(start); d != 90*time.Second {
			t.Errorf("took %v", d)
		}
		cl.send(frames.Pingreq{}) // reading still works after a deadline
		c.Expect(frames.Pingreq{})
	})
}

func TestRestReturnsTheLastPackets(t *testing.T) {
	cl, c := linked(t)
	cl.send(frames.Pingreq{}, frames.Disconnect{})
	_ = cl.conn.Close()
	if rest := c.Rest(); len(rest) != 2 || rest[1].Type() != frames.TypeDisconnect {
		t.Errorf("got %v", rest)
	}
	c.ExpectClosed()
}

func TestClientSeesHowTheBrokerEnds(t *testing.T) {
	cl, c := linked(t)
	c.Send(frames.Pingresp{})
	c.Drop()
	cl.expect(frames.Pingresp{})
	if _, err := frames.ReadFrame(cl.in); err != io.EOF {
		t.Errorf("after Drop: %v", err)
	}
	c.Send(frames.Pingresp{}) // lost, as on a network

	cl, c = linked(t)
	c.Send(frames.Pingresp{})
	c.Abort()
	if _, err := frames.ReadFrame(cl.in); err == nil || err == io.EOF {
		t.Errorf("after Abort: %v", err)
	}
}

func TestStallHoldsTheClientBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl, c := linked(t)
		c.Stall()
		go cl.send(frames.Pingreq{})
		c.ExpectQuiet(time.Hour)
		c.Resume()
		c.Expect(frames.Pingreq{})
		if c.Writes() != 1 || c.Bytes() != 2 {
			t.Errorf("%d writes of %d bytes", c.Writes(), c.Bytes())
		}
	})
}
