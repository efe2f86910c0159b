package stream_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A consumer records the deliveries and acknowledges them.
type consumer struct {
	got    []string
	ended  chan struct{}
	may    chan struct{}
	settle func() // makes a late consumer acknowledge its deliveries
}

func consume(s *stream.Session, late bool) *consumer {
	may := make(chan struct{})
	c := &consumer{ended: make(chan struct{}), may: may, settle: sync.OnceFunc(func() { close(may) })}
	go func() {
		defer close(c.ended)
		for d := range s.Deliveries() {
			c.got = append(c.got, string(d.Payload))
			if late {
				go func() { <-may; d.Ack() }()
				continue
			}
			d.Ack()
		}
	}()
	return c
}

// play runs the exchange in a first process and then in a second. It reports whether the planned
// failure of the store happened.
func (k crash) play(t *testing.T, m *medium) (hit bool) {
	b := streamtest.New(t)
	x := newTwin(t, k.window, outbounds(k.in)...)
	first := &process{Store: m.boot(), b: b, die: k.die, stumble: k.stumble, applied: k.applied, kept: new(journal)}
	handed, unsettled := k.first(t, x, first)
	for range len(b.Dials()) - x.connections {
		b.Accept() // a connection that the client dialed as its process died
	}
	snap := m.holds(t, "kept")
	if !first.killed.Load() && !snap.Empty() {
		t.Errorf("a process that finished left %+v in the store", snap)
	}
	mayComeAgain := make(map[string]bool)
	for _, o := range x.out {
		stored := o.released || o.done || slices.Contains(snap.Received, o.ID)
		if k.lost || !stored || o.QoS == frames.AtLeastOnce && !o.done {
			mayComeAgain[string(o.Payload)] = true
		}
	}

	second := &process{Store: m.boot(), b: b, kept: first.kept}
	handedNext, fresh := k.second(t, x, second)
	k.checkOut(t, x, first)
	k.checkIn(t, handed, handedNext, mayComeAgain, fresh)
	for _, payload := range handed {
		if unsettled && !k.lost && !slices.Contains(handedNext, payload) {
			t.Errorf("%s was not acknowledged and not delivered again", payload)
		}
	}
	if snap := m.holds(t, "kept"); !snap.Empty() {
		t.Errorf("left in the store: %+v", snap)
	}
	return (k.die == 0 || first.killed.Load()) && (k.stumble == 0 || first.doubt != nil)
}

// open starts the session of a process.
func (k crash) open(t *testing.T, p *process, window int, acks chan stream.Receipt) *stream.Session {
	return open(t, p.b, &stream.Options{
		Version: k.version, ClientID: "kept", KeepSession: true, Reconnect: every(time.Second),
		Window: window, Store: p, DialContext: p.dial, Ack: acks,
	})
}

// first runs the first process to its end. It returns the messages that the consumer received, and
// reports whether the consumer acknowledged none of them.
func (k crash) first(t *testing.T, x *twin, p *process) (handed []string, unsettled bool) {
	acks := make(chan stream.Receipt, 2*len(k.out)+1)
	s := k.open(t, p, k.window, acks)
	c := consume(s, k.late)
	x.settle, x.stored, x.exact = c.settle, p.kept.holds, k.cut == 0
	k.live(t, p.b, x, s, p, acks)
	select {
	case <-c.may:
	default:
		unsettled = k.late
		c.settle()
	}
	s.Close()
	<-c.ended
	x.checkResults(k, acks)
	return c.got, unsettled
}

// second runs another process on the same store. This process completes the exchange. Then it
// publishes two more messages, and receives new messages that have the old identifiers.
func (k crash) second(t *testing.T, x *twin, p *process) (handed []string, fresh int) {
	old := x.out
	if k.lost {
		x.lose()
	}
	s := k.open(t, p, k.then, nil)
	sendAll(s, message("out", "extra 1", 2), message("out", "extra 2", 1))
	c := consume(s, false)
	x.settle, x.window, x.exact = c.settle, k.then, false
	w := x.handshake(p.b.Accept(), !k.lost && k.version >= frames.V311, k.version)
	play := func() {
		why := x.run(w, k.version, 0, func() bool {
			st := s.Stats()
			return st.Queued == 0 && st.InFlight == 0 && x.settled()
		})
		if why != all {
			t.Fatalf("the second process stopped: %v", why)
		}
	}
	play()
	x.out = nil
	for _, o := range old {
		if o.QoS == frames.ExactlyOnce {
			x.out = append(x.out, &outbound{Publish: publish("in", "new "+string(o.Payload), 2, o.ID, false)})
		}
	}
	play()
	s.Close()
	<-c.ended
	return c.got, len(x.out)
}

// live runs the first process, over as many connections as it needs.
func (k crash) live(t *testing.T, b *streamtest.Broker, x *twin, s *stream.Session, p *process, acks chan stream.Receipt) {
	over := func() bool { return len(acks) == len(k.out) && x.settled() }
	limit := k.cut
	for i := 0; ; i++ {
		synctest.Wait()
		if p.killed.Load() {
			return
		}
		if i > 0 {
			elapse(time.Second) // the interval between connections
			if synctest.Wait(); p.killed.Load() {
				return
			}
		}
		c := b.Accept()
		w := x.handshake(c, i > 0 && k.version >= frames.V311, k.version)
		if i == 0 {
			synctest.Wait()
			for i, q := range k.out {
				s.Publishes() <- stream.Publishing{Message: message("out", fmt.Sprint(i), q), Tag: i}
			}
		}
		switch x.run(w, k.version, limit, over) {
		case all:
			s.Close()
			x.rest(w, k.version)
			return
		case cut:
			limit = 0
			c.Abort()
		}
	}
}

// rest reads and handles the packets that the client had written before the connection closed.
func (x *twin) rest(w *wire, v frames.Version) {
	for p, err := w.next(v); err == nil; p, err = w.next(v) {
		if _, ok := p.(frames.Disconnect); !ok {
			x.take(p)
		}
	}
}

// results has the errors of the Receipts of the first process, by payload.
type results map[string]error

// checkResults requires one Receipt for each publication.
func (x *twin) checkResults(k crash, acks chan stream.Receipt) {
	close(acks)
	x.results = make(results)
	for r := range acks {
		payload := string(r.Payload)
		if _, ok := x.results[payload]; ok || fmt.Sprint(r.Tag) != payload {
			x.t.Errorf("a second Receipt, or a Receipt with another tag: %+v", r)
		}
		x.results[payload] = r.Err
	}
	if len(x.results) != len(k.out) {
		x.t.Errorf("%d Receipts for %d publications", len(x.results), len(k.out))
	}
}

// checkOut requires that each accepted publication has arrived, unless its Receipt says that it
// failed. First arrivals must be in order, and a QoS 2 publication must arrive only once.
func (k crash) checkOut(t *testing.T, x *twin, first *process) {
	t.Helper()
	count := make(map[string]int)
	var order []string
	for _, payload := range x.got {
		if count[payload]++; count[payload] == 1 {
			order = append(order, payload)
		}
	}
	if !slices.IsSorted(order) {
		t.Errorf("first arrivals out of order: %v", x.got)
	}
	for payload, err := range x.results {
		i := payload[0] - '0'
		n := count[payload]
		switch {
		case errors.Is(err, stream.ErrNotSent):
			if k.die == 0 && k.stumble == 0 {
				t.Errorf("publication %s: %v", payload, err)
			}
			if n > 0 && !first.doubt[payload] {
				t.Errorf("%s arrived although its Receipt says: %v", payload, err)
			}
		case n == 0 && k.out[i] == frames.AtMostOnce && (err != nil || k.cut > 0):
		case n == 0:
			t.Errorf("%s did not arrive (%v): %v", payload, err, x.got)
		case n > 1 && k.out[i] != frames.AtLeastOnce && !k.lost:
			t.Errorf("%s arrived %d times: %v", payload, n, x.got)
		case err != nil && !errors.Is(err, stream.ErrUnconfirmed):
			t.Errorf("publication %s: %v", payload, err)
		}
	}
	if count["extra 1"] != 1 || count["extra 2"] != 1 {
		t.Errorf("publications of the second process: %v, want extra 1 and extra 2 once", x.got)
	}
}

// checkIn requires that every message was delivered. A QoS 2 message must be delivered only once,
// unless the first process could not store its ack.
func (k crash) checkIn(t *testing.T, first, second []string, mayComeAgain map[string]bool, fresh int) {
	t.Helper()
	count := make(map[string]int)
	for _, payload := range first {
		if count[payload]++; count[payload] > 1 && k.in[payload[0]-'0'] == frames.ExactlyOnce {
			t.Errorf("%s was delivered twice in one process: %v", payload, first)
		}
	}
	again := 0
	for _, payload := range second {
		if _, isNew := strings.CutPrefix(payload, "new "); isNew {
			again++
			continue
		}
		if count[payload]++; count[payload] > 1 && !mayComeAgain[payload] {
			t.Errorf("%s was delivered again: %v, then %v", payload, first, second)
		}
	}
	if again != fresh {
		t.Errorf("of %d new messages %d were delivered: %v", fresh, again, second)
	}
	for i := range k.in {
		if count[fmt.Sprint(i)] == 0 && !k.lost {
			t.Errorf("message %d was not delivered: %v, then %v", i, first, second)
		}
	}
}
