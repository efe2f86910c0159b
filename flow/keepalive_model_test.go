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
	in   uint64 // the count of received bytes
}

type keepKind byte

const (
	keepSent keepKind = iota
	keepHeard
	keepResumed
	keepPinged
	keepAnswered
	keepGrown // Check saw more bytes than before
)

// keepModel computes each answer from the whole history of a connection, which it reads backwards.
type keepModel struct {
	interval time.Duration
	history  []keepEvent
}

func (m *keepModel) add(kind keepKind, at time.Duration, in uint64) {
	m.history = append(m.history, keepEvent{kind, at, in})
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

// awaited returns the first PINGREQ after the last PINGRESP.
func (m *keepModel) awaited() (e keepEvent, index int) {
	_, answer := m.last(keepAnswered)
	for i := answer + 1; i < len(m.history); i++ {
		if m.history[i].kind == keepPinged {
			return m.history[i], i
		}
	}
	return keepEvent{}, -1
}

// deadline returns the time at which the peer is dead if nothing more is received, or 0 without an
// outstanding PINGREQ.
func (m *keepModel) deadline() time.Duration {
	ping, at := m.awaited()
	if at < 0 {
		return 0
	}
	from := ping.at
	if e, i := m.last(keepHeard, keepResumed, keepGrown); i > at {
		from = e.at
	}
	if m.interval > 10*time.Second {
		return from + 10*time.Second
	}
	return from + m.interval
}

// looked returns the count of received bytes at the last event that recorded it.
func (m *keepModel) looked() uint64 {
	ping, at := m.awaited()
	if e, i := m.last(keepHeard, keepGrown); i > at {
		return e.in
	}
	return ping.in
}

func (m *keepModel) check(now time.Duration, in uint64, paused, writing bool) PingAction {
	if m.interval == 0 {
		return NoPing
	}
	if d := m.deadline(); d != 0 && now >= d && !paused {
		if in == m.looked() {
			return PeerDead
		}
		m.add(keepGrown, now, in)
	}
	if sent, _ := m.last(keepSent); writing || now-sent.at < m.interval*9/10 {
		return NoPing
	}
	m.add(keepPinged, now, in)
	return SendPing
}

// checkNext compares Next with the time at which Check first acts, if nothing happens before that
// time.
func checkNext(t *rapid.T, k KeepAlive, m *keepModel, now time.Duration, in uint64, paused bool) {
	next := k.Next(now, paused)
	sent, _ := m.last(keepSent)
	due := sent.at + m.interval*9/10
	if m.interval == 0 || due <= now || m.deadline() != 0 && m.deadline() <= now {
		if m.interval == 0 && next != 0 || next > now+m.interval*9/10 {
			t.Fatalf("next at %v is %v", now, next)
		}
		return
	}
	early, late := k, k
	before := now + time.Duration(rapid.Int64Range(0, int64(next-now-1)).Draw(t, "before"))
	if got := early.Check(before, in, paused, false); got != NoPing {
		t.Fatalf("%s at %v, before %v", actionNames[got], before, next)
	}
	if got := late.Check(next, in, paused, false); got == NoPing && in == m.looked() {
		t.Fatalf("nothing to do at %v", next)
	}
}

// keepRun drives a KeepAlive and the model side by side.
type keepRun struct {
	k KeepAlive
	m *keepModel

	now     time.Duration
	in      uint64
	paused  bool
	writing bool
}

func (r *keepRun) connect(sent, now time.Duration) {
	r.k, r.now, r.in = NewKeepAlive(r.m.interval, sent, now), now, 0
	r.m.history = nil
	r.m.add(keepSent, sent, 0)
	r.m.add(keepHeard, now, 0)
}

func (r *keepRun) check(t *rapid.T) {
	got, want := r.k.Check(r.now, r.in, r.paused, r.writing), r.m.check(r.now, r.in, r.paused, r.writing)
	if got != want {
		t.Fatalf("at %v: %s, want %s", r.now, actionNames[got], actionNames[want])
	}
	switch {
	case got == SendPing && rapid.Bool().Draw(t, "written at once"):
		r.sent()
	case got == PeerDead:
		r.connect(r.now, r.now+sec)
	}
	checkNext(t, r.k, r.m, r.now, r.in, r.paused)
}

func (r *keepRun) sent() {
	r.k.Sent(r.now)
	r.m.add(keepSent, r.now, r.in)
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
		r := &keepRun{m: &keepModel{interval: interval}}
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
			"writer":          func(*rapid.T) { r.writing = !r.writing },
		})
	})
}
