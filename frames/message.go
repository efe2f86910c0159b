package frames

import "bytes"

// Message is an application message, published or received (section 3.3).
type Message struct {
	Topic      string      // no wildcards, at least one character, at most 65,535 bytes
	Payload    []byte      // any bytes; may be empty
	Properties *Properties // MQTT 5; nil is none
	QoS        QoS
	Retain     bool // outbound: the broker retains the message; inbound: it was a retained message
}

// Clone returns m with a copy of the payload and of the properties, so that a Reader cannot
// overwrite them.
func (m Message) Clone() Message {
	m.Payload, m.Properties = bytes.Clone(m.Payload), m.Properties.clone()
	return m
}

// Validate checks that m can be sent. It checks the QoS, the topic with [ValidTopicName], the
// properties, and that the remaining length of the PUBLISH is at most 268,435,455 bytes. The error
// is an *InvalidError with Field "QoS", "topic", "packet" or the name of a property, such as
// "response topic". Before MQTT 5 a message may have an Expiry, which is not sent; any other
// property is a *VersionError.
func (m Message) Validate(v Version) error {
	if err := m.QoS.check("QoS"); err != nil {
		return err
	}
	if err := ValidTopicName(m.Topic, v); err != nil {
		return err
	}
	if err := m.validateProperties(v); err != nil {
		return err
	}
	_, err := m.remaining(v)
	return err
}

// validateProperties checks the Properties.
func (m *Message) validateProperties(v Version) error {
	if m.Properties == nil {
		return nil
	}
	if err := m.Properties.validate(m.Payload); err != nil {
		return err
	}
	if v < V5 {
		return CheckProperties(m.Properties, v)
	}
	return nil
}

// PublishSize returns the size in bytes of the PUBLISH that carries m, without a topic alias.
func PublishSize(m *Message, v Version) int {
	n, _ := m.remaining(v) // Validate has checked it
	size := 2 + n
	for n >>= 7; n > 0; n >>= 7 {
		size++
	}
	return size
}

// remaining returns the remaining length of the PUBLISH that carries m, or an error if that length
// is too large.
func (m *Message) remaining(v Version) (int, error) {
	n := 2 + len(m.Topic)
	if m.QoS > AtMostOnce {
		n += 2
	}
	if v >= V5 {
		n += m.propertiesSize()
	}
	if len(m.Payload) > MaxRemaining-n {
		return 0, tooLong(n + len(m.Payload))
	}
	return n + len(m.Payload), nil
}

// propertiesSize returns the size of the property block of a PUBLISH without a topic alias, its
// length included.
func (m *Message) propertiesSize() int {
	if m.Properties == nil {
		return 1
	}
	n := m.Properties.size()
	return n + varintSize(n)
}
