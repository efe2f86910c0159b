package frames

// Limits of a Topics; together they allow a megabyte of text.
const (
	maxTopics     = 4096 // entries
	maxTopicBytes = 256  // bytes of the longest topic that is added
)

// Topics interns the topics of received messages, so that a repeated topic costs no allocation. Its
// entries are valid topic names, so the rules are checked once per topic and not once per message.
// The zero value is ready to use. A Topics belongs to one goroutine, like the Reader beside it.
type Topics struct {
	last   string // most streams repeat their topic: a comparison is cheaper than a lookup
	byText map[string]string
}

// Intern returns b as a string. Equal bytes give the same string while the topic is an entry. Text
// that is not a valid topic name, or is longer than 256 bytes, is returned but not added.
func (t *Topics) Intern(b []byte) string {
	s, fault := t.topic(b)
	if fault != "" {
		return string(b)
	}
	return s
}

// topic returns b as a topic name, or the rule that it breaks. t may be nil.
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
		// Removing an arbitrary entry keeps most of the busy topics in a stream of ever new ones.
		for old := range t.byText {
			delete(t.byText, old)
			break
		}
	}
	t.byText[topic] = topic
	t.last = topic
}
