package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// traffic has a publisher and a subscriber with kept sessions. Numbered messages go from one to the
// other, at QoS 1 and 2 in turn.
type traffic struct {
	t          *testing.T
	window     int
	publisher  *mqtt.Client
	subscriber *mqtt.Client

	wires [2]*wire // of publisher and subscriber

	sent     int
	receipts chan mqtt.Receipt
	seen     []int // number of receipts, by the number of the publication
	settled  int
	forgets  bool // the broker loses sessions, so QoS 2 publications may end with ErrSessionLost

	mu      sync.Mutex
	arrived [3][]int // by QoS, in order of arrival
	marks   chan int
	mark    int
}

// newTraffic connects publisher and subscriber. If there are stores, the first is for the publisher
// and the second for the subscriber.
func newTraffic(t *testing.T, b *broker, v mqtt.Version, window int, keepAlive time.Duration, stores ...mqtt.Store) *traffic {
	t.Helper()
	return newTrafficVia(t, b.url, b.url, v, window, keepAlive, stores...)
}

// newTrafficVia is newTraffic with a URL for each client.
func newTrafficVia(t *testing.T, publisherURL, subscriberURL string, v mqtt.Version, window int, keepAlive time.Duration, stores ...mqtt.Store) *traffic {
	t.Helper()
	stores = append(stores, nil, nil)
	f := &traffic{t: t, window: window, receipts: make(chan mqtt.Receipt, 1<<16), marks: make(chan int, 1<<10)}
	for i := range f.wires {
		f.wires[i] = new(wire)
	}
	f.subscriber = dial(t, subscriberURL, mqtt.Options{Version: v, ClientID: "subscriber", KeepSession: true, Store: stores[1], V5: mqtt.OptionsV5{ReceiveMaximum: backlogMaximum},
		KeepAlive: keepAlive, ConnectTimeout: time.Second, Reconnect: soon(), DialContext: f.wires[1].DialContext})
	sub := subscribe(t, f.subscriber, mqtt.Filter{Topic: "traffic/+", QoS: mqtt.ExactlyOnce})
	f.publisher = dial(t, publisherURL, mqtt.Options{Version: v, ClientID: "publisher", KeepSession: true, Window: window, Store: stores[0],
		KeepAlive: keepAlive, ConnectTimeout: time.Second, Reconnect: soon(), DialContext: f.wires[0].DialContext})
	go func() {
		for d := range sub.Deliveries() {
			i, err := strconv.Atoi(string(d.Payload))
			switch {
			case d.Topic == markTopic && err == nil:
				f.marks <- i
			case err != nil || d.Topic != topicOf(d.QoS) || d.QoS != qosOf(i):
				t.Errorf("got %s", show(d.Message))
			default:
				f.mu.Lock()
				f.arrived[d.QoS] = append(f.arrived[d.QoS], i)
				f.mu.Unlock()
			}
			d.Ack()
		}
	}()
	return f
}

const markTopic = "traffic/mark"

func topicOf(q mqtt.QoS) string { return fmt.Sprintf("traffic/%d", q) }
func qosOf(i int) mqtt.QoS      { return mqtt.QoS(1 + i%2) }

// send publishes the next n messages. It waits until they are accepted, but not for their receipts.
func (f *traffic) send(n int) {
	f.t.Helper()
	timeout := time.After(patience)
	for range n {
		m := text(topicOf(qosOf(f.sent)), strconv.Itoa(f.sent), qosOf(f.sent))
		select {
		case f.publisher.Publishes() <- mqtt.Publishing{Message: m, Tag: f.sent, Ack: f.receipts}:
			f.sent++
		case <-timeout:
			f.t.Fatal("no room for another publication")
		}
	}
}

// progress receives n receipts. After that, messages are certainly on their way.
func (f *traffic) progress(n int) {
	f.t.Helper()
	for range n {
		r := next(f.t, f.receipts)
		i := r.Tag.(int)
		f.seen = append(f.seen, make([]int, f.sent-len(f.seen))...)
		f.seen[i]++
		f.settled++
		err := r.Err
		if f.forgets && r.QoS == mqtt.ExactlyOnce && errors.Is(err, mqtt.ErrUnconfirmed) && errors.Is(err, mqtt.ErrSessionLost) {
			err = nil
		}
		if err != nil || r.ID == 0 || string(r.Payload) != strconv.Itoa(i) {
			f.t.Errorf("receipt %d: %s as packet %d, %v", i, r.Payload, r.ID, r.Err)
		}
	}
}

// settle waits until every publication has completed. Each publication must have exactly one
// receipt, and no error.
func (f *traffic) settle() {
	f.t.Helper()
	f.progress(f.sent - f.settled)
	if i := slices.IndexFunc(f.seen, func(n int) bool { return n != 1 }); i >= 0 {
		f.t.Errorf("publication %d has %d receipts", i, f.seen[i])
	}
	if err := f.publisher.Flush(within(f.t)); err != nil {
		f.t.Error(err)
	}
	select {
	case r := <-f.receipts:
		f.t.Errorf("one receipt too many: %v", r)
	default:
	}
}

// finish publishes a last message and waits until it arrives after all others. The message is
// retained, so that a subscriber that reconnects gets it too.
func (f *traffic) finish() {
	f.t.Helper()
	f.settle()
	f.mark++
	last := text(markTopic, strconv.Itoa(f.mark), 1)
	last.Retain = true
	publish(f.t, f.publisher, last)
	until(f.t, f.marks, func(mark int) bool { return mark == f.mark })
}

// missing returns the publications from number first on that have not arrived.
func (f *traffic) missing(first int) (none []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	arrived := make([]bool, f.sent)
	for _, list := range f.arrived {
		for _, i := range list {
			arrived[i] = true
		}
	}
	for i := first; i < f.sent; i++ {
		if !arrived[i] {
			none = append(none, i)
		}
	}
	return none
}

// check verifies two rules that hold even if the broker loses messages: no QoS 2 message is
// delivered twice, and first arrivals are in order.
func (f *traffic) check() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for q, list := range f.arrived {
		seen := make(map[int]bool)
		newest := -1
		for _, i := range list {
			switch {
			case seen[i] && mqtt.QoS(q) == mqtt.ExactlyOnce:
				f.t.Errorf("QoS 2: %d came twice", i)
			case !seen[i] && i < newest:
				f.t.Errorf("QoS %d: %d came after %d", q, i, newest)
			}
			seen[i] = true
			newest = max(newest, i)
		}
	}
	f.t.Logf("sent %d; arrived %d at QoS 1, %d at QoS 2; %d connections of the publisher, %d of the subscriber",
		f.sent, len(f.arrived[1]), len(f.arrived[2]), f.publisher.Stats().Connections, f.subscriber.Stats().Connections)
}

// offline waits until both clients have detected that the broker is absent.
func (f *traffic) offline() {
	f.t.Helper()
	for _, c := range []*mqtt.Client{f.publisher, f.subscriber} {
		ctx, cancel := context.WithCancel(f.t.Context())
		if s := until(f.t, c.States(ctx), func(s mqtt.State) bool { return !s.Online }); s.Err == nil {
			f.t.Error("offline without an error")
		}
		cancel()
	}
}

// noticed waits until both clients have lost a connection since began. They may be connected again
// by then.
func (f *traffic) noticed(began time.Time) {
	f.t.Helper()
	for _, c := range []*mqtt.Client{f.publisher, f.subscriber} {
		ctx, cancel := context.WithCancel(f.t.Context())
		until(f.t, c.States(ctx), func(s mqtt.State) bool { return !s.Online || s.Since.After(began) })
		cancel()
	}
}
