package stream_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A plan describes an exchange: the publications in both directions, and the options of the
// session.
type plan struct {
	version frames.Version
	keep    bool
	present bool // the session present flag after the cut
	window  int
	out     []frames.QoS // by the client
	in      []frames.QoS // by the broker
	late    bool         // deliveries are acknowledged only after all other work, or after the cut
	abort   bool         // cut by a reset, which loses the data in transit
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
		for _, v := range versions() {
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
			for limit := 1; limit <= events; limit++ {
				synctest.Test(t, func(t *testing.T) { p.play(t, limit) })
				if t.Failed() {
					t.Fatalf("cut after packet %d of %d", limit, events)
				}
			}
		})
	}
}

// play runs the exchange and returns the number of packets. The connection is cut after packet
// number limit; 0 means no cut.
func (p plan) play(t *testing.T, limit int) int {
	b := streamtest.New(t)
	receipts := make(chan stream.Receipt, 2*len(p.out)+1)
	s := open(t, b, &stream.Options{
		Version: p.version, ClientID: "twin", KeepSession: p.keep, Window: p.window, Ack: receipts,
	})
	x := newTwin(t, p.window, outbounds(p.in)...)
	c := b.Accept()
	w := x.handshake(c, false, p.version)
	<-s.Online()
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
	if x.run(w, p.version, limit, over) == cut {
		if p.abort {
			c.Abort()
		} else {
			c.Drop()
		}
		if !p.keep || !p.present {
			x.lose()
		}
		w = x.handshake(b.Accept(), p.keep && p.present && p.version >= frames.V311, p.version)
		x.settle()
		x.run(w, p.version, 0, over)
	}
	s.Close()
	<-consumer
	p.check(t, x, limit, receipts, delivered)
	return x.events
}

func (p plan) check(t *testing.T, x *twin, limit int, receipts chan stream.Receipt, delivered []string) {
	close(receipts)
	seen := make(map[any]int)
	for r := range receipts {
		seen[r.Tag]++
		want := stream.ErrUnconfirmed // of a clean session
		if p.keep && !p.present {
			want = stream.ErrSessionLost // past PUBREC
		}
		if r.Err != nil && (p.keep && p.present || !errors.Is(r.Err, want)) {
			t.Errorf("receipt of %v: %v", r.Tag, r.Err)
		}
	}
	for i := range p.out {
		if seen[i] != 1 {
			t.Errorf("publication %d got %d receipts", i, seen[i])
		}
	}
	sessionLost := limit > 0 && !(p.keep && p.present)
	checkArrivals(t, "broker", x.got, p.out, sessionLost, sessionLost && !p.keep)
	checkArrivals(t, "consumer", delivered, p.in, sessionLost, sessionLost)
}
