package frames

// Limits of a Topics. Together they allow a megabyte of text.
const (
	maxTopics     = 4096 // entries
	maxTopicBytes = 256  // longest topic that is added, in bytes
)

// Topics interns the topics of received messages, so that a repeated topic costs no allocation. Its
// entries are valid topic names, so the rules are checked once per topic and not once per message.
// The zero value is ready to use. Only one goroutine at a time may use a Topics.
type Topics struct {
	last   string // the topic of the previous message: comparing with it is cheaper than a lookup
	byText map[string]string
}

// Intern returns b as a string. Equal bytes give the same string while the topic is in t. Intern
// also returns a text that is not a valid topic name or is longer than 256 bytes, but does not add
// it to t.
func (t *Topics) Intern(b []byte) string {
	s, fault := t.topic(b)
	if fault != "" {
		return string(b)
	}
	return s
}

// topic returns b as a topic name or, if b is not valid, the rule that it breaks. t may be nil.
func (t *Topics) topic(b []byte) (topic, fault string) {
	if t != nil {
		if t.last == string(b) && len(b) > 0 {
			return t.last, ""
		}
		if s, ok := t.byText[string(b)]; ok {
			t.last = s
			return s, ""
		}
	}
	topic = string(b)
	if fault = topicFault(topic); fault != "" {
		return "", fault
	}
	if t != nil && len(topic) <= maxTopicBytes {
		t.add(topic)
	}
	return topic, ""
}

func (t *Topics) add(topic string) {
	if t.byText == nil {
		t.byText = make(map[string]string)
	}
	if len(t.byText) == maxTopics {
		// An arbitrary entry is removed. Most of the busy topics thus stay, even while new topics
		// keep coming.
		for old := range t.byText {
			delete(t.byText, old)
			break
		}
	}
	t.byText[topic] = topic
	t.last = topic
}
