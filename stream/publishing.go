package stream

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// Publishing is a message that a user sends on the channel Publishes.
type Publishing struct {
	frames.Message
	Tag any            // returned in the Receipt
	Ack chan<- Receipt // receives the Receipt; nil means Options.Ack
}

// Receipt is the result of one publication. Err is nil when the QoS exchange is complete. For QoS 0
// the message was written, for QoS 1 PUBACK came, and for QoS 2 PUBCOMP came.
type Receipt struct {
	frames.Message
	Tag  any
	ID   uint16            // the packet identifier; 0 if the message never got one
	Code frames.ReasonCode // of the ack, on MQTT 5; for QoS 2, of PUBREC
	Err  error
}

// A publishCall is one call of Publish. The loop sets its handle.
type publishCall struct {
	message frames.Message
	receipt chan Receipt // cap 1: the loop's send never waits
	handle  flow.Handle
}

// publishCalls are the calls of Publish that wait for the loop to accept their message. A call
// counts as running until its message is in waiting, and again from its Receipt to its return. The
// last running call wakes the loop, so that the messages of all calls under way are written in one
// batch. Waking the loop for each message took three times as many writes and a fifth more time.
type publishCalls struct {
	wake    func()
	running atomic.Int64

	mu      sync.Mutex
	waiting []*publishCall
	closed  bool
	spare   []*publishCall // calls that have ended; at most maxSpareCalls
}

// A package-level pool would carry the channels of spare calls from one synctest bubble to another.
const maxSpareCalls = 64

// begin returns a running call for m, and whether it is alone: no other call runs or waits, and the
// list is not closed.
func (p *publishCalls) begin(m frames.Message) (call *publishCall, alone bool) {
	first := p.running.Add(1) == 1
	p.mu.Lock()
	defer p.mu.Unlock()
	alone = first && len(p.waiting) == 0 && !p.closed
	if n := len(p.spare); n > 0 {
		call = p.spare[n-1]
		p.spare = p.spare[:n-1]
		call.message = m
		return call, alone
	}
	return &publishCall{message: m, receipt: make(chan Receipt, 1)}, alone
}

// leave appends a running call to the waiting calls, and the call stops running. It returns false
// when no more publishings are accepted.
func (p *publishCalls) leave(call *publishCall) bool {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.waiting = append(p.waiting, call)
	}
	p.mu.Unlock()
	if p.running.Add(-1) == 0 && !closed {
		p.wake()
	}
	return !closed
}

// accepted records that the message of a running call was accepted without waiting. The call stops
// running, and the loop is woken.
func (p *publishCalls) accepted() {
	p.running.Add(-1)
	p.wake()
}

// answer passes the Receipt r to its call, which counts as running again.
func (p *publishCalls) answer(call *publishCall, r Receipt) {
	p.running.Add(1)
	call.receipt <- r
}

// end ends a running call that has its Receipt.
func (p *publishCalls) end(call *publishCall) {
	p.mu.Lock()
	call.message = frames.Message{}
	if len(p.spare) < maxSpareCalls {
		p.spare = append(p.spare, call)
	}
	// The lock is held, since a call that begins to wait meanwhile relies on this call to wake the
	// loop.
	wake := p.running.Add(-1) == 0 && len(p.waiting) > 0
	p.mu.Unlock()
	if wake {
		p.wake()
	}
}

// takeBack removes a call from the waiting calls. It returns false if the message was already
// accepted.
func (p *publishCalls) takeBack(call *publishCall) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, call)
	if i < 0 {
		return false
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	return true
}

// take moves the waiting calls for which there is room into dst, in order, and reports whether more
// calls wait.
func (p *publishCalls) take(dst []*publishCall, room flow.Room) (calls []*publishCall, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.waiting) && room.Take(&p.waiting[n].message) {
		n++
	}
	dst = append(dst, p.waiting[:n]...)
	p.waiting = slices.Delete(p.waiting, 0, n)
	return dst, len(p.waiting) > 0
}

// takeAll moves all waiting calls into dst, in order.
func (p *publishCalls) takeAll(dst []*publishCall) []*publishCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	dst = append(dst, p.waiting...)
	clear(p.waiting)
	p.waiting = p.waiting[:0]
	return dst
}

// close makes leave return false from now on, and returns the calls that wait.
func (p *publishCalls) close() (waiting []*publishCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting = p.waiting
	p.waiting, p.closed = nil, true
	return waiting
}

// shrink frees the memory of an idle session.
func (p *publishCalls) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = nil
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
}
