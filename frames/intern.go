package frames

// How much a Topics holds: at most a megabyte of text.
const (
	maxTopics     = 4096 // entries
	maxTopicBytes = 256  // bytes of a topic worth an entry
)

// Topics makes one string of each topic that arrives again and again, so that a received message costs no allocation
// for its topic. An entry has passed the rules for topic names, so they are checked once per topic and not once per
// message. The zero value is ready. It belongs to one goroutine, like the Reader it stands beside.
type Topics struct {
	last   string // most streams repeat their topic: one comparison in place of a look-up
	byText map[string]string
}

// Intern gives b as a string, the same string for the same bytes while the topic is among the entries. Text that is
// no topic name, or is longer than 256 bytes, is returned and not entered.
func (t *Topics) Intern(b []byte) string {
	s, fault := t.topic(b)
	if fault != "" {
		return string(b)
	}
	return s
}

// topic gives b as a topic name, or the rule it breaks. t may be nil.
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
		// Any entry makes room: a stream of ever new topics then leaves most of the busy ones where they are.
		for old := range t.byText {
			delete(t.byText, old)
			break
		}
	}
	t.byText[topic] = topic
	t.last = topic
}
