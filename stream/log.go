package stream

import (
	"context"
	"errors"
	"log/slog"

	"github.com/go-millrace/mqtt/frames"
)

// A packetLog records packets at Debug, never a payload.
type packetLog struct {
	*slog.Logger
	windowNoted bool // noteWindow has logged
	codeNoted   bool // noteCode has logged
	surplus     bool // noteSurplus has logged

	packets bool // whether Debug is enabled, checked once in each turn of the loop

	unclaimed *topicNotes // of messages that no Subscription claims; nil while there are none
	tooLarge  *topicNotes // of messages above MaxPacket; nil while there are none
}

func (l *packetLog) refresh() { l.packets = l.Enabled(context.Background(), slog.LevelDebug) }

func (l *packetLog) sentPublish(p *frames.Publish, size int) {
	if l.packets {
		l.publish("sent", p, size)
	}
}

func (l *packetLog) publish(direction string, p *frames.Publish, size int) {
	l.Debug(direction, "type", frames.TypePublish.String(), "id", p.ID, "QoS", int(p.QoS), "DUP", p.DUP,
		"retain", p.Retain, "topic", p.Topic, "size", size)
}

func (l *packetLog) sentAck(a frames.Ack, size int) {
	if l.packets {
		l.packet("sent", &packet{kind: a.Kind, id: a.ID, dup: a.DUP, code: a.Code, size: size})
	}
}

// packet records a packet without a topic. A reason code other than Success is shown.
func (l *packetLog) packet(direction string, p *packet) {
	args := []any{"type", p.kind.String(), "id", p.id, "DUP", p.dup, "size", p.size}
	if p.code != frames.Success {
		args = append(args, "code", int(p.code))
	}
	l.Debug(direction, args...)
}

// sentPacket records a packet of any type. The record of a SUBSCRIBE or an UNSUBSCRIBE has the
// filters.
func (l *packetLog) sentPacket(p frames.Packet, size int) {
	if !l.packets {
		return
	}
	kind := p.Type().String()
	switch p := p.(type) {
	case frames.Subscribe:
		l.Debug("sent", "type", kind, "id", p.ID, "DUP", p.DUP, "filters", p.Filters, "size", size)
	case frames.Unsubscribe:
		l.Debug("sent", "type", kind, "id", p.ID, "DUP", p.DUP, "filters", p.Topics, "size", size)
	default:
		l.Debug("sent", "type", kind, "size", size)
	}
}

// received records the packets of one read.
func (l *packetLog) received(packets []packet) {
	if !l.packets {
		return
	}
	for i := range packets {
		p := &packets[i]
		if p.kind == frames.TypePublish {
			l.publish("received", &frames.Publish{Message: p.message, ID: p.id, DUP: p.dup}, p.size)
			continue
		}
		l.packet("received", p)
	}
}

// noteCode logs, once, that the broker acknowledges publications with a code that the standard does
// not have for them. A code below 0x80 is a success.
func (l *packetLog) noteCode(kind frames.Type, code frames.ReasonCode) {
	if !l.codeNoted {
		l.codeNoted = true
		l.Warn("the broker acknowledges publications with a reason code that is not for them; it counts as success",
			"type", kind.String(), "code", int(code))
	}
}

// noteMistake logs that the broker has ended the connection because, in its view, this client has
// broken the protocol.
func (l *packetLog) noteMistake(err error) {
	var bye *DisconnectError
	if !errors.As(err, &bye) {
		return
	}
	switch bye.Code {
	case frames.MalformedPacket, frames.ProtocolViolation, frames.ReceiveMaximumExceeded, frames.TopicAliasInvalid, frames.PacketTooLarge:
		l.Warn("the broker holds that this client has broken the protocol", "error", err)
	}
}

// noteSurplus logs, once, that the broker sends more QoS 1 and 2 messages than the Receive Maximum
// allows [MQTT-3.3.4-9]. The connection stays: mosquitto answers each ack of a message that was
// queued with up to that many new ones, so a close would come again at each connection.
func (l *packetLog) noteSurplus(limit int) {
	if !l.surplus {
		l.surplus = true
		l.Warn("the broker sends more QoS 1 and 2 messages than ReceiveMaximum before their exchange has ended; "+
			"they are accepted, up to MaxUnread", "limit", limit)
	}
}

// topicNotes are topics that are logged once each. They are bounded in number and in bytes, since
// the broker chooses them; further topics are not logged.
type topicNotes struct {
	noted    map[string]struct{} // logged, or in unlogged
	unlogged []string
	bytes    int // of the topics in noted
}

const (
	maxNotedTopics = 1024
	maxNotedBytes  = 64 << 10
)

// note puts a topic into *notes, once.
func note(notes **topicNotes, topic string) {
	if *notes == nil {
		*notes = &topicNotes{noted: make(map[string]struct{})}
	}
	n := *notes
	if _, ok := n.noted[topic]; ok || len(n.noted) >= maxNotedTopics || n.bytes+len(topic) > maxNotedBytes {
		return
	}
	n.noted[topic] = struct{}{}
	n.bytes += len(topic)
	n.unlogged = append(n.unlogged, topic)
}

// take returns the topics noted since the last call.
func (n *topicNotes) take() []string {
	if n == nil {
		return nil
	}
	topics := n.unlogged
	n.unlogged = nil
	return topics
}
