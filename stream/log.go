package stream

import (
	"context"
	"log/slog"

	"github.com/go-millrace/mqtt/frames"
)

// A packetLog records packets at Debug, never a payload.
type packetLog struct {
	*slog.Logger
	packets bool // Debug is enabled, asked once a turn

	unclaimed map[string]struct{} // topics that were logged or are to be
	newTopics []string            // to be logged
}

// maxUnclaimedTopics bounds the topics remembered. Further ones are not logged.
const maxUnclaimedTopics = 1024

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
		l.Debug("sent", "type", a.Kind.String(), "id", a.ID, "DUP", a.DUP, "size", size)
	}
}

// sentPacket records a packet of any type; a SUBSCRIBE or an UNSUBSCRIBE with its filters.
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
		l.Debug("received", "type", p.kind.String(), "id", p.id, "DUP", p.dup, "size", p.size)
	}
}

// noteUnclaimed makes logUnclaimed log, once per topic, that no Subscription matches.
func (l *packetLog) noteUnclaimed(topic string) {
	if _, ok := l.unclaimed[topic]; ok || len(l.unclaimed) >= maxUnclaimedTopics {
		return
	}
	if l.unclaimed == nil {
		l.unclaimed = make(map[string]struct{})
	}
	l.unclaimed[topic] = struct{}{}
	l.newTopics = append(l.newTopics, topic)
}

// logUnclaimed logs the new topics. It is called without a lock, since a log handler is code of the
// user.
func (l *packetLog) logUnclaimed() {
	for _, topic := range l.newTopics {
		l.Info("no Subscription claims this topic: its messages wait for Messages, Deliveries or All of the client", "topic", topic)
	}
	l.newTopics = l.newTopics[:0]
}
