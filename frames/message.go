package frames

import "bytes"

// Message is an application message, published or received (section 3.3).
type Message struct {
	Topic   string // no wildcards, at least one character, at most 65,535 bytes
	Payload []byte // any bytes; may be empty
	QoS     QoS
	Retain  bool // outbound: the broker retains the message; inbound: it was a retained message
}

// Clone returns m with a copy of the payload, so that a Reader cannot overwrite it.
func (m Message) Clone() Message {
	m.Payload = bytes.Clone(m.Payload)
	return m
}

// Validate checks that m can be sent. It checks the QoS, the topic with [ValidTopicName], and that
// the remaining length of the PUBLISH is at most 268,435,455 bytes. The error is an *InvalidError
// with Field "QoS", "topic" or "packet".
func (m Message) Validate(v Version) error {
	if err := m.QoS.check("QoS"); err != nil {
		return err
	}
	if err := ValidTopicName(m.Topic, v); err != nil {
		return err
	}
	_, err := m.remaining()
	return err
}

// remaining returns the remaining length of the PUBLISH that carries m, or an error if that length
// is too large.
func (m *Message) remaining() (int, error) {
	n := 2 + len(m.Topic)
	if m.QoS > AtMostOnce {
		n += 2
	}
	if len(m.Payload) > MaxRemaining-n {
		return 0, tooLong(n + len(m.Payload))
	}
	return n + len(m.Payload), nil
}
