package stream_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A twin is a broker's half of a session, packet by packet, so that a
// connection can be cut between any two of them.
type twin struct {
	t *testing.T

	// From the client.
	got  []string        // payloads passed on, in order
	held map[uint16]bool // QoS 2 identifiers between PUBLISH and PUBREL

	// To the client.
	out []*outbound

	send   []frames.Packet // to be sent, in order
	events int             // packets so far, both ways
	settle func()          // lets the consumers settle what they hold
}

type outbound struct {
	frames.Publish
	sent, released, done bool
}

// resume queues what a broker sends at the beginning of a connection: all that
// is not acknowledged, in order.
func (x *twin) resume() {
	x.send = nil
	for _, o := range x.out {
		switch {
		case o.done:
		case o.released:
			x.send = append(x.send, ack(pubrel, o.ID))
		default:
			o.DUP = o.sent
			o.sent = true
			x.send = append(x.send, o.Publish)
		}
	}
}

// take is the broker's side of the four exchanges.
func (x *twin) take(p frames.Packet) {
	switch p := p.(type) {
	case frames.Publish:
		switch {
		case p.QoS == frames.AtMostOnce:
			x.got = append(x.got, string(p.Payload))
			return
		case p.QoS == frames.AtLeastOnce:
			x.got = append(x.got, string(p.Payload))
			x.send = append(x.send, ack(puback, p.ID))
			return
		}
		if !x.held[p.ID] {
			x.held[p.ID] = true
			x.got = append(x.got, string(p.Payload))
		}
		x.send = append(x.send, ack(pubrec, p.ID))
	case frames.Ack:
		switch p.Kind {
		case pubrel:
			delete(x.held, p.ID)
			x.send = append(x.send, ack(pubcomp, p.ID))
		case pubrec:
			x.find(p.ID).released = true
			x.send = append(x.send, ack(pubrel, p.ID))
		default:
			x.find(p.ID).done = true
		}
	default:
		x.t.Fatalf("the client sent %v", p)
	}
}

func (x *twin) find(id uint16) *outbound {
	i := slices.IndexFunc(x.out, func(o *outbound) bool { return o.ID == id })
	if i < 0 {
		x.t.Fatalf("ack for identifier %d, which is not in flight", id)
	}
	return x.out[i]
}

func (x *twin) settled() bool {
	return !slices.ContainsFunc(x.out, func(o *outbound) bool { return !o.done })
}

// run plays a connection until over reports that all is done, or until the
// event number cut has happened; it reports whether it was cut.
func (x *twin) run(c *streamtest.Conn, cut int, over func() bool) bool {
	x.resume()
	for {
		synctest.Wait()
		switch {
		case len(x.send) > 0:
			c.Send(x.send[0])
			x.send = x.send[1:]
		case over():
			return false
		default:
			x.settle() // late or not, nothing more comes before that
			x.take(streamtest.Next[frames.Packet](c))
		}
		if x.events++; x.events == cut {
			return true
		}
	}
}

// A plan is one exchange: what is published each way, and under which terms.
type plan struct {
	version frames.Version
	keep    bool
	present bool // what the broker says of the session after the cut
	window  int
	out     []frames.QoS // by the client
	in      []frames.QoS // by the broker
	late    bool         // deliveries are settled when nothing else is left to do, or after the cut
	abort   bool         // cut by a reset, which loses what is on its way
}

func (p plan) String() string {
	return fmt.Sprintf("%v keep=%v present=%v window=%d out=%v in=%v late=%v abort=%v",
		p.version, p.keep, p.present, p.window, p.out, p.in, p.late, p.abort)
}

func TestACutAtAnyPacketLosesAndRepeatsNothing(t *testing.T) {
	q1, q2 := frames.AtLeastOnce, frames.ExactlyOnce
	mixed := []frames.QoS{q2, q1, q2, q1, q2}
	var plans []plan
	for _, p := range []plan{
		{keep: true, present: true, window: 1, out: mixed},
		{keep: true, present: true, window: 3, out: mixed},
		{keep: true, present: true, window: 10, out: mixed},
		{keep: true, present: true, window: 1, in: mixed},
		{keep: true, present: true, window: 1, in: mixed, late: true},
		{keep: true, present: true, window: 2, in: mixed, out: mixed},
		{keep: true, present: false, window: 3, out: mixed, in: mixed},
		{keep: false, window: 3, out: mixed, in: mixed},
	} {
		for _, v := range []frames.Version{frames.V311, frames.V31} {
			for _, abort := range []bool{false, true} {
				p.version, p.abort = v, abort
				plans = append(plans, p)
			}
		}
	}
	for _, p := range plans {
		t.Run(p.String(), func(t *testing.T) {
			events := 0
			synctest.Test(t, func(t *testing.T) { events = p.play(t, 0) })
			for cut := 1; cut <= events; cut++ {
				synctest.Test(t, func(t *testing.T) { p.play(t, cut) })
				if t.Failed() {
					t.Fatalf("cut after packet %d of %d", cut, events)
				}
			}
		})
	}
}

// play runs the exchange with a connection that ends after packet number cut (0:
// never), and returns the number of packets.
func (p plan) play(t *testing.T, cut int) int {
	b := streamtest.New(t)
	receipts := make(chan stream.Receipt, 2*len(p.out)+1)
	s, c := connected(t, b, &stream.Options{
		Version: p.version, ClientID: "twin", KeepSession: p.keep, Window: p.window, Ack: receipts,
	})
	x := &twin{t: t, held: make(map[uint16]bool)}
	for i, q := range p.in {
		x.out = append(x.out, &outbound{Publish: publish("in", fmt.Sprint(i), q, uint16(100+i), false)})
	}
	for i, q := range p.out {
		s.Publishes() <- stream.Publishing{Message: message("out", fmt.Sprint(i), q), Tag: i}
	}
	var delivered []string
	settle := make(chan struct{})
	x.settle = sync.OnceFunc(func() { close(settle) })
	consumer := make(chan struct{})
	go func() {
		defer close(consumer)
		for d := range s.Deliveries() {
			delivered = append(delivered, string(d.Payload))
			if p.late {
				go func() { <-settle; d.Ack() }()
				continue
			}
			d.Ack()
		}
	}()

	over := func() bool { return len(receipts) == len(p.out) && x.settled() }
	if x.run(c, cut, over) {
		if p.abort {
			c.Abort()
		} else {
			c.Drop()
		}
		if !p.keep || !p.present {
			clear(x.held) // the broker's half of the session is gone
			x.out = nil
		}
		c = b.Handshake(p.keep && p.present && p.version == frames.V311)
		x.settle()
		x.run(c, 0, over)
	}
	s.Close()
	<-consumer
	p.check(t, x, cut, receipts, delivered)
	return x.events
}

func (p plan) check(t *testing.T, x *twin, cut int, receipts chan stream.Receipt, delivered []string) {
	close(receipts)
	seen := make(map[any]int)
	for r := range receipts {
		seen[r.Tag]++
		if r.Err != nil && (p.keep || !errors.Is(r.Err, stream.ErrUnconfirmed)) {
			t.Errorf("receipt of %v: %v", r.Tag, r.Err)
		}
	}
	for i := range p.out {
		if seen[i] != 1 {
			t.Errorf("publication %d got %d receipts", i, seen[i])
		}
	}
	sessionLost := cut > 0 && !(p.keep && p.present)
	checkArrivals(t, "broker", x.got, p.out, sessionLost, sessionLost && !p.keep)
	checkArrivals(t, "consumer", delivered, p.in, sessionLost, sessionLost)
}

// checkArrivals checks that the messages arrived in order, those of QoS 2 once.
// repeats: the broker forgot the session, so that QoS 2 can repeat; losses: what
// was in flight ended with the session.
func checkArrivals(t *testing.T, where string, got []string, want []frames.QoS, repeats, losses bool) {
	t.Helper()
	count := make(map[string]int)
	var first []string
	for _, g := range got {
		if count[g]++; count[g] == 1 {
			first = append(first, g)
		}
	}
	if !slices.IsSorted(first) {
		t.Errorf("%s: first arrivals out of order: %v", where, got)
	}
	for i, q := range want {
		n := count[fmt.Sprint(i)]
		if n == 0 && !losses {
			t.Errorf("%s: message %d did not arrive: %v", where, i, got)
		}
		if n > 1 && q == frames.ExactlyOnce && !repeats {
			t.Errorf("%s: QoS 2 message %d arrived %d times: %v", where, i, n, got)
		}
	}
}
