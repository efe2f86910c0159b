package stream

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// Publishing is a message on its way out, as it is sent to Publishes.
type Publishing struct {
	frames.Message
	Tag any            // comes back in the Receipt
	Ack chan<- Receipt // takes the Receipt; nil: Options.Ack

	waiter *waiter // of Publish
}

// Receipt is the end of one publication. Err is nil when the QoS exchange is
// complete: QoS 0 was written, QoS 1 has its PUBACK, QoS 2 its PUBCOMP.
type Receipt struct {
	frames.Message
	Tag any
	ID  uint16 // the packet identifier; 0 when it never had one
	Err error
}

// owner is where the Receipt of a publication goes; the zero owner wants none.
type owner struct {
	tag any
	ack chan<- Receipt

	stage *stage // instead of ack: PublishFrom
	place uint64 // in the stage
}

// A waiter is one call of Publish. The loop sets its handle.
type waiter struct {
	receipt chan Receipt // cap 1: the loop's send never waits
	handle  flow.Handle
}

// Publish publishes m and waits until its QoS exchange is complete. When ctx
// ends before that, m is withdrawn if it was still queued (ErrNotSent);
// otherwise it may arrive (ErrUnconfirmed).
func (s *Session) Publish(ctx context.Context, m frames.Message) error {
	if err := m.Validate(s.options.Version); err != nil {
		return notSent(err)
	}
	w := s.waiters.get()
	select {
	case s.publishes <- Publishing{Message: m, Ack: w.receipt, waiter: w}:
	case <-ctx.Done():
		return notSent(context.Cause(ctx))
	case <-s.intakeEnds:
		return notSent(s.endedBy())
	}
	select {
	case r := <-w.receipt:
		s.waiters.put(w)
		return r.Err
	case <-ctx.Done():
	}
	s.call(func(l *loop) { l.withdraw(w.handle, context.Cause(ctx)) })
	// Withdrawn or not, the receipt is there now: a ready result beats an ended context.
	r := <-w.receipt
	s.waiters.put(w)
	return r.Err
}

// waiters are spare ones of this session, in a channel that is made with the first
// of them. They are not in a package-level pool, which would carry channels from one
// synctest bubble to another.
type waiters struct {
	spare atomic.Pointer[chan *waiter] // nil: there are none
}

const maxWaiters = 64

func (ws *waiters) put(w *waiter) {
	ch := ws.spare.Load()
	if ch == nil {
		made := make(chan *waiter, maxWaiters)
		ch = &made
		ws.spare.Store(ch) // if two do this, the spare ones of one are lost
	}
	select {
	case *ch <- w:
	default:
	}
}

func (ws *waiters) get() *waiter {
	if ch := ws.spare.Load(); ch != nil {
		select {
		case w := <-*ch:
			return w
		default:
		}
	}
	return &waiter{receipt: make(chan Receipt, 1)}
}

// shrink gives the spare ones of an idle session back.
func (ws *waiters) shrink() { ws.spare.Store(nil) }

// Publishes returns the channel that takes publishings. It is unbuffered: a
// send that returns has been accepted and gets exactly one Receipt. It is never
// closed; select it with Done.
func (s *Session) Publishes() chan<- Publishing { return s.publishes }

// acceptBatch is how many publishings are taken before a turn.
const acceptBatch = 256

// accept takes p and whatever else is ready, up to a batch. What it has
// received it must add: its sender has been told that it was accepted.
func (l *loop) accept(p Publishing) {
	l.add(p)
	for n := 1; n < acceptBatch && l.sender.Queued() < l.s.options.Queue; n++ {
		p, ok := l.another(n)
		if !ok {
			return
		}
		l.add(p)
	}
}

// How long it may take to wait for publishers, in a batch that has brought some (less
// than the time slice of a goroutine that computes) and in one that has not. It is
// not tried again for yieldRests times as long as a wait that took longer. While some
// come, the clock is looked at in one wait of yieldClock: each time would be a tenth
// of the time of a publish.
const (
	goodYield  = 5 * time.Millisecond
	vainYield  = 100 * time.Microsecond
	yieldRests = 20
	yieldClock = 8
)

// another takes what a publisher has for us now, as number n of a batch. An empty
// channel is looked at again when the publishers have had the processor: the one
// whose send has just returned is about to send its next. Without that, a publisher
// by itself gets a turn and a write call for each message, which takes five times as
// long. Twice, since the scheduler now and then takes the yielding goroutine first.
// Where all processors are busy with other things a yield takes a time slice of
// each: there it does not pay, and is tried seldom.
func (l *loop) another(n int) (p Publishing, ok bool) {
	since, most := l.now, vainYield
	if n > 1 {
		most = goodYield
	}
	for yields := 0; ; yields++ {
		select {
		case p = <-l.s.publishes:
			if yields > 0 && n%yieldClock == 1 {
				l.yielded(since, goodYield)
			}
			return p, true
		default:
		}
		if yields > 0 {
			l.yielded(since, most)
		}
		if yields == 2 || l.now < l.noYield {
			return p, false
		}
		runtime.Gosched()
	}
}

// yielded has a wait that took more than most be the last for a while.
func (l *loop) yielded(since, most time.Duration) {
	l.tick()
	if took := l.now - since; took > most {
		l.noYield = l.now + yieldRests*took
	}
}

func (l *loop) add(p Publishing) {
	o := owner{tag: p.Tag, ack: p.Ack}
	if o.ack == nil {
		o.ack = l.s.options.Ack
	}
	if p.waiter == nil { // Publish has checked before
		if err := p.Message.Validate(l.s.options.Version); err != nil {
			l.receipt(o, Receipt{Message: p.Message, Err: notSent(err)})
			return
		}
		l.sender.Add(p.Message, o)
		return
	}
	p.waiter.handle = l.sender.Add(p.Message, o)
}

// withdraw takes back a publication that its caller gave up.
func (l *loop) withdraw(h flow.Handle, cause error) {
	e, ok := l.sender.Find(h)
	if !ok {
		return
	}
	gone, _ := l.sender.Withdraw(h)
	err := unconfirmed(cause)
	if gone {
		err = notSent(cause)
	}
	l.ended(&e, err)
}

// transmit puts what the window lets through into the batch that is being
// filled, up to a batch's size.
func (l *loop) transmit() {
	for len(l.next.bytes) < batchBytes {
		if l.sender.AtRow() {
			l.sender.NextRow(l.next.number, l.putOf)
			continue
		}
		out, ok := l.sender.Next(l.next.number, l.now)
		if !ok {
			return
		}
		l.put(&out)
	}
}

// putOf encodes a message of a row; false when the batch is full.
func (l *loop) putOf(m *frames.Message) bool {
	p := frames.Publish{Message: *m}
	l.publish(&p)
	return len(l.next.bytes) < batchBytes
}

// put encodes a PUBLISH or a PUBREL of the sender.
func (l *loop) put(out *flow.Outgoing) {
	if out.Type == frames.TypePubrel {
		l.ack(frames.Ack{Kind: frames.TypePubrel, ID: out.Publish.ID})
		return
	}
	l.publish(&out.Publish)
}

func (l *loop) publish(p *frames.Publish) {
	before := len(l.next.bytes)
	l.next.bytes = must(p.Append(l.next.bytes, l.s.options.Version))
	l.stats.Sent++
	if l.debug {
		l.logPublish("sent", p, len(l.next.bytes)-before)
	}
}

func (l *loop) ack(a frames.Ack) {
	before := len(l.next.bytes)
	l.next.bytes = must(a.Append(l.next.bytes, l.s.options.Version))
	if l.debug {
		l.logAck("sent", a, len(l.next.bytes)-before)
	}
}

// must unwraps the encoding of what was validated when it was accepted.
func must(b []byte, err error) []byte {
	if err != nil {
		panic(fmt.Sprintf("mqtt: encoding what was checked: %v", err))
	}
	return b
}

// acknowledged takes a PUBACK, PUBREC or PUBCOMP from the broker.
func (l *loop) acknowledged(a frames.Ack) {
	e, outcome := l.sender.Acknowledge(a.Kind, a.ID, l.next.number-1, l.now)
	switch outcome {
	case flow.Completed:
		l.stats.Acknowledged++
		l.ended(&e, nil)
	case flow.Downgraded:
		l.ended(&e, &DowngradedError{ID: e.ID})
	case flow.Release:
		l.ack(frames.Ack{Kind: frames.TypePubrel, ID: a.ID})
	case flow.Violation:
		l.fail(&frames.ProtocolError{Type: a.Kind, Reason: fmt.Sprintf("does not fit the exchange of packet identifier %d", a.ID)})
	}
}
