package stream

import (
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/flow/list"
	"github.com/go-millrace/mqtt/frames"
)

// An inbox holds the messages that wait for the consumers of one Subscription. One more inbox holds
// the unclaimed messages.
type inbox struct {
	all     *inboxes
	filters []string // of the Subscription, owned by the loop; none for the unclaimed messages

	// Guarded by all.mu. The channels are made with the first consumer.
	wake chan struct{} // cap 1, from the loop and from consumers that leave messages behind
	over chan struct{} // closed by the loop: no more messages come
	tally
	line     list.List
	idle     int   // number of waiting consumers
	later    int   // messages in count that were requeued and not put back yet
	holders  int   // consumers that hold a chunk
	waking   bool  // the inbox is in wakeable
	ended    bool  // a consumer was told the end
	finished bool  // no more messages come
	decoded  bool  // by Decode
	err      error // why
	messages chan frames.Message
	delivers chan Delivery
	batches  map[batching]chan Batch
	latest   map[LatestOptions]chan frames.Message
	merged   *merge
	ranges   int   // range loops that run
	misuse   error // of a call with a wrong argument, until the next consumer begins

	left atomic.Bool // Unsubscribe was called: no message is handed over any more
	exit *exit       // made with the first consumer
}

func (b *inboxes) newInbox() *inbox {
	return &inbox{all: b}
}

// unread returns how many bytes of QoS 1 and 2 messages wait, here and in all inboxes.
func (b *inbox) unread() (here, all int) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	return b.used.unread, b.all.used.unread
}

// finish records that no more messages come. The messages that wait are still handed over.
func (b *inbox) finish(err error) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if !b.finished {
		b.finished, b.err = true, err
		if b.over != nil {
			close(b.over)
		}
	}
	b.checkServed()
}

// noneLater wakes a consumer and Drain, which wait for requeued messages, when none is left. The
// caller holds the lock.
func (b *inbox) noneLater() {
	if b.later == 0 && b.finished {
		b.wakeOther()
		b.checkServed()
	}
}

// Err returns the reason why the channels closed. It returns nil while they are open, and after
// Unsubscribe, Drain, Close or Shutdown. After a call of Batches, Latest or Merge with a wrong
// argument it returns the error of that call, until the next consumer begins.
func (b *inbox) Err() error {
	if err := b.reason(); err != nil {
		return err
	}
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	return b.misuse
}

// reason is Err without the error of a call with a wrong argument.
func (b *inbox) reason() error {
	b.all.mu.Lock()
	err := b.err
	b.all.mu.Unlock()
	if err == nil {
		err = b.all.life.Err()
	}
	return err
}

// A chunk is the part of an inbox that a consumer takes at once.
type chunk struct {
	deliveries      []Delivery
	over            int  // how many of them handovers.over has recorded
	messages, bytes int  // for which there is room
	lends           bool // the consumer gives the messages back
	loans           []loan
	times           *chunkTimes // nil if they are not wanted
}

// chunkTimes are the times of the messages of a chunk.
type chunkTimes struct {
	arrived []time.Duration // when each message arrived; 0 if it is not known
	copies  []Delivery      // of a Batch, which its consumer may write to once it is sent
	row     []Delivered     // scratch
}

// A loan is a number of messages in a read buffer that are lent to a consumer.
type loan struct {
	of     *readBuffers
	buffer int32
	n      int
}

// borrow adds a message in a read buffer to the loans.
func (c *chunk) borrow(of *readBuffers, buffer int32) {
	if buffer == 0 {
		return
	}
	if k := len(c.loans) - 1; k >= 0 && c.loans[k].buffer == buffer && c.loans[k].of == of {
		c.loans[k].n++
		return
	}
	c.loans = append(c.loans, loan{of, buffer, 1})
}

// Usually a chunk is large enough to make the cost of the lock small, and small enough to leave
// messages for other consumers.
const (
	chunkMessages = 64
	chunkBytes    = 64 << 10
)

func (c *chunk) full() bool { return c.messages <= 0 || c.bytes <= 0 }

// empty removes the messages of a chunk, and sets its room to a number of messages and bytes.
func (c *chunk) empty(messages, bytes int) {
	c.deliveries, c.over, c.messages, c.bytes = c.deliveries[:0], 0, messages, bytes
	if t := c.times; t != nil {
		clear(t.copies)
		t.arrived, t.copies = t.arrived[:0], t.copies[:0]
	}
}

// stamp records when the newest message of the chunk arrived, 0 if that is not wanted.
func (c *chunk) stamp(at time.Duration) {
	if c.times == nil {
		if at == 0 {
			return
		}
		c.times = new(chunkTimes)
	}
	for len(c.times.arrived) < len(c.deliveries)-1 {
		c.times.arrived = append(c.times.arrived, 0)
	}
	c.times.arrived = append(c.times.arrived, at)
}

// take is takeInto for a chunk of the usual size, without the messages that it has. It reports
// whether there are messages.
func (b *inbox) take(cancel <-chan struct{}, c *chunk) bool {
	c.empty(chunkMessages, chunkBytes)
	b.takeInto(cancel, c)
	return len(c.deliveries) > 0
}

// takeInto waits for messages and moves them to c, as many as there is room for. It adds no message
// when the inbox has ended, after stopAll, or when cancel is closed. A consumer that gets messages
// calls done afterwards.
func (b *inbox) takeInto(cancel <-chan struct{}, c *chunk) {
	x := b.all
	for {
		x.mu.Lock()
		if x.stopped {
			x.mu.Unlock()
			return
		}
		b.fill(c)
		x.compact()
		x.wakeLoop()
		over := b.finished && b.later == 0 || b.left.Load()
		if len(c.deliveries) > 0 || over {
			if len(c.deliveries) > 0 {
				b.holders++
				x.holders++
			}
			if over && b.line.Head == 0 {
				b.ended = b.ended || len(c.deliveries) == 0
				b.wakeOther()
			}
			b.wakeNext()
			x.mu.Unlock()
			return
		}
		b.makeWakeups()
		b.idle++
		stop, finish := x.stopChannel(), b.over
		exit := b.exits()
		if exit.leaving == nil {
			exit.leaving = make(chan struct{})
		}
		if b.finished {
			finish = nil // requeued messages come back
		}
		x.mu.Unlock()

		canceled := false
		select {
		case <-b.wake:
		case <-finish:
		case <-exit.leaving:
		case <-stop:
		case <-cancel:
			canceled = true
		}
		x.mu.Lock()
		b.idle-- // a wake-up that a canceled consumer has not received stays for another one
		x.mu.Unlock()
		if canceled {
			return
		}
	}
}

// makeWakeups makes the channels that wake consumers. The caller holds the lock.
func (b *inbox) makeWakeups() {
	if b.wake == nil {
		b.wake, b.over = make(chan struct{}, 1), make(chan struct{})
	}
}

// fill moves messages to c, as many as there is room for.
func (b *inbox) fill(c *chunk) {
	x := b.all
	if b.used.qos0 > x.highWater/2 {
		x.consumed++
	}
	timed := len(x.times) > 0 || c.times != nil
	for b.line.Head != 0 && !c.full() {
		s := &x.slots[b.line.Head]
		n := cost(&s.delivery)
		c.messages--
		c.bytes -= n
		c.deliveries = append(c.deliveries, s.delivery)
		if timed {
			c.stamp(x.arrivedAt(b.line.Head))
		}
		if c.lends {
			x.buffers.lend(s.buffer, len(s.delivery.Payload))
			c.borrow(x.buffers, s.buffer)
		} else {
			x.buffers.keep(s.buffer, len(s.delivery.Payload))
		}
		x.unlink(b.line.Head, n)
	}
}

// wakeOther wakes a consumer that waits for requeued messages, since there are none left.
func (b *inbox) wakeOther() {
	if b.idle > 0 && b.wake != nil {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// wakeNext wakes another consumer if messages are left.
func (b *inbox) wakeNext() {
	if b.count > 0 && b.idle > 0 {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// done ends the use of a chunk, of which the first messages were handed over. The others return to
// the inbox.
func (b *inbox) done(c *chunk, handed int) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.holders--
	b.all.holders--
	if rest := c.deliveries[handed:]; c.times == nil {
		b.putBack(rest, nil)
	} else {
		b.putBack(rest, c.times.arrived[handed:])
	}
	b.checkServed()
	if b.finished && b.all.holders == 0 {
		b.all.life.wake() // the session may end now
	}
}

// putBack returns messages that were taken and not handed over to the inbox. Each gets its place by
// order of arrival, since another consumer may have put back earlier ones. After Unsubscribe the
// messages are acknowledged and dropped. They keep the times at which they arrived, if these are
// known. The caller holds the lock.
func (b *inbox) putBack(rest []Delivery, arrived []time.Duration) {
	if len(rest) == 0 {
		return
	}
	x := b.all
	if b.left.Load() {
		for i := range rest {
			x.discarded++
			x.hands.forget(rest[i].seq)
			rest[i].Ack()
		}
		return
	}
	for k := len(rest) - 1; k >= 0; k-- {
		i := x.alloc(b, &rest[k], cost(&rest[k]))
		if len(arrived) > 0 {
			x.stamp(i, arrived[k])
		} else if x.hands.wanted() { // the message was in the buffer of a channel
			x.stamp(i, x.hands.now())
		}
		x.insert(&b.line, x.byInbox, i)
		if rest[k].QoS == frames.AtMostOnce {
			x.insert(&x.qos0, x.byAge, i)
		}
	}
	x.makeRoom(0)
	b.wakeNext()
	x.life.wake() // Shutdown counts the messages that were not handed over
}
