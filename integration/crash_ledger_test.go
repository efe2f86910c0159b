package integration

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt"
)

// A ledger has what publishers have said to be accepted, and what has arrived.
type ledger struct {
	t *testing.T

	mu       sync.Mutex
	accepted map[int]int // by run of the publisher: how many of its publications
	left     string      // what the publisher has found in its store at the end
	arrivals []arrival   // in order
	begin    int         // of those of the subscriber's run under way
	run      int
	distinct map[int]bool
	credits  chan struct{} // one for each publication that has not arrived
	end      chan struct{} // closed with the last message of all
	moved    chan struct{} // cap 1: something has arrived
}

// An arrival is the hand-over of one message.
type arrival struct {
	number  int
	qos     mqtt.QoS
	run     int  // of the subscriber
	settled bool // and the store has it
}

// ahead is how far a publisher that takes credits may be ahead of the subscriber.
const ahead = 500

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, accepted: make(map[int]int), distinct: make(map[int]bool),
		credits: make(chan struct{}, ahead), end: make(chan struct{}), moved: make(chan struct{}, 1)}
}

// publisher takes the lines of a run of a publisher.
func (l *ledger) publisher(run int) func(line string) {
	return func(line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		var n, publications, received int
		if _, err := fmt.Sscanf(line, "accepted %d", &n); err == nil {
			l.accepted[run] = n
		} else if _, err := fmt.Sscanf(line, "left %d %d", &publications, &received); err == nil {
			l.left = fmt.Sprintf("%d publications, %d received", publications, received)
		} else {
			l.t.Errorf("the publisher says %q", line)
		}
	}
}

// subscriber takes the lines of a run of a subscriber.
func (l *ledger) subscriber(run int) func(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin, l.run = len(l.arrivals), run
	return func(line string) {
		var topic, payload string
		var qos, n, publications, received int
		if _, err := fmt.Sscanf(line, "got %s %s %d", &topic, &payload, &qos); err == nil {
			l.arrived(topic, payload, mqtt.QoS(qos))
		} else if _, err := fmt.Sscanf(line, "settled %d", &n); err == nil {
			l.settled(n)
		} else if _, err := fmt.Sscanf(line, "left %d %d", &publications, &received); err != nil && line != "subscribed" {
			l.t.Errorf("the subscriber says %q", line)
		}
	}
}

func (l *ledger) arrived(topic, payload string, qos mqtt.QoS) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.moved <- struct{}{}:
	default:
	}
	number, err := strconv.Atoi(payload)
	switch {
	case topic == endTopic:
		select {
		case <-l.end: // a subscriber that was killed after it gets it again
		default:
			close(l.end)
		}
		number = -1
	case err != nil || topic != crashTopic || qos != qosOf(number):
		l.t.Errorf("arrived at QoS %d, topic %s: %s", qos, topic, payload)
		return
	case !l.distinct[number]:
		l.distinct[number] = true
		select {
		case <-l.credits:
		default:
		}
	}
	l.arrivals = append(l.arrivals, arrival{number, qos, l.run, false})
}

// settled says that the first n deliveries of the run are settled for good.
func (l *ledger) settled(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.begin; i < l.begin+n; i++ {
		l.arrivals[i].settled = true
	}
}

// check is what must hold in the end.
func (l *ledger) check() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	faults := 0
	fault := func(format string, args ...any) {
		if faults++; faults <= 10 {
			l.t.Errorf(format, args...)
		}
	}
	var arrived, lost, repeated, twice [3]int
	newest := [3]int{-1, -1, -1}
	last := make(map[int]arrival)
	for _, a := range l.arrivals {
		before, again := last[a.number]
		last[a.number] = a
		switch {
		case a.number < 0: // the end
		case !again:
			arrived[a.qos]++
			if a.number < newest[a.qos] {
				fault("QoS %d: %d came after %d", a.qos, a.number, newest[a.qos])
			}
			newest[a.qos] = a.number
		case a.qos == mqtt.ExactlyOnce && (before.settled || before.run == a.run):
			twice[a.qos]++
			fault("QoS 2: %d came twice, in runs %d and %d of the subscriber; settled: %t", a.number, before.run, a.run, before.settled)
		default:
			repeated[a.qos]++
		}
	}
	accepted := 0
	for run, n := range l.accepted {
		accepted += n
		for number := run * perRun; number < run*perRun+n; number++ {
			if _, ok := last[number]; !ok {
				lost[qosOf(number)]++
				fault("lost: %d, at QoS %d", number, qosOf(number))
			}
		}
	}
	l.t.Logf("accepted %d. QoS 1: arrived %d, repeated %d, lost %d. QoS 2: arrived %d, again after a kill before it was settled %d, duplicated %d, lost %d",
		accepted, arrived[1], repeated[1], lost[1], arrived[2], repeated[2], twice[2], lost[2])
}
