package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
)

// addAll adds messages of 10 bytes, each written as its topic and its payload, such as "a1".
func addAll(b *newest, messages string) (superseded int) {
	for m := range strings.FieldsSeq(messages) {
		superseded += b.add(&frames.Message{Topic: m[:1], Payload: []byte(m[1:])}, 10)
	}
	return superseded
}

// popAll removes all messages and returns them, written in the same way.
func popAll(b *newest) string {
	var all []string
	for b.count > 0 {
		m := b.first()
		all = append(all, m.Topic+string(m.Payload))
		b.pop()
	}
	return strings.Join(all, " ")
}

func TestNewestKeepsTheNewestMessages(t *testing.T) {
	for _, c := range []struct {
		name       string
		max, limit int
		perTopic   bool
		add        string
		superseded int
		want       string
	}{
		{"one of all", 1, 100, false, "a1 b1 a2", 2, "a2"},
		{"three of all", 3, 100, false, "a1 b1 a2 a3 b2", 2, "a2 a3 b2"},
		{"a topic keeps its place", 1, 100, true, "a1 b1 c1 a2 b2 a3", 3, "a3 b2 c1"},
		{"the topics take turns", 2, 100, true, "a1 a2 a3 b1 c1 b2", 1, "a2 b1 c1 a3 b2"},
		{"the topic that was updated longest ago goes first", 2, 30, true, "a1 b1 a2 c1 d1", 2, "a2 c1 d1"},
		{"a topic with several messages loses the oldest first", 3, 30, true, "a1 a2 a3 b1", 1, "a2 b1 a3"},
		{"one topic loses its oldest", 5, 20, true, "a1 a2 a3", 1, "a2 a3"},
		{"a message above the limit is kept alone", 3, 5, false, "a1 b1", 1, "b1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newNewest(c.max, c.limit, c.perTopic)
			if n := addAll(b, c.add); n != c.superseded {
				t.Errorf("%d messages are superseded, want %d", n, c.superseded)
			}
			if got := popAll(b); got != c.want || b.bytes != 0 {
				t.Errorf("holds %s, want %s; %d bytes are left", got, c.want, b.bytes)
			}
		})
	}
}

// However often the other topics change, a topic waits at most one turn of each.
func TestNewestStarvesNoTopic(t *testing.T) {
	b := newNewest(1, 1000, true)
	addAll(b, "a0 b0 c0")
	got := make(map[string]int)
	for range 30 {
		got[b.first().Topic]++
		b.pop()
		addAll(b, "a1 b1 c1 a2 b2 c2")
	}
	if got["a"] != 10 || got["b"] != 10 || got["c"] != 10 {
		t.Errorf("30 messages are %v, want 10 of each topic", got)
	}
}

func TestNewestClonesItsMessages(t *testing.T) {
	for _, perTopic := range []bool{false, true} {
		b := newNewest(2, 1000, perTopic)
		for round := range 3 {
			buffer := []byte("123456")
			for i := range buffer {
				b.add(&frames.Message{Topic: fmt.Sprint("t", (i+round)%3), Payload: buffer[i : i+1]}, 10)
			}
			b.cloneBorrowed()
			clear(buffer)
		}
		for b.count > 0 {
			if m := b.first(); m.Payload[0] == 0 {
				t.Errorf("per topic %v: a message of %s was overwritten", perTopic, m.Topic)
			}
			b.pop()
		}
	}
}

func TestNewestGivesTheMemoryOfManyTopicsBack(t *testing.T) {
	b := newNewest(1, 1<<30, true)
	for i := range 2 * fewTopics {
		b.add(&frames.Message{Topic: fmt.Sprint(i)}, 10)
	}
	for b.count > 0 {
		b.pop()
	}
	if len(b.topics) > 1 || len(b.index) > 0 || cap(b.free) > 0 {
		t.Errorf("%d topics, %d names and %d free ones are kept", len(b.topics), len(b.index), cap(b.free))
	}
}

// A newestModel keeps all messages in one list, in order of arrival, and the topics in two.
type newestModel struct {
	*newest
	held    []heldMessage
	line    []string
	updated []string
	next    byte
}

type heldMessage struct {
	topic string
	value byte
	size  int
}

func (m *newestModel) add(t *rapid.T) {
	topic, size := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "topic"), rapid.IntRange(1, 40).Draw(t, "size")
	m.next++
	superseded := m.newest.add(&frames.Message{Topic: topic, Payload: []byte{m.next}}, size)
	if !m.perTopic {
		topic = ""
	}
	before := len(m.held) + 1
	if m.countOf(topic) == m.max {
		m.drop(topic)
	}
	m.held = append(m.held, heldMessage{topic, m.next, size})
	if !slices.Contains(m.line, topic) {
		m.line = append(m.line, topic)
	}
	m.updated = append(without(m.updated, topic), topic)
	for m.size() > m.limit && len(m.held) > 1 {
		m.drop(m.updated[0])
		m.prune()
	}
	if want := before - len(m.held); superseded != want {
		t.Fatalf("%d are superseded, want %d", superseded, want)
	}
}

func (m *newestModel) pop(t *rapid.T) {
	if len(m.held) == 0 {
		return
	}
	topic := m.line[0]
	want := m.drop(topic)
	m.line = append(without(m.line, topic), topic)
	m.prune()
	if got := m.first(); got.Payload[0] != want.value {
		t.Fatalf("message %d is first, want %d", got.Payload[0], want.value)
	}
	m.newest.pop()
}

func (m *newestModel) clone(*rapid.T) { m.cloneBorrowed() }

// drop removes the oldest message of a topic.
func (m *newestModel) drop(topic string) heldMessage {
	i := slices.IndexFunc(m.held, func(h heldMessage) bool { return h.topic == topic })
	dropped := m.held[i]
	m.held = slices.Delete(m.held, i, i+1)
	return dropped
}

// prune forgets the topics without a message.
func (m *newestModel) prune() {
	gone := func(topic string) bool { return m.countOf(topic) == 0 }
	m.line, m.updated = slices.DeleteFunc(m.line, gone), slices.DeleteFunc(m.updated, gone)
}

func (m *newestModel) countOf(topic string) (n int) {
	for _, h := range m.held {
		if h.topic == topic {
			n++
		}
	}
	return n
}

func (m *newestModel) size() (n int) {
	for _, h := range m.held {
		n += h.size
	}
	return n
}

func without(topics []string, topic string) []string {
	return slices.DeleteFunc(topics, func(t string) bool { return t == topic })
}

func (m *newestModel) check(t *rapid.T) {
	if m.count != len(m.held) || m.bytes != m.size() || len(m.index) != len(m.line) {
		t.Fatalf("%d messages with %d bytes in %d topics, want %d, %d, %d",
			m.count, m.bytes, len(m.index), len(m.held), m.size(), len(m.line))
	}
	if len(m.held) == 0 {
		return
	}
	oldest := slices.IndexFunc(m.held, func(h heldMessage) bool { return h.topic == m.line[0] })
	if got := m.first().Payload[0]; got != m.held[oldest].value {
		t.Fatalf("message %d is first, want %d", got, m.held[oldest].value)
	}
	borrowed := true // as long as the topics updated last are visited
	for i := m.newest.updated.Tail; i != 0; i = m.updates[i].Prev {
		values := m.topics[i].values
		for k := len(values) - 1; k >= 0; k-- {
			if values[k].borrowed && !borrowed {
				t.Fatalf("a borrowed message is before one that is not")
			}
			borrowed = values[k].borrowed
		}
		borrowed = values[len(values)-1].borrowed
	}
}

func TestNewestBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &newestModel{newest: newNewest(rapid.IntRange(1, 4).Draw(t, "max"), rapid.IntRange(1, 200).Draw(t, "limit"),
			rapid.Bool().Draw(t, "per topic"))}
		t.Repeat(map[string]func(*rapid.T){"add": m.add, "pop": m.pop, "clone": m.clone, "": m.check})
	})
}
