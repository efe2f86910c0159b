package stream

import (
	"bytes"
	"errors"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// Each way to add a packet, and its bytes: those of package frames for the version of the
// connection.
func TestEncodedPackets(t *testing.T) {
	publish := frames.Publish{Message: frames.Message{Topic: "a/b", Payload: []byte("x"), QoS: frames.AtLeastOnce}, ID: 3}
	again := publish
	again.DUP = true
	for _, c := range []struct {
		name string
		add  func(o *outbox)
		want frames.Packet
		sent uint64
	}{
		{"publish", func(o *outbox) { o.publish(&publish) }, publish, 1},
		{"transmit PUBLISH", func(o *outbox) {
			o.transmit(&flow.Outgoing{Type: frames.TypePublish, Messages: []frames.Message{again.Message}, ID: 3, DUP: true}, 0)
		}, again, 1},
		{"transmit PUBREL", func(o *outbox) {
			o.transmit(&flow.Outgoing{Type: frames.TypePubrel, ID: 3}, 0)
		}, frames.Ack{Kind: frames.TypePubrel, ID: 3}, 0},
		{"ack", func(o *outbox) { o.ack(frames.Ack{Kind: frames.TypePubcomp, ID: 9}) },
			frames.Ack{Kind: frames.TypePubcomp, ID: 9}, 0},
		{"packet", func(o *outbox) { o.packet(frames.Pingreq{}) }, frames.Pingreq{}, 0},
	} {
		for _, v := range []frames.Version{frames.V31, frames.V311} {
			o := newOutbox(quietLog(), nil, nil)
			o.connected(nil, &terms{version: v, limits: limits{maxPacket: frames.MaxPacket}})
			c.add(&o)
			want, err := c.want.Append(nil, v)
			if err != nil || o.err != nil || !bytes.Equal(o.filling.bytes, want) || o.sent != c.sent {
				t.Errorf("%s on %v: % x (%v), want % x; %d PUBLISH packets", c.name, v, o.filling.bytes, o.err, want, o.sent)
			}
		}
	}
}

// A SUBSCRIBE that is sent again has DUP on 3.1 only, so requests are encoded for the version of
// the connection.
func TestRequestIsEncodedForTheVersion(t *testing.T) {
	for _, v := range []frames.Version{frames.V31, frames.V311} {
		subs := flow.NewSubscriptions[int](new(flow.Identifiers), nil, false)
		subs.Add(1, []frames.Filter{{Topic: "a"}}, false)
		subs.Connected(false, false)
		r, ok := subs.Next(0)
		if !ok {
			t.Fatal("no SUBSCRIBE is due")
		}
		o := newOutbox(quietLog(), nil, nil)
		o.connected(nil, &terms{version: v, limits: limits{maxPacket: frames.MaxPacket}})
		o.request(r)
		want, err := r.Packet(v, false).Append(nil, v)
		if err != nil || !bytes.Equal(o.filling.bytes, want) {
			t.Errorf("%v: % x, want % x (%v)", v, o.filling.bytes, want, err)
		}
	}
}

// Acks leave in order of arrival, up to the first delivery without one.
func TestAcksThatMayLeaveAreAdded(t *testing.T) {
	r := newOutboxRig(t)
	var seqs []uint64
	for id := range uint16(3) {
		seq, _ := r.receiver.Arrive(frames.AtLeastOnce, id+1, false, 1)
		seqs = append(seqs, seq)
	}
	r.receiver.Ack(seqs[1])
	r.acks(r.receiver)
	if r.backlog() != 0 {
		t.Errorf("%d bytes before the first delivery is acknowledged", r.backlog())
	}
	r.receiver.Ack(seqs[0])
	r.acks(r.receiver)
	r.flush(0)
	r.wantPackets(1, 2)
}

// A packet of exactly maxPacket bytes is added; one byte more is not, and err names both sizes.
func TestPacketBeyondTheLimitIsNotAdded(t *testing.T) {
	message := frames.Message{Topic: "t", Payload: make([]byte, 10)} // 15 bytes
	adders := map[string]func(*outbox){
		"publish": func(o *outbox) { o.publish(&frames.Publish{Message: message}) },
		"packet":  func(o *outbox) { o.packet(frames.Publish{Message: message}) },
	}
	for name, add := range adders {
		for _, limit := range []int{15, 14} {
			o := newOutbox(quietLog(), nil, nil)
			o.connected(nil, &terms{version: frames.V311, limits: limits{maxPacket: limit}})
			o.packet(frames.Pingreq{}) // the bytes in the batch do not count
			add(&o)
			var tooLarge *frames.TooLargeError
			added := limit == 15
			if is := errors.As(o.err, &tooLarge); is == added || added != (o.backlog() == 17) || !added && o.backlog() != 2 {
				t.Errorf("%s of 15 bytes, limit %d: %d bytes, error %v", name, limit, o.backlog(), o.err)
			}
			if !added && o.err != nil && o.err.Error() != "mqtt: packet of 15 bytes is over the limit of 14" {
				t.Errorf("error %q", o.err)
			}
			if !added && o.sent != 0 {
				t.Error("counted although it is not added")
			}
		}
	}
}

func TestAckBeyondTheLimitIsNotAdded(t *testing.T) {
	o := newOutbox(quietLog(), nil, nil)
	o.connected(nil, &terms{version: frames.V311, limits: limits{maxPacket: 3}})
	o.ack(frames.Ack{Kind: frames.TypePuback, ID: 1})
	if o.err == nil || o.backlog() != 0 {
		t.Errorf("%d bytes, error %v", o.backlog(), o.err)
	}
}

// A packet that cannot be encoded leaves the packets before it as they are.
func TestPacketThatCannotBeEncodedIsNotAdded(t *testing.T) {
	for name, add := range map[string]func(*outbox){
		"ack":     func(o *outbox) { o.ack(frames.Ack{Kind: frames.TypePuback}) },
		"publish": func(o *outbox) { o.publish(&frames.Publish{Message: frames.Message{Topic: "t", QoS: 1}}) },
		"packet":  func(o *outbox) { o.packet(frames.Ack{Kind: frames.TypePubrel}) },
	} {
		o := newOutbox(quietLog(), nil, nil)
		o.connected(nil, &terms{version: frames.V311, limits: limits{maxPacket: frames.MaxPacket}})
		o.packet(frames.Pingreq{})
		add(&o)
		var invalid *frames.InvalidError
		if !errors.As(o.err, &invalid) || o.backlog() != 2 || o.sent != 0 {
			t.Errorf("%s: error %v, %d bytes, %d sent", name, o.err, o.backlog(), o.sent)
		}
	}
}

// A batch takes publications until it has batchBytes, and acks beyond that.
func TestFullBatchTakesNoMorePublications(t *testing.T) {
	r := newOutboxRig(t)
	m := frames.Message{Topic: "t", Payload: make([]byte, batchBytes/2)}
	out := flow.Outgoing{Type: frames.TypePublish, Messages: []frames.Message{m}}
	if r.transmit(&out, 0); r.full() {
		t.Fatal("full at half its size")
	}
	out.Messages = []frames.Message{m, m, m}
	if n := r.transmit(&out, 0); n != 1 || !r.full() {
		t.Fatalf("took %d messages, full: %v", n, r.full())
	}
	before := r.backlog()
	r.puback(1)
	if r.backlog() != before+4 {
		t.Error("a full batch took no ack")
	}
}
