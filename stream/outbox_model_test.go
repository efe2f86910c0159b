package stream

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// An outboxModel takes random steps with an outbox, in the order in which the loop may take them.
// Packets and changes are numbered in the order in which they were made, so that the model is two
// counters.
type outboxModel struct {
	*outbox
	receiver *flow.Receiver
	now      time.Duration
	online   bool

	made    uint16 // changes, the last one's identifier
	added   uint16 // packets, the last one's identifier
	skipped uint16 // packets up to this one were dropped with their connection

	mu     sync.Mutex
	behind []uint16 // for each packet by identifier, the last change made before it

	step    chan bool // lets the Store or the connection do one thing; true: the Store refuses
	accepts int       // bytes that the next TryWrite accepts
	bytes   []byte    // that this connection took
	stored  uint16    // the last change that the Store applied
	seen    uint16    // the last packet that the connection took whole
	wrong   string    // a broken promise that the Store or the connection saw

	syncs []modelSync
}

// A modelSync is a call of sync that has no answer yet.
type modelSync struct {
	made  uint16 // changes before it
	reply chan error
}

func (m *outboxModel) Attach(string) (flow.Snapshot, error) { return flow.Snapshot{}, nil }
func (m *outboxModel) Detach() error                        { return nil }

// Commit applies changes that continue those applied before.
func (m *outboxModel) Commit(changes []flow.Change) error {
	if <-m.step {
		return errDisk
	}
	for _, c := range changes {
		if c.ID != m.stored+1 {
			m.wrong = "a change out of order"
		}
		m.stored = c.ID
	}
	return nil
}

func (m *outboxModel) Write(p []byte) (int, error) {
	<-m.step
	m.take(p)
	return len(p), nil
}

func (m *outboxModel) TryWrite(p []byte) int {
	n := min(len(p), m.accepts)
	m.take(p[:n])
	return n
}

// take checks that packets come in order, and behind the changes made before them.
func (m *outboxModel) take(p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes = append(m.bytes, p...)
	for len(m.bytes) >= 4 {
		id := uint16(m.bytes[2])<<8 | uint16(m.bytes[3])
		if id != max(m.seen, m.skipped)+1 {
			m.wrong = "a packet out of order"
		}
		if m.behind[id] > m.stored {
			m.wrong = "a packet before its changes are committed"
		}
		m.seen, m.bytes = id, m.bytes[4:]
	}
}

func newOutboxModel() *outboxModel {
	m := &outboxModel{step: make(chan bool), behind: []uint16{0}}
	journal := new(flow.Journal)
	m.receiver = flow.NewReceiver(journal)
	o := newOutbox(quietLog(), m, journal)
	m.outbox = &o
	m.connect()
	return m
}

func (m *outboxModel) connect() {
	m.online, m.bytes, m.skipped = true, nil, m.added
	m.connected(m, terms{version: frames.V311, maxPacket: frames.MaxPacket})
}

// lose ends the connection, as the loop does when reader and writer have let go of it.
func (m *outboxModel) lose() {
	m.online = false
	m.disconnected()
}

func (m *outboxModel) change(*rapid.T) {
	m.made++
	seq, _ := m.receiver.Arrive(frames.ExactlyOnce, m.made, false, 1)
	m.receiver.Ack(seq)
}

func (m *outboxModel) puback(t *rapid.T) {
	if !m.online {
		t.Skip("no connection")
	}
	m.added++
	m.mu.Lock()
	m.behind = append(m.behind, m.made)
	m.mu.Unlock()
	m.ack(frames.Ack{Kind: frames.TypePuback, ID: m.added})
}

func (m *outboxModel) doFlush(t *rapid.T) {
	m.accepts = rapid.IntRange(0, 12).Draw(t, "accepted")
	busy, number, backlog := m.busy, m.number(), m.backlog()
	bytes, done := m.flush(m.now)
	switch {
	case busy && (bytes > 0 || done || m.number() != number):
		t.Fatal("two batches are being written")
	case bytes > 0 && (bytes != backlog || m.handed != number):
		t.Fatalf("%d bytes of %d were handed over in batch %d, recorded as %d", bytes, backlog, number, m.handed)
	}
	if done {
		m.committed()
	}
}

// wake lets the writer do one thing: commit, write, or answer.
func (m *outboxModel) wake(t *rapid.T) {
	if !m.busy {
		t.Skip("idle")
	}
	select {
	case m.step <- rapid.Bool().Draw(t, "refuses"):
	case w := <-m.answers():
		if w.commit == nil {
			m.committed()
			return
		}
		m.uncommitted(w.commit, m.now, func(c []flow.Change) []flow.Change { return c })
		m.lose()
	}
}

func (m *outboxModel) ask(*rapid.T) {
	s := modelSync{m.made, make(chan error, 1)}
	m.syncs = append(m.syncs, s)
	m.sync(s.reply)
}

// check checks the promises after each step.
func (m *outboxModel) check(t *rapid.T) {
	if m.busy && m.answers() != nil {
		return // the writer owns the records
	}
	if m.wrong != "" {
		t.Fatal(m.wrong)
	}
	if m.empty() && (m.stored != m.made || m.online && max(m.seen, m.skipped) != m.added) {
		t.Fatalf("empty with %d of %d changes stored and packet %d of %d written", m.stored, m.made, m.seen, m.added)
	}
	if waits := m.failing() != nil; waits && m.stored == m.made {
		t.Fatal("failing with every change stored")
	}
	left := m.syncs[:0]
	for _, s := range m.syncs {
		select {
		case err := <-s.reply:
			if err == nil && s.made > m.stored {
				t.Fatalf("Sync behind change %d was answered with %d stored", s.made, m.stored)
			}
		default:
			if s.made <= m.stored {
				t.Fatalf("Sync behind change %d is not answered with %d stored", s.made, m.stored)
			}
			left = append(left, s)
		}
	}
	m.syncs = left
}

// finish writes the rest with a Store that works, and ends the writer.
func (m *outboxModel) finish(t *rapid.T) {
	for range 3 { // the batch of the writer, a failed commit, the last batch
		for m.busy {
			select {
			case m.step <- false:
			case w := <-m.answers():
				if w.commit != nil {
					m.uncommitted(w.commit, m.now, func(c []flow.Change) []flow.Change { return c })
					m.lose()
					continue
				}
				m.committed()
			}
		}
		m.retryNow()
		if _, done := m.flush(m.now); done {
			m.committed()
		}
	}
	m.check(t)
	if !m.empty() || len(m.syncs) > 0 {
		t.Errorf("the end: empty %t, %d calls of Sync wait", m.empty(), len(m.syncs))
	}
	m.end()
}

// Over any order of steps: changes are stored in order and once, packets are written in order and
// behind their changes, and Sync is answered when its changes are stored.
func TestOutboxAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newOutboxModel()
		t.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"change": m.change,
			"packet": m.puback,
			"flush":  m.doFlush,
			"writer": m.wake,
			"sync":   m.ask,
			"time":   func(*rapid.T) { m.now += commitRetry / 2 },
			"rest":   func(*rapid.T) { m.shrink(true); m.rest() },
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
}
