package stream

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// An outboxModel takes random steps with an outbox, in the order in which the loop may take them.
// Packets are numbered by type, in the order in which they were made. Received and Forgotten
// changes are numbered too.
type outboxModel struct {
	*outbox
	receiver *flow.Receiver
	now      time.Duration
	online   bool
	failed   bool // the loop has aborted the connection

	arrived uint16       // the identifier of the last Received change
	freed   uint16       // of the last Forgotten change
	added   packetCounts // packets that were made
	skipped packetCounts // packets up to these were dropped with their connection

	store, line outboxStep
	accepts     int // bytes that the next TryWrite accepts

	mu     sync.Mutex
	made   []flow.Change         // all changes
	behind map[frames.Type][]int // for each packet by number, how many changes must be stored before it
	bytes  []byte                // that this connection took
	broken bool                  // a write to this connection failed
	stored int                   // changes that the Store applied
	seen   packetCounts          // packets that the connection took whole
	wrong  string                // a broken promise that the Store or the connection saw

	syncs []modelSync
}

// packetCounts has a number for each type of packet.
type packetCounts [16]uint16

// A modelSync is a call of sync that has no answer yet.
type modelSync struct {
	made  int // changes before it
	reply chan error
}

// An outboxStep is a call of the Store or the connection that waits for the model. At most one
// goroutine calls each.
type outboxStep struct {
	mu     sync.Mutex
	waits  bool
	result chan bool // whether the call fails
}

func (s *outboxStep) set(waits bool) { s.mu.Lock(); s.waits = waits; s.mu.Unlock() }

// fails waits for the model and returns whether the call fails.
func (s *outboxStep) fails() bool {
	s.set(true)
	defer s.set(false)
	return <-s.result
}

// allow lets the call that waits go on, and reports false if there is none.
func (s *outboxStep) allow(fail bool) bool {
	synctest.Wait()
	s.mu.Lock()
	waits := s.waits
	s.mu.Unlock()
	if waits {
		s.result <- fail
		synctest.Wait()
	}
	return waits
}

func (m *outboxModel) Attach(string) (flow.Snapshot, error) { return flow.Snapshot{}, nil }
func (m *outboxModel) Detach() error                        { return nil }

// Commit applies changes that continue those applied before.
func (m *outboxModel) Commit(changes []flow.Change) error {
	if m.store.fails() {
		return errDisk
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		if want := m.made[m.stored]; c.ID != want.ID || c.Kind != want.Kind {
			m.wrong = "a change out of order"
		}
		m.stored++
	}
	return nil
}

var errLine = errors.New("broken pipe")

// Write takes half of the bytes if it fails.
func (m *outboxModel) Write(p []byte) (int, error) {
	if m.line.fails() {
		m.take(p[:len(p)/2])
		m.mu.Lock()
		defer m.mu.Unlock()
		m.broken = true
		return len(p) / 2, errLine
	}
	m.take(p)
	return len(p), nil
}

func (m *outboxModel) TryWrite(p []byte) int {
	n := min(len(p), m.accepts)
	m.take(p[:n])
	return n
}

// take checks that packets of each type come in order, and behind the changes that they depend on.
func (m *outboxModel) take(p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		m.wrong = "bytes after a failed write"
	}
	m.bytes = append(m.bytes, p...)
	for len(m.bytes) >= 2 && len(m.bytes) >= 2+int(m.bytes[1]) {
		t, end := frames.Type(m.bytes[0]>>4), 2+int(m.bytes[1])
		id := uint16(m.bytes[end-2])<<8 | uint16(m.bytes[end-1])
		if id != max(m.seen[t], m.skipped[t])+1 {
			m.wrong = "a packet out of order"
		} else if m.behind[t][id-1] > m.stored {
			m.wrong = t.String() + " before its changes are committed"
		}
		m.seen[t], m.bytes = id, m.bytes[end:]
	}
}

func newOutboxModel() *outboxModel {
	m := &outboxModel{behind: make(map[frames.Type][]int)}
	m.store.result, m.line.result = make(chan bool), make(chan bool)
	journal := new(flow.Journal)
	m.receiver = flow.NewReceiver(journal)
	o := newOutbox(quietLog(), m, journal)
	m.outbox = &o
	m.connect()
	return m
}

func (m *outboxModel) connect() {
	m.online, m.broken, m.bytes, m.skipped = true, false, nil, m.added
	m.connected(m, &terms{version: frames.V311, limits: limits{maxPacket: frames.MaxPacket}})
}

// lose ends the connection, as the loop does when reader and writer have let go of it.
func (m *outboxModel) lose() {
	m.online, m.failed = false, false
	m.disconnected()
}

// change makes a change of a kind, which the receiver puts into the journal.
func (m *outboxModel) change(kind flow.ChangeKind, id uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made = append(m.made, flow.Change{Kind: kind, ID: id})
}

func (m *outboxModel) receive(*rapid.T) {
	m.arrived++
	m.change(flow.Received, m.arrived)
	seq, _ := m.receiver.Arrive(frames.ExactlyOnce, m.arrived, false, 1)
	m.receiver.Ack(seq)
}

func (m *outboxModel) forget(t *rapid.T) {
	if m.freed == m.arrived {
		t.Skip("nothing to forget")
	}
	m.freed++
	m.change(flow.Forgotten, m.freed)
	m.receiver.Release(m.freed)
}

// needs returns how many changes must be stored before a packet of type t that is made now.
func (m *outboxModel) needs(t frames.Type) int {
	kind := map[frames.Type]flow.ChangeKind{frames.TypePubrec: flow.Received, frames.TypePubcomp: flow.Forgotten}[t]
	n := len(m.made)
	for t != frames.TypePublish && n > 0 && m.made[n-1].Kind != kind {
		n--
	}
	return n
}

var modelPackets = []frames.Type{frames.TypePuback, frames.TypePubrec, frames.TypePubcomp, frames.TypePublish}

func (m *outboxModel) packet(t *rapid.T) {
	if !m.online {
		t.Skip("no connection")
	}
	kind := rapid.SampledFrom(modelPackets).Draw(t, "type")
	m.added[kind]++
	m.mu.Lock()
	m.behind[kind] = append(m.behind[kind], m.needs(kind))
	m.mu.Unlock()
	if kind == frames.TypePublish {
		m.publish(&frames.Publish{Message: frames.Message{Topic: "t", QoS: frames.AtLeastOnce}, ID: m.added[kind]})
		return
	}
	m.ack(frames.Ack{Kind: kind, ID: m.added[kind]})
}

func (m *outboxModel) doFlush(t *rapid.T) {
	if m.failed {
		t.Skip("the connection has failed")
	}
	m.accepts = rapid.IntRange(0, 12).Draw(t, "accepted")
	busy, number, backlog := m.busy, m.number(), m.backlog()
	bytes, done := m.flush(m.now)
	switch {
	case busy && (bytes != backlog-m.backlog() || done || m.number() != number):
		t.Fatal("two batches are being written")
	case !busy && bytes > 0 && (bytes != backlog || m.handed != number):
		t.Fatalf("%d bytes of %d were handed over in batch %d, recorded as %d", bytes, backlog, number, m.handed)
	}
	if done {
		m.committed()
	}
	synctest.Wait()
	if m.online && m.committing(m.now) >= commitPatience && !m.outbox.early.busy {
		m.checkOvertaken(t)
	}
}

// checkOvertaken checks that a packet waits only if it needs a change that is not stored.
func (m *outboxModel) checkOvertaken(t *rapid.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, kind := range modelPackets {
		written := max(m.seen[kind], m.skipped[kind])
		if written < m.added[kind] && kind != frames.TypePublish && m.needs(kind) <= m.stored {
			t.Fatalf("%v %d waits for a slow commit", kind, written+1)
		}
	}
}

// allow lets the Store or the connection go on.
func (m *outboxModel) allow(s *outboxStep) func(*rapid.T) {
	return func(t *rapid.T) {
		if !s.allow(rapid.IntRange(0, 3).Draw(t, "fails at 0") == 0) {
			t.Skip("nothing waits")
		}
	}
}

// answer handles an answer of the writer, as the loop does. It reports false if there is none.
func (m *outboxModel) answer() bool {
	synctest.Wait()
	select {
	case w := <-m.answers():
		if w.commit != nil {
			m.uncommitted(w.commit, m.now, func(c []flow.Change) []flow.Change { return c })
		} else {
			m.done(w)
		}
		m.failed = m.failed || w.commit != nil || w.write != nil
		if m.failed && !m.busy {
			m.lose()
		}
		return true
	default:
		return false
	}
}

func (m *outboxModel) ask(*rapid.T) {
	s := modelSync{len(m.made), make(chan error, 1)}
	m.syncs = append(m.syncs, s)
	m.sync(s.reply)
}

// check checks the promises after each step.
func (m *outboxModel) check(t *rapid.T) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrong != "" {
		t.Fatal(m.wrong)
	}
	if m.busy {
		return
	}
	if m.outbox.early.busy {
		t.Fatal("an early write outlasts its batch")
	}
	if m.empty() {
		for _, kind := range modelPackets {
			if m.online && max(m.seen[kind], m.skipped[kind]) != m.added[kind] {
				t.Fatalf("empty with %v %d of %d written", kind, m.seen[kind], m.added[kind])
			}
		}
		if m.stored != len(m.made) {
			t.Fatalf("empty with %d of %d changes stored", m.stored, len(m.made))
		}
	}
	if waits := m.failing() != nil; waits && m.stored == len(m.made) {
		t.Fatal("failing with every change stored")
	}
	m.syncs = slices.DeleteFunc(m.syncs, func(s modelSync) bool { return m.answered(t, s) })
}

// answered reports whether a call of Sync has its answer, and checks that it is the right one.
func (m *outboxModel) answered(t *rapid.T, s modelSync) bool {
	select {
	case err := <-s.reply:
		if err == nil && s.made > m.stored {
			t.Fatalf("Sync behind change %d was answered with %d stored", s.made, m.stored)
		}
		return true
	default:
		if s.made <= m.stored {
			t.Fatalf("Sync behind change %d is not answered with %d stored", s.made, m.stored)
		}
		return false
	}
}

// drain lets the Store and the connection succeed until the writer has nothing to do.
func (m *outboxModel) drain() {
	for n := 0; m.busy; n++ {
		if n == 100 {
			panic("the writer hangs")
		}
		m.store.allow(false)
		m.line.allow(false)
		for m.answer() {
		}
	}
}

// finish writes the rest with a Store that works, and ends the writer.
func (m *outboxModel) finish(t *rapid.T) {
	for range 3 { // the batch of the writer, a failed commit, the last batch
		m.drain()
		m.retryNow()
		if _, done := m.flush(m.now); done {
			m.committed()
		}
	}
	m.drain()
	m.check(t)
	if !m.empty() || len(m.syncs) > 0 {
		t.Errorf("the end: empty %t, %d calls of Sync wait", m.empty(), len(m.syncs))
	}
}

// Over any order of steps: changes are stored in order and once; packets of each type are written
// in order and behind the changes that they depend on; packets that depend on no change of a slow
// commit do not wait for it; nothing is written after a failed write; Sync is answered when its
// changes are stored.
func TestOutboxAgainstAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inBubble := struct{ testing.TB }{t} // without the method Deadline, which a bubble forbids
		rapid.Check(inBubble, func(t *rapid.T) {
			m := newOutboxModel()
			defer m.end()
			defer m.drain() // also after a failure
			t.Repeat(map[string]func(*rapid.T){
				"":           m.check,
				"receive":    m.receive,
				"forget":     m.forget,
				"packet":     m.packet,
				"flush":      m.doFlush,
				"store":      m.allow(&m.store),
				"connection": m.allow(&m.line),
				"answer": func(t *rapid.T) {
					if !m.answer() {
						t.Skip("no answer")
					}
				},
				"sync": m.ask,
				"time": func(t *rapid.T) {
					m.now += rapid.SampledFrom([]time.Duration{commitPatience - 1, commitRetry / 2}).Draw(t, "step")
				},
				"rest": func(*rapid.T) { m.shrink(true); m.rest() },
				"reconnect": func(t *rapid.T) {
					if m.busy {
						t.Skip("the writer holds the connection")
					}
					m.lose()
					m.connect()
				},
			})
			m.finish(t)
		})
	})
}
