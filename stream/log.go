package stream

import (
	"github.com/go-millrace/mqtt/frames"
)

// logPublish records a PUBLISH, never its payload.
func (l *loop) logPublish(what string, p *frames.Publish, size int) {
	l.log.Debug(what, "type", frames.TypePublish.String(), "id", p.ID, "QoS", int(p.QoS), "DUP", p.DUP,
		"retain", p.Retain, "topic", p.Topic, "size", size)
}

func (l *loop) logAck(what string, a frames.Ack, size int) {
	l.log.Debug(what, "type", a.Kind.String(), "id", a.ID, "DUP", a.DUP, "size", size)
}

// logIn records a packet of the broker.
func (l *loop) logIn(p *packet) {
	if p.kind == frames.TypePublish {
		l.logPublish("received", &frames.Publish{Message: p.message, ID: p.id, DUP: p.dup}, p.size)
		return
	}
	l.log.Debug("received", "type", p.kind.String(), "id", p.id, "DUP", p.dup, "size", p.size)
}
