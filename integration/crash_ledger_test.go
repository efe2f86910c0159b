package integration

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt"
)

// A ledger records the reports of the children: the accepted publications and the arrivals.
type ledger struct {
	t *testing.T

	mu       sync.Mutex
	accepted map[int]int // number of accepted publications, by run of the publisher
	left     string      // description of the publisher's store at the end
	arrivals []arrival   // all arrivals, in order
	begin    int         // index of the first arrival of the subscriber's current run
	run      int
	distinct map[int]bool
	credits  chan struct{} // has one value for each publication that has not arrived
	end      chan struct{} // closed when the last message arrives
	moved    chan struct{} // cap 1; gets a value when a message arrives
}

// An arrival is one delivery of a message.
type arrival struct {
	number  int
	qos     mqtt.QoS
	run     int  // run of the subscriber
	settled bool // the ack is in the store
}

// ahead limits the publications that have not arrived while only the subscriber is killed.
const ahead = 500

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, accepted: make(map[int]int), distinct: make(map[int]bool),
		credits: make(chan struct{}, ahead), end: make(chan struct{}), moved: make(chan struct{}, 1)}
}

// publisher returns a function that records the lines of one run of the publisher.
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
			l.t.Errorf("unexpected line of the publisher: %q", line)
		}
	}
}

// subscriber returns a function that records the lines of one run of the subscriber.
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
			l.t.Errorf("unexpected line of the subscriber: %q", line)
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
		case <-l.end: // end is already closed if the subscriber was killed after the last message
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

// settled records that the acks of the first n deliveries of the run are in the store.
func (l *ledger) settled(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.begin; i < l.begin+n; i++ {
		l.arrivals[i].settled = true
	}
}

// check verifies that no accepted publication is lost, that no QoS 2 message comes twice, and that
// first arrivals are in order.
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
		case a.number < 0: // the last message
		case !again:
			arrived[a.qos]++
			if a.number < newest[a.qos] {
				fault("QoS %d: %d arrived after %d", a.qos, a.number, newest[a.qos])
			}
			newest[a.qos] = a.number
		case a.qos == mqtt.ExactlyOnce && (before.settled || before.run == a.run):
			twice[a.qos]++
			fault("QoS 2: %d arrived twice, in runs %d and %d of the subscriber; acknowledged: %t", a.number, before.run, a.run, before.settled)
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
	l.t.Logf("accepted %d. QoS 1: arrived %d, repeated %d, lost %d. QoS 2: arrived %d, repeated since a kill came before the ack %d, duplicated %d, lost %d",
		accepted, arrived[1], repeated[1], lost[1], arrived[2], repeated[2], twice[2], lost[2])
}
