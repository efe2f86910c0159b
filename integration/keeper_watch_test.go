package integration

import (
	"fmt"
	"strconv"

	"github.com/go-millrace/mqtt/frames"
)

// watch compares a PUBLISH from a publisher of crashMessage with every earlier PUBLISH of the
// session, on all connections of all processes.
func (l *link) watch(p frames.Publish) error {
	if p.Topic != crashTopic {
		return nil
	}
	s := l.session
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%s: PUBLISH of %s, QoS %d, identifier %d, DUP %t: %s", s.id, p.Payload, p.QoS, p.ID, p.DUP, fmt.Sprintf(format, args...))
	}
	number, err := strconv.Atoi(string(p.Payload))
	if err != nil {
		return err
	}
	id, again := s.identifiers[number]
	switch {
	case number <= l.newest:
		return fault("after %d on this connection", l.newest)
	case s.released[number]:
		return fault("after its PUBREL")
	case again && !p.DUP: // [MQTT-3.3.1-1]
		return fault("again, without DUP")
	case again && id != p.ID: // [MQTT-4.4.0-1]
		return fault("it had identifier %d", id)
	case s.held[p.ID] && s.numbers[p.ID] != number: // [MQTT-2.3.1-3]
		return fault("the identifier belongs to %d", s.numbers[p.ID])
	}
	l.newest = number
	s.identifiers[number], s.numbers[p.ID] = p.ID, number
	return nil
}

// watchRelease checks a PUBREL. A PUBREL without a PUBREC on this connection is a retransmission,
// which keeps its place among the retransmitted PUBLISH packets.
func (l *link) watchRelease(id uint16) error {
	s := l.session
	number, known := s.numbers[id]
	if !known {
		return nil // the publisher does not use crashMessage
	}
	s.released[number] = true
	if l.recs[id] {
		return nil
	}
	if number <= l.newest {
		return fmt.Errorf("%s: PUBREL of %d again, identifier %d, after %d on this connection", s.id, number, id, l.newest)
	}
	l.newest = number
	return nil
}
