package frames

import "bytes"

// Limits of a Topics. Together they allow a megabyte of text.
const (
	maxTopics     = 4096 // entries
	maxTopicBytes = 256  // longest topic that is added, in bytes
)

// Topics interns the topics of received messages, so that a repeated topic costs no allocation. Its
// entries are valid topic names, so the rules are checked once per topic and not once per message.
// A Topics also shares equal properties of successive messages. The zero value is ready to use.
// Only one goroutine at a time may use a Topics.
type Topics struct {
	last   string // the topic of the previous message: comparing with it is cheaper than a lookup
	byText map[string]string
	block  *lastBlock // nil before the first block
}

// maxBlockBytes bounds the property block that is kept.
const maxBlockBytes = 256

// A lastBlock is the property block of an earlier message, parsed. A message with the same block
// shares the Properties, so that constant properties, such as a subscription identifier, cost no
// allocation. Only Properties that nobody changes are kept: those without message expiry interval
// and correlation data.
type lastBlock struct {
	bytes      []byte // with its length
	properties *Properties
	alias      uint16
}

// find reports whether b begins with the block.
func (l *lastBlock) find(b []byte) bool {
	return l != nil && len(l.bytes) > 0 && bytes.HasPrefix(b, l.bytes)
}

// keep keeps the block of a message.
func (t *Topics) keep(block []byte, p *Publish) {
	if t.block == nil {
		t.block = new(lastBlock)
	}
	l := t.block
	if len(block) > maxBlockBytes || p.Properties != nil && (p.Properties.expires || p.Properties.Correlation != nil) {
		return
	}
	l.bytes = append(l.bytes[:0], block...)
	l.properties, l.alias = p.Properties, p.Alias
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
