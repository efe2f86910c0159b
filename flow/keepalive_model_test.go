package flow

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A keepEvent is one entry in the history of a connection.
type keepEvent struct {
	kind keepKind
	at   time.Duration
	n    uint64 // the count of received bytes, or of bytes that left the send queue
}

type keepKind byte

const (
	keepSent keepKind = iota
	keepHeard
	keepResumed
	keepPinged
	keepAsked // a PINGREQ whose PINGRESP has a deadline of its own
	keepAnswered
	keepGrown   // Check saw more bytes than before
	keepWritten // the PINGREQ was written; n is the count of bytes up to its end
	keepLeft    // a measurement of the send queue
	keepStill   // Check came late
)

// keepModel computes each answer from the whole history of a connection, which it reads backwards.
type keepModel struct {
	interval, timeout time.Duration
	history           []keepEvent
}

func (m *keepModel) add(kind keepKind, at time.Duration, n uint64) {
	m.history = append(m.history, keepEvent{kind, at, n})
}

// last returns the newest event of the given kinds.
func (m *keepModel) last(kinds ...keepKind) (e keepEvent, index int) {
	for i := len(m.history) - 1; i >= 0; i-- {
		for _, kind := range kinds {
			if m.history[i].kind == kind {
				return m.history[i], i
			}
		}
	}
	return keepEvent{}, -1
}

// awaited returns the index of the PINGREQ that awaits its PINGRESP, or -1.
func (m *keepModel) awaited() int {
	_, answer := m.last(keepAnswered)
	if _, asked := m.last(keepAsked); asked > answer {
		return asked
	}
	return -1
}

// queue follows the send queue since the awaited PINGREQ. It returns whether the PINGREQ is still
// in the queue, and when the queue last moved, or the PINGREQ left it.
func (m *keepModel) queue(asked int) (queued bool, moved time.Duration) {
	moved = m.history[asked].at
	end, written := uint64(0), false
	var before *keepEvent
	for i, e := range m.history[asked:] {
		switch {
		case e.kind == keepWritten && !written:
			end, written = e.n, true
		case e.kind != keepLeft:
		case written && e.n >= end:
			return false, e.at
		default:
			if before != nil && before.n != e.n {
				moved = e.at
			}
			before = &m.history[asked+i]
		}
	}
	return true, moved
}

// deadline returns the time at which the peer is dead if nothing more is received, or 0 without an
// outstanding PINGREQ, and whether the PINGREQ is in the send queue.
func (m *keepModel) deadline() (at time.Duration, queued bool) {
	asked := m.awaited()
	if asked < 0 {
		return 0, false
	}
	queued, from := m.queue(asked)
	e, _ := m.last(keepHeard, keepResumed, keepGrown)
	if still, i := m.last(keepStill); i > asked {
		from = max(from, still.at)
	}
	return max(from, e.at) + m.timeout, queued
}

// looked returns the count of received bytes at the last event that recorded it.
func (m *keepModel) looked() uint64 {
	e, _ := m.last(keepHeard, keepGrown, keepAsked)
	return e.n
}

func (m *keepModel) check(now time.Duration, in uint64, paused, writing bool) PingAction {
	if m.interval == 0 {
		return NoPing
	}
	at, queued := m.deadline()
	if at != 0 && now >= at && (queued || !paused) {
		switch {
		case in != m.looked():
			m.add(keepGrown, now, in)
		case now-at > m.timeout/2:
			m.add(keepStill, now, in)
		case queued:
			return LineDead
		default:
			return PeerDead
		}
	}
	nine := m.interval * 9 / 10
	sent, _ := m.last(keepSent)
	active, _ := m.last(keepHeard, keepGrown, keepResumed)
	ping, _ := m.last(keepPinged)
	if !writing && now-sent.at >= nine || m.asks(paused) && now-max(active.at, ping.at) >= nine {
		return SendPing
	}
	return NoPing
}

// asks reports whether a PINGREQ would have a deadline of its own.
func (m *keepModel) asks(paused bool) bool {
	at, queued := m.deadline()
	return at == 0 || paused && !queued
}

func (m *keepModel) pinged(now time.Duration, in uint64, paused bool) {
	if m.asks(paused) {
		m.add(keepAsked, now, in)
	}
	m.add(keepPinged, now, in)
}

// checkNext compares Next with the time at which Check or a measurement first acts, if nothing
// happens before that time.
func checkNext(t *rapid.T, k KeepAlive, m *keepModel, now time.Duration, in uint64, paused bool) {
	next := k.Next(now, paused)
	if m.interval == 0 {
		if next != 0 {
			t.Fatalf("next at %v is %v", now, next)
		}
		return
	}
	if next <= now || next > now+max(1, m.interval*9/10) {
		t.Fatalf("next at %v is %v", now, next)
	}
	if k.Measures(now) || k.Check(now, in, paused, false) != NoPing {
		return // something is due already
	}
	early, late := k, k
	before := now + time.Duration(rapid.Int64Range(0, int64(next-now-1)).Draw(t, "before"))
	if got := early.Check(before, in, paused, false); got != NoPing || early.Measures(before) && !k.Measures(now) {
		t.Fatalf("%s at %v, before %v", actionNames[got], before, next)
	}
	if got := late.Check(next, in, paused, false); got == NoPing && !late.Measures(next) && in == m.looked() {
		t.Fatalf("nothing to do at %v", next)
	}
}

// keepRun drives a KeepAlive and the model side by side.
type keepRun struct {
	k KeepAlive
	m *keepModel

	now     time.Duration
	in      uint64
	out     uint64 // bytes written
	left    uint64 // those that have left the queue
	paused  bool
	writing bool
}

func (r *keepRun) connect(sent, now time.Duration) {
	r.k, r.now, r.in = NewKeepAlive(r.m.interval, r.m.timeout, sent, now), now, 0
	r.m.history = nil
	r.m.add(keepSent, sent, 0)
	r.m.add(keepHeard, now, 0)
}

func (r *keepRun) check(t *rapid.T) {
	if r.k.Measures(r.now) {
		r.k.Measured(r.now, r.left)
		r.m.add(keepLeft, r.now, r.left)
	}
	got, want := r.k.Check(r.now, r.in, r.paused, r.writing), r.m.check(r.now, r.in, r.paused, r.writing)
	if got != want {
		t.Fatalf("at %v: %s, want %s", r.now, actionNames[got], actionNames[want])
	}
	switch got {
	case SendPing:
		r.k.Pinged(r.now, r.in, r.paused)
		r.m.pinged(r.now, r.in, r.paused)
		if rapid.Bool().Draw(t, "written at once") {
			r.sent()
		}
	case PeerDead, LineDead:
		r.connect(r.now, r.now+sec)
	}
	checkNext(t, r.k, r.m, r.now, r.in, r.paused)
}

func (r *keepRun) sent() {
	r.out += 2
	r.k.Sent(r.now)
	r.m.add(keepSent, r.now, r.in)
	r.k.PingWritten(r.now, r.out)
	r.m.add(keepWritten, r.now, r.out)
}

func (r *keepRun) heard() {
	r.in += 2
	r.k.Heard(r.now, r.in)
	r.m.add(keepHeard, r.now, r.in)
}

func (r *keepRun) pause() {
	if r.paused {
		r.k.Resumed(r.now)
		r.m.add(keepResumed, r.now, r.in)
	}
	r.paused = !r.paused
}

func TestKeepAliveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.SampledFrom([]int{0, 1, 5, 10, 12, 60}).Draw(t, "interval")) * sec
		timeout := time.Duration(rapid.SampledFrom([]int{1, 5, 20}).Draw(t, "timeout")) * sec
		r := &keepRun{m: &keepModel{interval: interval, timeout: timeout}}
		r.connect(0, sec)
		t.Repeat(map[string]func(*rapid.T){
			"": r.check,
			"wait": func(t *rapid.T) {
				r.now += interval * time.Duration(rapid.IntRange(0, 12).Draw(t, "tenths")) / 10
				r.now += time.Duration(rapid.IntRange(0, 2).Draw(t, "more")) * time.Millisecond
			},
			"wait until next": func(*rapid.T) { r.now = max(r.now, r.k.Next(r.now, r.paused)) },
			"sent":            func(*rapid.T) { r.sent() },
			"heard":           func(*rapid.T) { r.heard() },
			"part":            func(*rapid.T) { r.in++ },
			"PINGRESP": func(*rapid.T) {
				r.heard()
				r.k.Answered()
				r.m.add(keepAnswered, r.now, r.in)
			},
			"pause or resume": func(*rapid.T) { r.pause() },
			"queue": func(t *rapid.T) {
				if r.left < r.out {
					r.left += rapid.Uint64Range(1, r.out-r.left).Draw(t, "left")
				}
			},
			"writer": func(*rapid.T) { r.writing = !r.writing },
		})
	})
}
