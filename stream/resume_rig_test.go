package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/boltstore"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A medium keeps the state of a session from one process to the next.
type medium struct {
	// boot gives what the medium holds to a new process, when the last one is gone.
	boot func() flow.Store
}

// stores are the kinds of store that a kept session is tested on.
var stores = []struct {
	name string
	make func(t *testing.T) *medium
}{
	{"memory", memoryMedium},
	{"disk", diskMedium},
}

func memoryMedium(*testing.T) *medium {
	store := flow.NewMemoryStore()
	return &medium{func() flow.Store {
		_ = store.Detach() // which a process that was killed has not called
		return store
	}}
}

func diskMedium(t *testing.T) *medium {
	path := filepath.Join(t.TempDir(), "session")
	last := new(boltstore.Store)
	boot := func() flow.Store {
		if err := last.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if last, err = boltstore.Open(path, &boltstore.Options{NoSync: true}); err != nil {
			t.Fatal(err)
		}
		return last
	}
	first, err := boltstore.Open(path, &boltstore.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	last = first
	t.Cleanup(func() { _ = last.Close() })
	return &medium{boot}
}

// holds is what the medium has for the client identifier, when no process uses it.
func (m *medium) holds(t *testing.T, clientID string) flow.Snapshot {
	t.Helper()
	store := m.boot()
	snap, err := store.Attach(clientID)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Detach(); err != nil {
		t.Fatal(err)
	}
	return snap
}

// prepare puts changes onto the medium, as a session of clientID leaves them.
func (m *medium) prepare(t *testing.T, clientID string, changes ...flow.Change) {
	t.Helper()
	store := m.boot()
	_, err := store.Attach(clientID)
	if err := errors.Join(err, store.Commit(changes), store.Detach()); err != nil {
		t.Fatal(err)
	}
}

var errKilled = errors.New("the process has been killed")

// A process has a store and a network until it is killed: from then on nothing
// that it does has an effect.
type process struct {
	flow.Store
	b      *streamtest.Broker
	killed atomic.Bool
	full   atomic.Bool // the store takes nothing for now

	// Under a plan, which the process ends or stumbles by. Of the writer.
	die     int  // with this change, counted from 1; 0: never
	stumble int  // the commit with this change reports an error
	applied bool // although the store has taken it
	changes int
	doubt   map[string]bool // accepted by the commit that stumbled, until a later one succeeds

	kept *journal // what has been committed; nil: nobody asks
}

func (p *process) Commit(changes []flow.Change) error {
	first := p.changes + 1
	has := func(n int) bool { return n >= first && n <= p.changes }
	p.changes += len(changes)
	switch {
	case has(p.die):
		p.killed.Store(true)
		return errKilled
	case p.killed.Load():
		return errKilled
	case p.full.Load():
		return errFull
	case has(p.stumble) && p.doubt == nil:
		p.doubt = make(map[string]bool)
		if !p.applied {
			return errFull
		}
		for _, c := range changes {
			if c.Kind == flow.Accepted {
				p.doubt[string(c.Message.Payload)] = true
			}
		}
		p.kept.note(changes)
		return errors.Join(errFull, p.Store.Commit(changes))
	}
	err := p.Store.Commit(changes)
	if err == nil {
		clear(p.doubt)
		p.kept.note(changes)
	}
	return err
}

// A journal is what has ever been on a medium: enough to tell whether a packet
// may be on the wire.
type journal struct {
	mu       sync.Mutex
	payloads map[uint64]string // by place
	has      map[string]bool
}

func (j *journal) holds(what string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.has[what]
}

func (j *journal) note(changes []flow.Change) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.has == nil {
		j.payloads, j.has = make(map[uint64]string), make(map[string]bool)
	}
	for _, c := range changes {
		switch c.Kind {
		case flow.Accepted:
			j.payloads[c.Seq] = string(c.Message.Payload)
		case flow.Assigned:
			j.has[fmt.Sprintf("%v %d %s", frames.TypePublish, c.ID, j.payloads[c.Seq])] = true
		case flow.Released:
			j.has[fmt.Sprintf("%v %s", pubrel, j.payloads[c.Seq])] = true
		case flow.Received:
			j.has[fmt.Sprintf("%v %d", pubrec, c.ID)] = true
		case flow.Forgotten:
			j.has[fmt.Sprintf("%v %d", pubcomp, c.ID)] = true
		}
	}
}

func (p *process) Detach() error {
	if p.killed.Load() {
		return nil
	}
	return p.Store.Detach()
}

func (p *process) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if p.killed.Load() {
		return nil, errKilled
	}
	return p.b.Dial(ctx, network, addr)
}

// A life is that of one session on one medium, through all that befalls it.
type life struct {
	t      *testing.T
	b      *streamtest.Broker
	medium *medium
	way    way
	o      stream.Options

	p    *process
	s    *stream.Session
	c    *streamtest.Conn
	acks chan stream.Receipt // Options.Ack of the process
}

// A way is how a session is interrupted.
type way string

const (
	reconnect   way = "reconnect"        // its connection is cut
	restart     way = "restart"          // Close, and a new process
	kill        way = "kill -9"          // the process is gone, and a new one comes
	offlineKill way = "offline, kill -9" // its connection is cut, and then it is killed
)

// throughout runs a script for every kind of store and every way to interrupt a
// session, in the middle of a life that has begun.
func throughout(t *testing.T, o stream.Options, script func(t *testing.T, l *life)) {
	t.Helper()
	for _, store := range stores {
		for _, w := range []way{reconnect, restart, kill, offlineKill} {
			t.Run(fmt.Sprintf("%s/%s", store.name, w), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					l := &life{t: t, b: b, medium: store.make(t), way: w, o: o}
					l.boot()
					l.up(false)
					script(t, l)
				})
			})
		}
	}
}

// onEveryStore runs a script for every kind of store.
func onEveryStore(t *testing.T, script func(t *testing.T, b *streamtest.Broker, m *medium)) {
	t.Helper()
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) { script(t, b, store.make(t)) })
		})
	}
}

// bothAcknowledged runs a test for QoS 1 and for QoS 2.
func bothAcknowledged(t *testing.T, test func(t *testing.T, q frames.QoS)) {
	t.Helper()
	for _, q := range []frames.QoS{frames.AtLeastOnce, frames.ExactlyOnce} {
		t.Run(fmt.Sprintf("QoS %d", q), func(t *testing.T) { test(t, q) })
	}
}

// boot opens the session in a new process.
func (l *life) boot() {
	l.t.Helper()
	l.p = &process{Store: l.medium.boot(), b: l.b}
	l.acks = make(chan stream.Receipt, 100)
	o := l.o
	o.ClientID, o.KeepSession = "kept", true
	o.Store, o.DialContext, o.Ack = l.p, l.p.dial, l.acks
	l.s = open(l.t, l.b, &o)
}

// up has the session connect.
func (l *life) up(present bool) {
	l.t.Helper()
	l.c = l.b.Handshake(present)
	up(l.t, l.s)
	synctest.Wait()
}

// kill ends the process; what its goroutines still do is without effect.
func (l *life) kill() {
	l.p.killed.Store(true)
	l.c.Abort()
	l.s.Close()
}

// down interrupts the session.
func (l *life) down() {
	l.t.Helper()
	synctest.Wait()
	switch l.way {
	case reconnect:
		l.c.Abort()
		synctest.Wait()
		return
	case restart:
		if err := l.s.Close(); err != nil {
			l.t.Fatal(err)
		}
	case offlineKill:
		l.c.Abort()
		synctest.Wait()
		l.kill()
	case kill:
		l.kill()
	}
	l.boot()
}

// again interrupts the session and has it connect again.
func (l *life) again(present bool) {
	l.t.Helper()
	l.down()
	l.up(present)
}

// restarted reports whether the session has another process than before.
func (l *life) restarted() bool { return l.way != reconnect }

// wantIdle asks that the client sends nothing more, and that no publication has
// ended.
func (l *life) wantIdle() {
	l.t.Helper()
	synctest.Wait()
	l.c.ExpectNone()
	if n := len(l.acks); n > 0 {
		l.t.Fatalf("%d Receipts before the broker's answer: %+v", n, <-l.acks)
	}
}

// wantGone asks that nothing is left of the session on its medium. It ends the
// process.
func (l *life) wantGone() {
	l.t.Helper()
	synctest.Wait()
	l.kill()
	if snap := l.medium.holds(l.t, "kept"); !snap.Empty() {
		l.t.Errorf("left on the store: %+v", snap)
	}
}
