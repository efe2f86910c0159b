package frames

import (
	"strings"
	"testing"
)

// V35 to V37: an alias is in range and set before it is used, and may be set anew.
func TestTopicAliases(t *testing.T) {
	a := NewAliases(2)
	publish := func(topic string, alias uint16) (string, error) {
		p, err := ParsePublish(frameOf(t, encode(t, Publish{Message: Message{Topic: topic}, Alias: alias}, V5)), V5, nil, a)
		return p.Topic, err
	}
	for _, step := range []struct {
		topic string
		alias uint16
		want  string // the topic, or an error with a reason code
		code  ReasonCode
	}{
		{"", 1, "is not set", ProtocolViolation},
		{"one", 1, "one", 0},
		{"", 1, "one", 0},
		{"two", 2, "two", 0},
		{"other", 1, "other", 0},
		{"", 1, "other", 0},
		{"", 2, "two", 0},
		{"three", 3, "out of range", TopicAliasInvalid},
		{"", 65535, "out of range", TopicAliasInvalid},
		{"a/#", 1, "wildcard", ProtocolViolation},
		{"", 1, "other", 0},
		{"", 0, "empty", ProtocolViolation},
	} {
		topic, err := publish(step.topic, step.alias)
		switch {
		case step.code == 0 && (err != nil || topic != step.want):
			t.Errorf("%q with alias %d: %q, %v", step.topic, step.alias, topic, err)
		case step.code != 0 && (err == nil || !strings.Contains(err.Error(), step.want) || CodeOf(err) != step.code):
			t.Errorf("%q with alias %d: %v, code %v", step.topic, step.alias, err, CodeOf(err))
		}
	}
	a = NewAliases(2) // of the next connection
	if _, err := publish("", 1); err == nil {
		t.Error("an alias outlives its connection")
	}
}
