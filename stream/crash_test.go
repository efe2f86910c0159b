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

// A crash is an exchange, and what goes wrong with it: the process ends, a
// commit reports an error, the connection is cut, each at a place of its own.
type crash struct {
	version frames.Version
	window  int // of the first process; that of the second is 1 or 3 too
	then    int
	out     []frames.QoS // by the client
	in      []frames.QoS // by the broker
	late    bool         // deliveries are settled when nothing else is left to do
	lost    bool         // the broker loses its half of the session with the process

	die     int  // the change that the process ends by; 0: none
	stumble int  // the change whose commit reports an error
	applied bool // although the store has it
	cut     int  // the packet after which the connection is cut
}

func (k crash) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v window=%d,%d out=%v in=%v late=%v", k.version, k.window, k.then, k.out, k.in, k.late)
	if k.lost {
		b.WriteString(" lost")
	}
	if k.applied {
		b.WriteString(" applied")
	}
	return b.String()
}

func (k crash) where() string {
	return fmt.Sprintf("killed by change %d, error at change %d (applied: %v), cut after packet %d", k.die, k.stumble, k.applied, k.cut)
}

// crashes are the exchanges that things go wrong with.
func crashes() []crash {
	var list []crash
	for _, k := range []crash{
		{window: 1, then: 1, out: []frames.QoS{2, 0, 1, 2, 0, 1}},
		{window: 3, then: 1, out: []frames.QoS{2, 1, 2, 1, 0, 2, 2}},
		{window: 1, then: 3, in: []frames.QoS{2, 1, 2}},
		{window: 1, then: 1, in: []frames.QoS{2, 2, 1}, late: true},
		{window: 3, then: 3, out: []frames.QoS{1, 2, 2, 1}, in: []frames.QoS{2, 1, 2}},
		{window: 3, then: 1, out: []frames.QoS{2, 2}, in: []frames.QoS{1, 2, 2}, late: true},
	} {
		for _, k.version = range []frames.Version{frames.V311, frames.V31} {
			list = append(list, k)
		}
	}
	return list
}

// onStores runs a test for every kind of store. What is on a disk does not
// depend on the version, and one is enough.
func onStores(t *testing.T, k crash, test func(t *testing.T, make func(t *testing.T) *medium)) {
	t.Helper()
	for _, store := range stores {
		if store.name == "disk" && k.version == frames.V31 {
			continue
		}
		t.Run(store.name+" "+k.String(), func(t *testing.T) { test(t, store.make) })
	}
}

// everyChange plays k with n counting the changes of the store until set has
// nothing more to go wrong.
func (k crash) everyChange(t *testing.T, make func(t *testing.T) *medium, set func(k *crash, n int)) {
	t.Helper()
	for n, more := 1, true; more; n++ {
		set(&k, n)
		synctest.Test(t, func(t *testing.T) { more = k.play(t, make(t)) })
		if t.Failed() {
			t.Fatal(k.where())
		}
	}
}

// A process that is killed at any change of its store leaves a session with
// which the next one loses and repeats nothing. K1 to K6, K10, K11
func TestAProcessKilledAtAnyChangeLosesAndRepeatsNothing(t *testing.T) {
	for _, k := range crashes() {
		onStores(t, k, func(t *testing.T, make func(t *testing.T) *medium) {
			k.everyChange(t, make, func(k *crash, n int) { k.die = n })
		})
	}
}

// K7, with the process gone as well.
func TestAProcessKilledWhileTheBrokerLostTheSessionLosesNothing(t *testing.T) {
	for _, k := range crashes() {
		k.lost = true
		t.Run(k.String(), func(t *testing.T) {
			k.everyChange(t, memoryMedium, func(k *crash, n int) { k.die = n })
		})
	}
}

// The connection is cut first, and what comes after it is cut short too.
func TestAProcessKilledAtAnyChangeAfterACutLosesAndRepeatsNothing(t *testing.T) {
	for _, k := range crashes() {
		t.Run(k.String(), func(t *testing.T) {
			step := 1
			if k.version == frames.V31 {
				step = 3
			}
			for k.cut = 1; k.cut <= 24; k.cut += step { // of 32 packets at most
				k.everyChange(t, memoryMedium, func(k *crash, n int) { k.die = n })
			}
		})
	}
}

// A commit that fails costs the publications that were accepted in it, which
// are told so, and nothing else; whether the store has it nevertheless, as
// after an fsync that failed, or not.
func TestACommitThatFailsCostsOnlyWhatWasAcceptedInIt(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, k := range crashes() {
			k.applied = applied
			onStores(t, k, func(t *testing.T, make func(t *testing.T) *medium) {
				k.everyChange(t, make, func(k *crash, n int) { k.stumble = n })
			})
		}
	}
}

// The connection that the failure costs is not the first one then.
func TestACommitThatFailsAfterACutCostsOnlyWhatWasAcceptedInIt(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, k := range crashes() {
			k.applied = applied
			t.Run(k.String(), func(t *testing.T) {
				for k.cut = 2; k.cut <= 14; k.cut += 3 {
					k.everyChange(t, memoryMedium, func(k *crash, n int) { k.stumble = n })
				}
			})
		}
	}
}

// And the process is killed soon after that.
func TestAProcessKilledAfterACommitThatFailedLosesAndRepeatsNothing(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, k := range crashes() {
			k.applied = applied
			t.Run(k.String(), func(t *testing.T) {
				for distance := 1; distance <= 9; distance += 2 {
					k.everyChange(t, memoryMedium, func(k *crash, n int) { k.stumble, k.die = n, n+distance })
				}
			})
		}
	}
}

// A consumer notes what it is handed, and settles it.
type consumer struct {
	got    []string
	ended  chan struct{}
	may    chan struct{}
	settle func() // those that settle late may
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

// play runs the exchange, in a second process too if the first is killed, and
// reports whether what is to go wrong with the store has gone wrong.
func (k crash) play(t *testing.T, m *medium) (hit bool) {
	b := streamtest.New(t)
	x := newTwin(t, k.window, outbounds(k.in)...)
	o := stream.Options{Version: k.version, ClientID: "kept", KeepSession: true, Reconnect: every(time.Second)}

	first := &process{Store: m.boot(), b: b, die: k.die, stumble: k.stumble, applied: k.applied, kept: new(journal)}
	acks := make(chan stream.Receipt, 2*len(k.out)+1)
	o.Window, o.Store, o.DialContext, o.Ack = k.window, first, first.dial, acks
	s := open(t, b, &o)
	handed := consume(s, k.late)
	x.settle = handed.settle
	x.stored = first.kept.holds
	x.exact = k.cut == 0
	k.live(t, b, x, s, first, acks)
	mustComeAgain := k.late // what nobody has settled
	select {
	case <-handed.may:
		mustComeAgain = false
	default:
		handed.settle()
	}
	s.Close()
	<-handed.ended
	for range len(b.Dials()) - x.connections {
		b.Accept() // dialed at the moment of the kill
	}
	x.checkResults(k, acks)
	hit = (k.die == 0 || first.killed.Load()) && (k.stumble == 0 || first.doubt != nil)

	// The second process goes on, and does something of its own.
	snap := m.holds(t, "kept")
	if !first.killed.Load() && !snap.Empty() {
		t.Errorf("left on the store by a process that had finished: %+v", snap)
	}
	atCrash := slices.Clone(x.out)
	mayComeAgain := make(map[string]bool)
	for _, o := range atCrash {
		if o.QoS == frames.AtLeastOnce && !o.done || !o.released && !o.done && !slices.Contains(snap.Received, o.ID) || k.lost {
			mayComeAgain[string(o.Payload)] = true
		}
	}
	if k.lost {
		x.lose()
	}
	second := &process{Store: m.boot(), b: b, kept: first.kept}
	o.Window, o.Store, o.DialContext, o.Ack = k.then, second, second.dial, nil
	x.window, x.exact = k.then, false
	s = open(t, b, &o)
	sendAll(s, message("out", "extra 1", 2), message("out", "extra 2", 1))
	secondHanded := consume(s, false)
	x.settle = secondHanded.settle
	w := x.handshake(b.Accept(), !k.lost && k.version == frames.V311, k.version)
	over := func() bool {
		st := s.Stats()
		return st.Queued == 0 && st.InFlight == 0 && x.settled()
	}
	if why := x.run(w, k.version, 0, over); why != all {
		t.Fatalf("the second process stopped: %v", why)
	}
	x.out = nil // the identifiers are free, and the messages new
	for _, o := range atCrash {
		if o.QoS == frames.ExactlyOnce {
			x.out = append(x.out, &outbound{Publish: publish("in", "new "+string(o.Payload), 2, o.ID, false)})
		}
	}
	fresh := len(x.out)
	x.goOn(w, k.version, over)
	s.Close()
	<-secondHanded.ended

	k.checkOut(t, x, first)
	k.checkIn(t, handed.got, secondHanded.got, mayComeAgain, fresh)
	if mustComeAgain && !k.lost {
		for _, payload := range handed.got {
			if !slices.Contains(secondHanded.got, payload) {
				t.Errorf("%s was not settled and not handed over again", payload)
			}
		}
	}
	if snap := m.holds(t, "kept"); !snap.Empty() {
		t.Errorf("left on the store: %+v", snap)
	}
	return hit
}

// live is the life of the first process, on one connection after another.
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
		w := x.handshake(c, i > 0 && k.version == frames.V311, k.version)
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

// rest takes what a client that has closed had written.
func (x *twin) rest(w *wire, v frames.Version) {
	for p, err := w.next(v); err == nil; p, err = w.next(v) {
		if _, ok := p.(frames.Disconnect); !ok {
			x.take(p)
		}
	}
}

// goOn plays the connection on with new messages.
func (x *twin) goOn(w *wire, v frames.Version, over func() bool) {
	if why := x.run(w, v, 0, over); why != all {
		x.t.Fatalf("it stopped: %v", why)
	}
}

// results are what the first process said of its publications.
type results map[string]error

// checkResults asks for one Receipt for each publication.
func (x *twin) checkResults(k crash, acks chan stream.Receipt) {
	close(acks)
	x.results = make(results)
	for r := range acks {
		payload := string(r.Payload)
		if _, ok := x.results[payload]; ok || fmt.Sprint(r.Tag) != payload {
			x.t.Errorf("a second Receipt, or one of another: %+v", r)
		}
		x.results[payload] = r.Err
	}
	if len(x.results) != len(k.out) {
		x.t.Errorf("%d Receipts for %d publications", len(x.results), len(k.out))
	}
}

// checkOut asks that what was accepted and not refused has arrived, in order,
// that of QoS 2 once.
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
				t.Errorf("%s: %v", payload, err)
			}
			if n > 0 && !first.doubt[payload] {
				t.Errorf("%s arrived, of which was said: %v", payload, err)
			}
		case n == 0 && k.out[i] == frames.AtMostOnce && (err != nil || k.cut > 0):
		case n == 0:
			t.Errorf("%s did not arrive (%v): %v", payload, err, x.got)
		case n > 1 && k.out[i] != frames.AtLeastOnce && !k.lost:
			t.Errorf("%s arrived %d times: %v", payload, n, x.got)
		case err != nil && !errors.Is(err, stream.ErrUnconfirmed):
			t.Errorf("%s: %v", payload, err)
		}
	}
	if count["extra 1"] != 1 || count["extra 2"] != 1 {
		t.Errorf("of the second process: %v", x.got)
	}
}

// checkIn asks that every message was handed over, and that of QoS 2 once, but
// for those that the first process had not settled durably.
func (k crash) checkIn(t *testing.T, first, second []string, mayComeAgain map[string]bool, fresh int) {
	t.Helper()
	count := make(map[string]int)
	for _, payload := range first {
		if count[payload]++; count[payload] > 1 && k.in[payload[0]-'0'] == frames.ExactlyOnce {
			t.Errorf("%s was handed over twice by one process: %v", payload, first)
		}
	}
	again := 0
	for _, payload := range second {
		if _, isNew := strings.CutPrefix(payload, "new "); isNew {
			again++
			continue
		}
		if count[payload]++; count[payload] > 1 && !mayComeAgain[payload] {
			t.Errorf("%s was handed over again: %v, then %v", payload, first, second)
		}
	}
	if again != fresh {
		t.Errorf("of %d new messages %d were handed over: %v", fresh, again, second)
	}
	for i := range k.in {
		if count[fmt.Sprint(i)] == 0 && !k.lost {
			t.Errorf("message %d was not handed over: %v, then %v", i, first, second)
		}
	}
}
