package frames

import (
	"runtime"
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

// A peer that uses few high aliases does not make the table large, and a message with an alias that
// is set allocates nothing.
func TestMemoryFollowsTheAliasesInUse(t *testing.T) {
	set, use := hotPublish(AtMostOnce), hotPublish(AtMostOnce)
	use.Topic = ""
	for _, alias := range []uint16{1, manyAliases - 1, manyAliases, 65535} {
		set.Alias, use.Alias = alias, alias
		setting, using := frameOf(t, encode(t, set, V5)), frameOf(t, encode(t, use, V5))
		var topics Topics
		a := NewAliases(65535)
		before := allocated()
		if _, err := ParsePublish(setting, V5, &topics, a); err != nil {
			t.Fatal(err)
		}
		if n := allocated() - before; n > 20<<10 {
			t.Errorf("alias %d takes %d bytes", alias, n)
		}
		if n := testing.AllocsPerRun(100, func() {
			p, err := ParsePublish(using, V5, &topics, a)
			if err != nil || p.Topic != set.Topic {
				t.Fatalf("alias %d is %q, %v", alias, p.Topic, err)
			}
			if _, err := ParsePublish(setting, V5, &topics, a); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("alias %d: %v allocations", alias, n)
		}
	}
}

// allocated returns how many bytes the process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
