package live

import (
	"slices"
	"strings"
	"sync"

	"github.com/go-millrace/mqtt"
)

const (
	maxTopics  = 1000 // counted apart
	maxTopic   = 256  // bytes of a topic that is counted apart
	idleTopics = 30   // samples without a message, after which a topic is forgotten
	smoothing  = 0.3  // the part of a new rate, so that the order of topics is steady
)

// topics count messages by topic. The functions of an Observer count, a sampling reads.
//
// Invariant: list has at most maxTopics topics, and byName has the same topics. The messages of all
// other topics are counted in other.
type topics struct {
	mu     sync.Mutex
	byName map[string]*topic
	list   []*topic
	other  topic
}

// A topic has the messages since the last sample, and the rates up to then.
type topic struct {
	name            string
	in, out         int
	rateIn, rateOut float64
	idle            int
}

// reset forgets all topics.
func (t *topics) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byName, t.list, t.other = make(map[string]*topic), nil, topic{}
}

func (t *topics) published(row []mqtt.Published) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range row {
		t.of(row[i].Topic).out++
	}
}

func (t *topics) delivered(row []mqtt.Delivered) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range row {
		t.of(row[i].Topic).in++
	}
}

// of returns the counts for a topic. The caller holds the lock.
func (t *topics) of(name string) *topic {
	if x := t.byName[name]; x != nil {
		return x
	}
	if t.byName == nil || len(t.list) >= maxTopics || len(name) > maxTopic {
		return &t.other
	}
	x := &topic{name: strings.Clone(name)}
	t.byName[x.name] = x
	t.list = append(t.list, x)
	return x
}

// sample returns the rates of the busiest topics, at most most of them, the sum of the rates of all
// others, and the number of topics. The counts cover the given seconds; sample sets them to 0.
func (t *topics) sample(seconds float64, most int) (top []topicRow, others topicRow, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.other.sample(seconds)
	others = t.other.row()
	number = len(t.list)
	t.list = slices.DeleteFunc(t.list, func(x *topic) bool {
		x.sample(seconds)
		if x.idle > idleTopics {
			delete(t.byName, x.name)
			return true
		}
		row := x.row()
		if len(top) == most && row.sum() <= top[most-1].sum() {
			others.add(row)
			return false
		}
		at, _ := slices.BinarySearchFunc(top, row, func(a, b topicRow) int {
			if a.sum() >= b.sum() {
				return -1
			}
			return 1
		})
		top = slices.Insert(top, at, row)
		if len(top) > most {
			others.add(top[most])
			top = top[:most]
		}
		return false
	})
	return top, others, number
}

func (x *topic) sample(seconds float64) {
	if x.idle++; x.in+x.out > 0 {
		x.idle = 0
	}
	x.rateIn += smoothing * (float64(x.in)/seconds - x.rateIn)
	x.rateOut += smoothing * (float64(x.out)/seconds - x.rateOut)
	x.in, x.out = 0, 0
}

func (x *topic) row() topicRow { return topicRow{x.name, x.rateIn, x.rateOut} }
