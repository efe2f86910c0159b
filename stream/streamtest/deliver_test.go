package streamtest

import (
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func msg(payload string, q frames.QoS) frames.Message {
	return frames.Message{Topic: "a", Payload: []byte(payload), QoS: q}
}

// answerTo receives packets and sends the answers after each.
func (c *client) answerTo(exchange ...frames.Packet) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < len(exchange); i += 2 {
			c.expect(exchange[i])
			if exchange[i+1] != nil {
				c.send(exchange[i+1])
			}
		}
	}()
	return done
}

func TestDeliverCompletesTheExchangeOfEachQoS(t *testing.T) {
	cl, c := linked(t)
	done := cl.answerTo(
		pub("a", "0", 0, 0), nil,
		pub("a", "1", 1, 1), ack(frames.TypePuback, 1),
		pub("a", "2", 2, 2), ack(frames.TypePubrec, 2),
		ack(frames.TypePubrel, 2), ack(frames.TypePubcomp, 2))
	c.Deliver(msg("0", frames.AtMostOnce))
	c.Deliver(msg("1", frames.AtLeastOnce))
	c.Deliver(msg("2", frames.ExactlyOnce))
	<-done
	c.ExpectNone()
}

func TestDeliverSendsSeveralMessagesInOneWrite(t *testing.T) {
	cl, c := linked(t)
	done := cl.answerTo(
		pub("a", "2", 2, 1), ack(frames.TypePubrec, 1),
		pub("a", "0", 0, 0), nil,
		pub("a", "1", 1, 2), ack(frames.TypePuback, 2),
		pub("a", "2", 2, 3), ack(frames.TypePubrec, 3),
		ack(frames.TypePubrel, 1), ack(frames.TypePubcomp, 1),
		ack(frames.TypePubrel, 3), ack(frames.TypePubcomp, 3))
	c.Deliver(msg("2", 2), msg("0", 0), msg("1", 1), msg("2", 2))
	<-done
	c.Deliver()
	c.ExpectNone()
}

func TestDeliverFailsOnAWrongAcknowledgment(t *testing.T) {
	tests := []struct {
		name      string
		qos       frames.QoS
		exchange  []frames.Packet
		want, got string
	}{
		{"another identifier", 1, []frames.Packet{pub("a", "", 1, 1), ack(frames.TypePuback, 2)}, "ID: wanted 1", "got 2"},
		{"PUBREC at QoS 1", 1, []frames.Packet{pub("a", "", 1, 1), ack(frames.TypePubrec, 1)}, "wanted PUBACK", "got PUBREC"},
		{"PUBACK at QoS 2", 2, []frames.Packet{pub("a", "", 2, 1), ack(frames.TypePuback, 1)}, "wanted PUBREC", "got PUBACK"},
		{"PUBCOMP of another", 2, []frames.Packet{
			pub("a", "", 2, 1), ack(frames.TypePubrec, 1), ack(frames.TypePubrel, 1), ack(frames.TypePubcomp, 7),
		}, "ID: wanted 1", "got 7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			failure := failureOf(t, func(tb testing.TB) {
				b := New(tb)
				dial(t, b).answerTo(tt.exchange...)
				b.Accept().Deliver(msg("", tt.qos))
			})
			if !strings.Contains(failure, tt.want) || !strings.Contains(failure, tt.got) {
				t.Errorf("failure: %q, want %q, %q in it", failure, tt.want, tt.got)
			}
		})
	}
}

// Messages that a kept session did not acknowledge keep their identifiers, and later ones get
// others, on the next connection too.
func TestIdentifiersCountOnOverConnections(t *testing.T) {
	b := New(t)
	dial(t, b)
	first := b.Accept().Publish(msg("x", 1), msg("x", 0), msg("x", 2))
	dial(t, b)
	second := b.Accept().Publish(msg("x", 1))
	if first[0].ID != 1 || first[1].ID != 0 || first[2].ID != 2 || second[0].ID != 3 {
		t.Errorf("identifiers %d %d %d, then %d", first[0].ID, first[1].ID, first[2].ID, second[0].ID)
	}
	b.lastID = 65_535
	if id := b.nextID(); id != 1 {
		t.Errorf("after 65,535 comes %d", id)
	}
}
