package frames

import "bytes"

// Message is an application message: what a publisher gives and a subscriber gets (section 3.3).
type Message struct {
	Topic   string // no wildcards, at least one character, at most 65,535 bytes
	Payload []byte // any bytes; may be empty
	QoS     QoS
	Retain  bool // to a broker: keep it for new subscribers; from a broker: it was kept
}

// Clone copies the payload: the way out of a read buffer that the Reader will write again.
func (m Message) Clone() Message {
	m.Payload = bytes.Clone(m.Payload)
	return m
}

// Validate checks that m can be sent: its QoS, its topic by [ValidTopicName], and that the packet fits the remaining
// length of 268,435,455 bytes. The error is an *InvalidError with Field "QoS", "topic" or "packet".
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

// remaining is the remaining length of the PUBLISH that carries m. The error tells that it is too large.
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
