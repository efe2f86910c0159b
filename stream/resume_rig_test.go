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
	// The function boot opens the store for a new process. The process before must have ended.
	boot func() flow.Store
}

// stores lists the kinds of store that a kept session is tested on.
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
		_ = store.Detach() // a killed process has not detached the store
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

// holds returns the stored session of clientID. Call it only while no process uses the medium.
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

// prepare stores changes, as a session of clientID would.
func (m *medium) prepare(t *testing.T, clientID string, changes ...flow.Change) {
	t.Helper()
	store := m.boot()
	_, err := store.Attach(clientID)
	if err := errors.Join(err, store.Commit(changes), store.Detach()); err != nil {
		t.Fatal(err)
	}
}

var errKilled = errors.New("the process has been killed")

// A process has a store and a network. After it is killed, its code still runs but reaches neither
// of them.
type process struct {
	flow.Store
	b      *streamtest.Broker
	killed atomic.Bool
	full   atomic.Bool // makes every commit fail

	// The planned end or failure of the process. Owned by the goroutine that commits.
	die     int  // the process dies at this change, counted from 1; 0: never
	stumble int  // the commit with this change reports an error
	applied bool // the store applies the commit that reports an error
	changes int
	doubt   map[string]bool // publications accepted by the failed commit, until a later commit succeeds

	kept *journal // records all committed changes; nil: no record
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

// A journal records all changes ever stored on a medium. So a test can check that a packet was sent
// only after its changes were stored.
type journal struct {
	mu       sync.Mutex
	payloads map[uint64]string // by sequence number
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

// A life is one session on one medium from beginning to end, through all its interruptions.
type life struct {
	t      *testing.T
	b      *streamtest.Broker
	medium *medium
	way    way
	o      stream.Options

	p    *process
	s    *stream.Session
	c    *streamtest.Conn
	acks chan stream.Receipt // Options.Ack of the current process
}

// A way is how a session is interrupted.
type way string

const (
	reconnect   way = "reconnect"        // the connection is cut
	restart     way = "restart"          // Close is called, and a new process starts
	kill        way = "kill -9"          // the process dies, and a new one starts
	offlineKill way = "offline, kill -9" // the connection is cut, then the process dies and a new process starts
)

// throughout runs a script for every kind of store and every way to interrupt a session. The script
// begins with a connected session.
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

// bothAcknowledged runs a test for QoS 1 and for QoS 2, the levels with acks.
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

// The method up accepts the next connection and answers its CONNECT.
func (l *life) up(present bool) {
	l.t.Helper()
	l.c = l.b.Handshake(present)
	up(l.t, l.s)
	synctest.Wait()
}

// kill ends the process. Goroutines of the process that still run have no effect.
func (l *life) kill() {
	l.p.killed.Store(true)
	l.c.Abort()
	l.s.Close()
}

// The method down interrupts the session.
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

// The method again interrupts the session and reconnects it.
func (l *life) again(present bool) {
	l.t.Helper()
	l.down()
	l.up(present)
}

// restarted reports whether an interruption starts a new process.
func (l *life) restarted() bool { return l.way != reconnect }

// wantIdle fails if the client has sent another packet or a publication has ended.
func (l *life) wantIdle() {
	l.t.Helper()
	synctest.Wait()
	l.c.ExpectNone()
	if n := len(l.acks); n > 0 {
		l.t.Fatalf("%d Receipts before the broker's answer: %+v", n, <-l.acks)
	}
}

// wantGone fails if the medium still holds any state of the session. It ends the process.
func (l *life) wantGone() {
	l.t.Helper()
	synctest.Wait()
	l.kill()
	if snap := l.medium.holds(l.t, "kept"); !snap.Empty() {
		l.t.Errorf("left on the store: %+v", snap)
	}
}
