package streamtest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
)

// subscribe sends a SUBSCRIBE and expects its SUBACK.
func (c *client) subscribe(filters ...frames.Filter) *client {
	c.t.Helper()
	codes := make([]frames.ReasonCode, len(filters))
	for i, f := range filters {
		codes[i] = frames.ReasonCode(f.QoS)
	}
	c.send(frames.Subscribe{ID: 1, Filters: filters})
	c.expect(frames.Suback{ID: 1, Codes: codes})
	return c
}

// idle sends a PINGREQ. It fails if the Responder sends a packet before PINGRESP.
func (c *client) idle() {
	c.t.Helper()
	c.send(frames.Pingreq{})
	c.expect(frames.Pingresp{})
}

func TestLoopbackRoutesBySubscription(t *testing.T) {
	tests := []struct {
		name    string
		filters []frames.Filter
		sent    frames.Publish
		want    []frames.Packet // the copies that the Responder sends before its acknowledgment
	}{
		{"none", nil, pub("a", "x", 0, 0), nil},
		{"another topic", []frames.Filter{{Topic: "b"}}, pub("a", "x", 0, 0), nil},
		{"same QoS", []frames.Filter{{Topic: "a", QoS: 1}}, pub("a", "x", 1, 9),
			[]frames.Packet{pub("a", "x", 1, 1), ack(frames.TypePuback, 9)}},
		{"lower QoS granted", []frames.Filter{{Topic: "a", QoS: 0}}, pub("a", "x", 1, 9),
			[]frames.Packet{pub("a", "x", 0, 0), ack(frames.TypePuback, 9)}},
		{"lower QoS sent", []frames.Filter{{Topic: "a", QoS: 2}}, pub("a", "x", 0, 0),
			[]frames.Packet{pub("a", "x", 0, 0)}},
		{"overlapping filters", []frames.Filter{{Topic: "#", QoS: 0}, {Topic: "a", QoS: 1}, {Topic: "+", QoS: 0}},
			pub("a", "x", 2, 9), []frames.Packet{pub("a", "x", 1, 1), ack(frames.TypePubrec, 9)}},
		{"same filter again", []frames.Filter{{Topic: "a", QoS: 1}, {Topic: "a", QoS: 0}}, pub("a", "x", 0, 0),
			[]frames.Packet{pub("a", "x", 0, 0)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl := answered(t, &Responder{Loopback: true})
			if tt.filters != nil {
				cl.subscribe(tt.filters...)
			}
			cl.send(tt.sent)
			cl.expect(tt.want...)
			cl.idle()
		})
	}
}

func TestLoopbackEndsWithUnsubscribe(t *testing.T) {
	cl := answered(t, &Responder{Loopback: true}).subscribe(frames.Filter{Topic: "a"}, frames.Filter{Topic: "b"})
	cl.send(frames.Unsubscribe{ID: 2, Topics: []string{"a", "never had"}}, pub("a", "x", 0, 0), pub("b", "y", 0, 0))
	cl.expect(frames.Unsuback{ID: 2}, pub("b", "y", 0, 0))
	cl.idle()
}

func TestLoopbackReachesOtherClients(t *testing.T) {
	r := &Responder{Loopback: true}
	here, there := answered(t, r), answered(t, r).subscribe(frames.Filter{Topic: "a", QoS: 2})
	here.send(pub("a", "x", 2, 5))
	here.expect(ack(frames.TypePubrec, 5))
	there.expect(pub("a", "x", 2, 1))
	here.idle()
}

func TestLoopbackRoutesAQoS2MessageOnce(t *testing.T) {
	cl := answered(t, &Responder{Loopback: true}).subscribe(frames.Filter{Topic: "a"})
	again := pub("a", "x", 2, 5)
	again.DUP = true
	cl.send(pub("a", "x", 2, 5))
	cl.expect(pub("a", "x", 0, 0), ack(frames.TypePubrec, 5))
	cl.send(again)
	cl.expect(ack(frames.TypePubrec, 5))
	cl.send(ack(frames.TypePubrel, 5), pub("a", "y", 2, 5)) // the identifier now names a new message
	cl.expect(ack(frames.TypePubcomp, 5), pub("a", "y", 0, 0), ack(frames.TypePubrec, 5))
}

func TestResponderKeepsToItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Responder{Window: 2}
		cl := answered(t, r).subscribe(frames.Filter{Topic: "a", QoS: 2})
		for i := range 4 {
			if n := r.Publish(frames.Message{Topic: "a", Payload: fmt.Append(nil, i), QoS: 2}); n != 1 {
				t.Errorf("%d copies", n)
			}
		}
		cl.expect(pub("a", "0", 2, 1), pub("a", "1", 2, 2))
		cl.idle()
		cl.send(ack(frames.TypePubrec, 1), ack(frames.TypePubrec, 1), ack(frames.TypePubrec, 2))
		cl.expect(ack(frames.TypePubrel, 1), ack(frames.TypePubrel, 1), ack(frames.TypePubrel, 2))
		cl.idle() // a message keeps its slot until PUBCOMP
		cl.send(ack(frames.TypePubcomp, 1))
		cl.expect(pub("a", "2", 2, 3))
		cl.send(ack(frames.TypePubcomp, 2))
		cl.expect(pub("a", "3", 2, 4))
		cl.idle()
	})
}

// A message that is queued behind a full window must have its own copy of the payload.
func TestLoopbackBehindTheWindowKeepsItsPayload(t *testing.T) {
	cl := answered(t, &Responder{Loopback: true, Window: 1}).subscribe(frames.Filter{Topic: "a", QoS: 1})
	const messages = 200
	payload := func(i int) string { return strings.Repeat(fmt.Sprintf("message %03d ", i), 100) }
	for i := range messages {
		cl.send(pub("a", payload(i), 1, uint16(i+1)))
	}
	for seen := 0; seen < messages; {
		p, ok := cl.next().(frames.Publish)
		if !ok {
			continue // PUBACK
		}
		if want := payload(seen); string(p.Payload) != want {
			t.Fatalf("got %.20q, want %.20q", p.Payload, want)
		}
		seen++
		cl.send(ack(frames.TypePuback, p.ID))
	}
}

func TestResponderGoesRoundTheIdentifiers(t *testing.T) {
	r := &Responder{Window: 1 << 20} // all identifiers
	cl := answered(t, r).subscribe(frames.Filter{Topic: "a", QoS: 1})
	const all = 1<<16 - 1
	m := frames.Message{Topic: "a", QoS: 1}
	for range all + 1 {
		if r.Publish(m) != 1 {
			t.Fatal("not sent")
		}
	}
	for id := 1; id <= all; id++ {
		if p, ok := cl.next().(frames.Publish); !ok || int(p.ID) != id {
			t.Fatalf("got identifier %d, want %d", p.ID, id)
		}
	}
	cl.idle()
	cl.send(ack(frames.TypePuback, 777))
	cl.expect(pub("a", "", 1, 777))
}
