package stream_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// countingDisk is a store that fails every commit. It records the largest number of changes in a
// commit.
type countingDisk struct {
	flow.Store
	mu    sync.Mutex
	asked []int
}

func (s *countingDisk) Commit(c []flow.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, len(c))
	return errFull
}

// A disk can stay full for days. Failed publications must not make the next commit larger and
// larger.
func TestCommitsToAFailingStoreDoNotGrow(t *testing.T) {
	for name, o := range map[string]*stream.Options{"online": kept(10, nil), "offline": {ClientID: "kept", KeepSession: true, Reconnect: never()}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				store := &countingDisk{Store: flow.NewMemoryStore()}
				o.Store = store
				if name == "online" {
					x := &rough{t: t, calm: true, got: make(map[string]int), held: make(map[uint16]bool)}
					o.DialContext = x.dial
				}
				s := open(t, b, o)
				if name == "offline" {
					b.Accept().Drop()
				}
				for n := range 1000 {
					r := make(chan stream.Receipt, 1)
					s.Publishes() <- publishing(n, 1+frames.QoS(n%2), r)
					select {
					case r := <-r:
						wantError(t, r.Err, stream.ErrNotSent, errFull)
					case <-time.After(time.Minute):
						t.Fatal("no Receipt after a minute")
					}
				}
				if most := slices.Max(store.asked); most > 10 {
					t.Errorf("a commit of %d changes, want at most 10", most)
				}
				wantError(t, s.Close(), errFull)
			})
		})
	}
}

// lengths is a store that records the number of changes of each commit.
type lengths struct {
	flow.Store
	changes []int
}

func (s *lengths) Commit(c []flow.Change) error {
	s.changes = append(s.changes, len(c))
	return s.Store.Commit(c)
}

// U32: while a commit hangs, calls that are given up leave nothing behind for the next commit.
func TestCallsGivenUpWhileACommitHangsAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		recorded := &lengths{Store: flow.NewMemoryStore()}
		store := &slowDisk{Store: recorded, release: make(chan error)}
		o := kept(1, nil)
		o.Store = store
		s, c := connected(t, b, o)
		first := goPublish(s, message("out", "first", 1))
		synctest.Wait()
		payload := strings.Repeat("x", 10_000)
		for n := range 3000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			wantError(t, s.Publish(ctx, message("out", payload, 1+frames.QoS(n%2))), stream.ErrNotSent, context.DeadlineExceeded)
			wantError(t, s.Sync(ctx), context.DeadlineExceeded)
			cancel()
		}
		last := goPublish(s, message("out", "last", 1))
		synctest.Wait()
		close(store.release)
		for _, payload := range []string{"first", "last"} {
			p := streamtest.Next[frames.Publish](c)
			if string(p.Payload) != payload {
				t.Fatalf("sent %.100q, want %q", p.Payload, payload)
			}
			c.Complete(p)
		}
		if err := errors.Join(<-first, <-last, s.Close()); err != nil {
			t.Error(err)
		}
		if most := slices.Max(recorded.changes); most > 4 {
			t.Errorf("a commit of %d changes, want at most 4: %v", most, recorded.changes)
		}
	})
}

// With NoReconnect, an error of the store ends the session, and Err returns that error.
func TestAStoreThatFailsEndsASessionThatDoesNotReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := &fullDisk{Store: flow.NewMemoryStore()}
		acks := make(chan stream.Receipt, 1)
		o := kept(10, acks)
		o.Store, o.NoReconnect = store, true
		s, c := connected(t, b, o)
		synctest.Wait() // the record of the session is stored
		store.full.Store(true)
		sendAll(s, message("out", "1", 1))
		wantError(t, s.Sync(t.Context()), errFull)
		c.ExpectClosed()
		<-s.Done()
		if r := wantReceipt(t, acks, nil, stream.ErrNotSent, errFull); r.ID != 0 {
			t.Errorf("Receipt with identifier %d of a publication that was never sent", r.ID)
		}
		wantError(t, s.Err(), errFull)
		wantError(t, s.Sync(t.Context()), stream.ErrClosed, errFull)
		wantError(t, s.Close(), errFull)
	})
}

// The context of Publish ends and a retry is due, and then the commit fails. The publication must
// be discarded and its identifier must be free again.
func TestACommitThatFailsUnderARetryLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := &slowDisk{Store: flow.NewMemoryStore(), release: make(chan error)}
		o := kept(1, nil)
		o.Version, o.Store, o.Retry = frames.V311, store, &flow.Retry{Initial: time.Second}
		s, c := connected(t, b, o)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wantError(t, s.Publish(ctx, message("out", "1", 2)), stream.ErrUnconfirmed, context.DeadlineExceeded)
		other := goPublish(s, message("out", "2", 1))
		elapse(5 * time.Second)
		store.release <- errFull
		c.ExpectClosed()
		c = b.Handshake(true)
		close(store.release)
		p := streamtest.Next[frames.Publish](c)
		if string(p.Payload) != "2" || p.DUP {
			t.Errorf("sent %+v, want publication 2 without DUP", p)
		}
		c.Complete(p)
		if err := outcome(t, other); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Queued != 0 || st.InFlight != 0 {
			t.Errorf("stats %+v, want nothing queued or in flight", st)
		}
	})
}

// flakyDisk is a store whose commits fail at random. Some fail before the changes are applied,
// others after, as can happen when fsync fails.
type flakyDisk struct {
	flow.Store
	mu     sync.Mutex
	random *rand.Rand
	fails  int // how many of 20 commits fail before, and how many after, the changes are applied
}

func (s *flakyDisk) Commit(c []flow.Change) error {
	s.mu.Lock()
	pause, n, fails := s.random.IntN(3), s.random.IntN(20), s.fails
	s.mu.Unlock()
	elapse(time.Duration(pause) * time.Millisecond)
	switch {
	case n < fails:
		return errFull
	case n < 2*fails:
		return errors.Join(errFull, s.Store.Commit(c))
	}
	return s.Store.Commit(c)
}

func (s *flakyDisk) heal(fails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

// The store fails at random times. Each publication still gets one Receipt. If the Receipt has
// ErrNotSent, the publication never arrives. If it has no error, the publication arrives, and at
// QoS 2 only once.
func TestAStoreThatFailsAtRandomTellsTheTruth(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				random := rand.New(rand.NewPCG(seed, 1))
				store := &flakyDisk{Store: flow.NewMemoryStore(), random: rand.New(rand.NewPCG(seed, 2)), fails: 3}
				const total = 300
				acks := make(chan stream.Receipt, total)
				o := kept(1+random.IntN(20), acks)
				o.Store, o.Reconnect = store, every(300*time.Millisecond)
				if seed%3 == 0 && version < frames.V5 {
					o.Retry = &flow.Retry{Initial: time.Second}
				}
				x := &rough{t: t, got: make(map[string]int), held: make(map[uint16]bool), random: rand.New(rand.NewPCG(seed, 3))}
				o.DialContext = x.dial
				s := open(t, b, o)
				for n := range total {
					p := publishing(n, frames.QoS(random.IntN(3)), nil)
					s.Publishes() <- p
					if random.IntN(4) == 0 {
						elapse(time.Duration(random.IntN(200)) * time.Millisecond)
					}
					if n == total/2 {
						store.heal(20)
						elapse(3 * time.Second)
						store.heal(3)
					}
				}
				store.heal(0)
				x.mu.Lock()
				x.calm = true
				x.mu.Unlock()
				ctx := aMinute(t)
				if err := s.Flush(ctx); err != nil {
					t.Fatal(err, s.Stats())
				}
				if err := s.Sync(ctx); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if len(acks) != total {
					t.Fatalf("%d Receipts of %d", len(acks), total)
				}
				seen := make(map[any]bool)
				x.mu.Lock()
				defer x.mu.Unlock()
				for range total {
					r := <-acks
					if seen[r.Tag] {
						t.Errorf("two Receipts for %v", r.Tag)
					}
					seen[r.Tag] = true
					n := x.got[string(r.Payload)]
					switch {
					case r.QoS == 0 && !errors.Is(r.Err, stream.ErrNotSent): // written, perhaps to a connection that was cut
					case r.Err == nil && (n == 0 || r.QoS == 2 && n != 1):
						t.Errorf("%v at QoS %d arrived %d times", r.Tag, r.QoS, n)
					case errors.Is(r.Err, stream.ErrNotSent) && n != 0:
						t.Errorf("%v arrived although its Receipt says: %v", r.Tag, r.Err)
					case r.Err != nil && !errors.Is(r.Err, stream.ErrNotSent):
						t.Errorf("Receipt of %v: %v", r.Tag, r.Err)
					}
				}
				if snap, err := store.Attach("kept"); err != nil || !snap.Empty() {
					t.Errorf("left in the store: %+v, %v", snap, err)
				}
			})
		})
	}
}

// rough is a broker that cuts connections at random. It keeps the session of its client.
type rough struct {
	t *testing.T

	mu     sync.Mutex
	random *rand.Rand
	calm   bool
	got    map[string]int
	held   map[uint16]bool
}

func (x *rough) dial(context.Context, string, string) (net.Conn, error) {
	client, end := streamtest.Pipe(0)
	go x.serve(end)
	return client, nil
}

func (x *rough) serve(end net.Conn) {
	defer end.Close()
	in := frames.NewReader(end, frames.MaxPacket)
	for {
		f, err := frames.ReadFrame(in)
		if err != nil {
			return
		}
		answer, cut := x.take(f)
		if _, err := end.Write(answer); err != nil || cut {
			return
		}
	}
}

// take handles a packet of the client and returns the answer, and whether the connection is cut
// after it.
func (x *rough) take(f frames.Frame) (answer []byte, cut bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var p frames.Packet
	switch f.Type() {
	case frames.TypeConnect:
		p = frames.Connack{SessionPresent: true}
	case frames.TypePublish:
		m, err := frames.ParsePublish(f, version, nil, nil)
		if err != nil {
			x.t.Error(err)
		}
		switch {
		case m.QoS == frames.AtMostOnce:
			x.got[string(m.Payload)]++
			return nil, false
		case m.QoS == frames.AtLeastOnce:
			x.got[string(m.Payload)]++
			p = ack(puback, m.ID)
		default:
			if !x.held[m.ID] {
				x.held[m.ID] = true
				x.got[string(m.Payload)]++
			}
			p = ack(pubrec, m.ID)
		}
	case pubrel:
		a, err := frames.ParseAck(f, version)
		if err != nil {
			x.t.Error(err)
		}
		delete(x.held, a.ID)
		p = ack(pubcomp, a.ID)
	case frames.TypePingreq:
		p = frames.Pingresp{}
	default:
		return nil, true
	}
	cut = !x.calm && f.Type() != frames.TypeConnect && x.random.IntN(20) == 0
	if cut && x.random.IntN(2) == 0 {
		return nil, true
	}
	b, err := p.Append(nil, version)
	if err != nil {
		x.t.Error(err)
	}
	return b, cut
}
