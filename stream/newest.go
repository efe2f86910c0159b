package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow/list"
	"github.com/go-millrace/mqtt/frames"
)

// newest holds the newest messages that arrived, or the newest of each topic. It hands them over
// topic by topic: after one message of a topic it is the turn of the next topic. A newer message
// takes the place of an older one of its topic in the line, so a topic whose messages come faster
// than they are handed over gets its turn like the others.
//
// Invariant: a topic in use has 1 to max messages, oldest first, and is once in line, in order of
// turns, and once in updated, in order of the newest message. The fields count and bytes are sums
// over all messages, and bytes exceeds limit only while there is one message. Borrowed messages
// are the last of their topics, and these topics are the last in updated.
type newest struct {
	max      int  // messages, of each topic if perTopic is set
	limit    int  // in bytes, counted as for ReceiveBytes
	perTopic bool // otherwise all messages have the topic ""

	topics  []newestTopic // topic 0 stays unused
	index   map[string]int32
	free    []int32
	line    list.List
	turns   []list.Links // of line
	updated list.List
	updates []list.Links // of updated

	count, bytes int
}

type newestTopic struct {
	name   string
	values []newestValue
}

type newestValue struct {
	message  frames.Message
	arrived  time.Duration // 0 if it is not known
	bytes    int32
	borrowed bool // the payload lies in a read buffer
}

func newNewest(max, limit int, perTopic bool) *newest {
	return &newest{max: max, limit: limit, perTopic: perTopic,
		topics: make([]newestTopic, 1), turns: make([]list.Links, 1), updates: make([]list.Links, 1),
		index: make(map[string]int32)}
}

// add adds a borrowed message, which counts with size bytes, and returns the number of messages
// that it supersedes. When there is no room, the oldest message of the topic that was updated
// longest ago goes.
func (b *newest) add(m *frames.Message, size int) (superseded int) {
	i := b.topicOf(m)
	t := &b.topics[i]
	if len(t.values) == b.max {
		b.dropFirst(t)
		superseded++
	}
	t.values = append(t.values, newestValue{message: *m, bytes: int32(size), borrowed: true})
	b.count++
	b.bytes += size
	b.updated.Remove(b.updates, i)
	b.updated.PushBack(b.updates, i)
	for b.bytes > b.limit && b.count > 1 {
		oldest := b.updated.Head
		b.dropFirst(&b.topics[oldest])
		b.removeEmpty(oldest)
		superseded++
	}
	return superseded
}

// topicOf returns the topic of m, which it puts at the end of both lists if it is new.
func (b *newest) topicOf(m *frames.Message) int32 {
	name := ""
	if b.perTopic {
		name = m.Topic
	}
	i, ok := b.index[name]
	if ok {
		return i
	}
	if n := len(b.free); n > 0 {
		i, b.free = b.free[n-1], b.free[:n-1]
	} else {
		i = int32(len(b.topics))
		b.topics = append(b.topics, newestTopic{})
		b.turns, b.updates = append(b.turns, list.Links{}), append(b.updates, list.Links{})
	}
	b.topics[i].name = name
	b.index[name] = i
	b.line.PushBack(b.turns, i)
	b.updated.PushBack(b.updates, i)
	return i
}

// cloneBorrowed replaces the borrowed messages by clones, which own their memory.
func (b *newest) cloneBorrowed() {
	for i := b.updated.Tail; i != 0; i = b.updates[i].Prev {
		values := b.topics[i].values
		k := len(values) - 1
		if !values[k].borrowed {
			return
		}
		for ; k >= 0 && values[k].borrowed; k-- {
			values[k].message, values[k].borrowed = values[k].message.Clone(), false
		}
	}
}

// first returns the message whose turn it is. There must be one.
func (b *newest) first() frames.Message { return b.topics[b.line.Head].values[0].message }

// last returns the message that was added last.
func (b *newest) last() *newestValue {
	values := b.topics[b.updated.Tail].values
	return &values[len(values)-1]
}

// pop removes and returns the message that first returns.
func (b *newest) pop() (v newestValue) {
	i := b.line.Head
	v = b.topics[i].values[0]
	b.dropFirst(&b.topics[i])
	if !b.removeEmpty(i) {
		b.line.Remove(b.turns, i)
		b.line.PushBack(b.turns, i)
	}
	return v
}

func (b *newest) dropFirst(t *newestTopic) {
	b.count--
	b.bytes -= int(t.values[0].bytes)
	t.values = removeFirst(t.values)
}

// fewTopics is how many topics keep their memory when there is no message.
const fewTopics = 1024

// removeEmpty removes topic i if it has no message, and reports whether it did.
func (b *newest) removeEmpty(i int32) bool {
	t := &b.topics[i]
	if len(t.values) > 0 {
		return false
	}
	if b.count == 0 && len(b.topics) > fewTopics {
		*b = *newNewest(b.max, b.limit, b.perTopic)
		return true
	}
	delete(b.index, t.name)
	*t = newestTopic{}
	b.line.Remove(b.turns, i)
	b.updated.Remove(b.updates, i)
	b.free = append(b.free, i)
	return true
}
