package integration

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
	"github.com/jpillora/backoff"
)

var soakTime = flag.Duration("soak", 5*time.Second, "duration of TestManyPublishersOverAFlappingConnection")

const (
	soakPublishers = 100
	soakFlap       = 50 * time.Millisecond
	soakAhead      = 5 // maximum number of publications without a Receipt, for a goroutine that does not wait for each
)

// E6. A hundred goroutines publish at every QoS while the connection of their kept session breaks
// again and again.
func TestManyPublishersOverAFlappingConnection(t *testing.T) {
	t.Parallel()
	b, exact := startMosquittoOr(t)
	link := new(wire)
	publisher := dial(t, b.url, mqtt.Options{ClientID: "soak", KeepSession: true, Window: 100,
		Reconnect: &backoff.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond, Jitter: true}, ConnectTimeout: time.Second, DialContext: link.DialContext})
	subscriber := dial(t, b.url, mqtt.Options{ClientID: "soaked"})
	got := &soaked{seen: make(map[string]int), end: make(chan struct{})}
	go got.read(subscribe(t, subscriber, mqtt.Filter{Topic: "soak/+", QoS: mqtt.ExactlyOnce}))

	stop := make(chan struct{})
	var flaps int
	var all, flapping sync.WaitGroup
	flapping.Go(func() {
		tick := time.NewTicker(soakFlap)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				link.cut()
				flaps++
			case <-stop:
				return
			}
		}
	})
	runs := make([]soakRun, soakPublishers)
	for p := range runs {
		runs[p].t, runs[p].client, runs[p].number = t, publisher, p
		if p/3%2 == 0 {
			all.Go(func() { runs[p].wait(stop) })
		} else {
			all.Go(func() { runs[p].ahead(stop) })
		}
	}
	<-time.After(*soakTime)
	close(stop)
	flapping.Wait()
	all.Wait()
	if err := publisher.Flush(within(t)); err != nil {
		t.Error(err)
	}
	publish(t, publisher, text("soak/end", "", mqtt.ExactlyOnce))
	next(t, got.end)

	var sent, lost [3]int
	for p, run := range runs {
		q := mqtt.QoS(p % 3)
		sent[q] += run.sent
		lost[q] += run.lost
		for i := range run.sent {
			n := got.seen[run.name(i)]
			if exact && (q > 0 && n == 0 || q != 1 && n > 1) {
				t.Errorf("QoS %d: %s came %d times", q, run.name(i), n)
			}
		}
	}
	if lost[1]+lost[2] > 0 {
		t.Errorf("lost by QoS: %v", lost)
	}
	t.Logf("%v: %d flaps, %d connections; sent by QoS %v, lost at QoS 0 %d; %d arrived",
		*soakTime, flaps, publisher.Stats().Connections, sent, lost[0], got.count.Load())
}

// startMosquittoOr starts mosquitto, or a Responder if mosquitto is not installed. A Responder
// keeps no sessions, so messages may arrive twice with it.
func startMosquittoOr(t *testing.T) (b *broker, exact bool) {
	if mosquittoPath() != "" {
		return startMosquitto(t, setup{}), true
	}
	t.Log(notInstalled)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &streamtest.Responder{Loopback: true}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { _ = r.Serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	return &broker{name: "responder", url: "mqtt://" + l.Addr().String()}, false
}

// A soakRun records the publications of one goroutine, all at one QoS.
type soakRun struct {
	t      *testing.T
	client *mqtt.Client
	number int
	sent   int
	lost   int
}

func (r *soakRun) name(i int) string { return fmt.Sprintf("%d/%d", r.number, i) }

func (r *soakRun) next() mqtt.Message {
	q := mqtt.QoS(r.number % 3)
	r.sent++
	return text(fmt.Sprintf("soak/%d", q), r.name(r.sent-1), q)
}

// ended handles the result of one publication. Only a QoS 0 publication may be lost, and then it
// has an error.
func (r *soakRun) ended(err error) {
	switch {
	case err == nil:
	case errors.Is(err, mqtt.ErrUnconfirmed), errors.Is(err, mqtt.ErrNotSent):
		r.lost++
	default:
		r.t.Errorf("publication of goroutine %d: %v", r.number, err)
	}
}

// wait publishes, and waits for each result before it publishes the next message.
func (r *soakRun) wait(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			r.ended(r.client.Publish(r.t.Context(), r.next()))
		}
	}
}

// ahead publishes without waiting for each Receipt. Each publication must get exactly one Receipt.
func (r *soakRun) ahead(stop <-chan struct{}) {
	acks := make(chan mqtt.Receipt, soakAhead)
	seen := make(map[int]bool)
	out := 0
	for publishes := r.client.Publishes(); publishes != nil || out > 0; {
		var offer chan<- mqtt.Publishing
		var p mqtt.Publishing
		if out < soakAhead && publishes != nil {
			offer = publishes
			p = mqtt.Publishing{Message: r.next(), Tag: r.sent - 1, Ack: acks}
			r.sent-- // not counted until it is accepted
		}
		select {
		case offer <- p:
			r.sent++
			out++
		case got := <-acks:
			out--
			i := got.Tag.(int)
			if seen[i] || i >= r.sent {
				r.t.Errorf("Receipt %d of goroutine %d is repeated, or has no publication", i, r.number)
			}
			seen[i] = true
			r.ended(got.Err)
		case <-stop:
			publishes, stop = nil, nil
		}
	}
	if len(seen) != r.sent {
		r.t.Errorf("%d Receipts for %d publications of goroutine %d", len(seen), r.sent, r.number)
	}
}

// soaked counts the arrivals of each payload.
type soaked struct {
	count atomic.Int64
	seen  map[string]int
	end   chan struct{}
}

func (s *soaked) read(sub *mqtt.Subscription) {
	for d := range sub.Deliveries() {
		if d.Topic == "soak/end" {
			d.Ack()
			s.end <- struct{}{}
			return
		}
		s.seen[string(d.Payload)]++
		s.count.Add(1)
		d.Ack()
	}
}
