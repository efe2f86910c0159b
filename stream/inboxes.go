package stream

import (
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// inboxes hold the messages that were received and not yet handed over. All Subscriptions of a
// session share one lock, one limit and one array of slots. The loop locks once to add the messages
// of a read, and a consumer locks once to take a chunk of messages.
//
// Invariant: used and count are the sums over all slots in use and all postponed deliveries. The
// messages of a line are in order of arrival.
type inboxes struct {
	limit     int // ReceiveBytes, for QoS 0
	highWater int // in bytes; see throttle
	life      *life
	unclaimed *inbox   // messages that no Subscription claims
	acks      *ackList // of all deliveries

	mu sync.Mutex
	slab
	tally
	buffers *readBuffers // made with the first message
	losses
	arrived    uint32       // the number of the newest message, see Delivery.arrivedBefore
	consumed   uint64       // takes from an inbox above half of highWater
	wakeAt     usage        // wake the loop, once, when used reaches it
	bufferSize int          // of the present read buffer, while buffers is nil
	spares     spareBuffers // for the reader
	wakeable   []*inbox     // have consumers to be woken when the lock is left
	earlier    earlierSlots // of messages that the broker may send again
	postponed  *postponed   // made with the first call of Requeue
	latest     latestFigures
	hands      *handovers
	arrivesAt  time.Duration // the time of the messages being pushed, 0 if it is not wanted
	handing
}

// handing is the state of handing out.
type handing struct {
	holders int           // consumers of all inboxes that hold a chunk
	stopped bool          // nothing is handed out any more
	stop    chan struct{} // closed when stopped; made with the first consumer
	closed  []*inbox      // whose channels may be closed with messages in their buffers
}

// losses count messages that are not handed over.
type losses struct {
	dropped    uint64 // QoS 0, for lack of room
	discarded  uint64 // of a Subscription that was unsubscribed, or of Latest at its end
	superseded uint64 // by newer messages of a channel of Latest
}

func newInboxes(limit, highWater int, l *life) *inboxes {
	b := &inboxes{limit: limit, highWater: highWater, life: l, wakeAt: noUsage}
	b.unclaimed = b.newInbox()
	b.acks = &ackList{wake: l.waker}
	b.hands = new(handovers)
	return b
}

// lock acquires the lock of the inboxes, so that the loop can push the messages of a read.
func (b *inboxes) lock() { b.mu.Lock() }

// lockAt is lock for messages that arrive at the time now.
func (b *inboxes) lockAt(now time.Duration) {
	b.mu.Lock()
	b.arrivesAt = b.hands.arrivesAt(now)
}

// readInto records that the payloads that arrive from now on lie in a new read buffer, and that the
// reader does not use the buffer before it any more.
func (b *inboxes) readInto(buffer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buffers == nil {
		b.bufferSize = len(buffer)
		return
	}
	b.buffers.begin(len(buffer), buffer)
}

// unlock wakes the consumers of inboxes with new messages, and releases the lock.
func (b *inboxes) unlock() {
	b.compact()
	wakeable := b.wakeable
	b.wakeable = b.wakeable[:0]
	for _, box := range wakeable {
		box.waking = false
		select {
		case box.wake <- struct{}{}:
		default:
		}
	}
	b.mu.Unlock()
}

// push appends d to an inbox. It is called between lock and unlock. When there is no room for a
// QoS 0 message, the oldest QoS 0 messages are dropped. QoS 1 and 2 messages are never dropped. It
// returns false if the Subscription was unsubscribed, which drops the message.
func (b *inboxes) push(box *inbox, d *Delivery, shared bool) (ok bool) {
	if box.left.Load() {
		b.discarded++
		return false
	}
	n := cost(d)
	if d.QoS == frames.AtMostOnce {
		b.makeRoom(n)
	}
	i := b.alloc(box, d, n)
	if b.buffers == nil {
		b.buffers = &readBuffers{all: make([]readBuffer, 1), size: b.bufferSize, spares: &b.spares}
	}
	b.arrived++
	s := &b.slots[i]
	s.delivery.order = b.arrived
	s.shared, s.buffer = shared, b.buffers.hold(len(d.Payload))
	box.line.PushBack(b.byInbox, i)
	if d.QoS == frames.AtMostOnce {
		b.qos0.PushBack(b.byAge, i)
	}
	if b.arrivesAt != 0 {
		b.stamp(i, b.arrivesAt)
		b.hands.expect(d)
	}
	b.wakeLater(box)
	return true
}

// unpostpone removes a delivery that was postponed from the figures. The caller holds the lock.
func (b *inboxes) unpostpone(r *requeue) {
	d, box := &r.delivery, r.delivery.from
	n := cost(d)
	b.subtract(d.QoS, n)
	box.subtract(d.QoS, n)
	box.later--
}

// wakeLater adds box to wakeable if a consumer waits there, so that unlock wakes the consumer.
func (b *inboxes) wakeLater(box *inbox) {
	if box.idle > 0 && !box.waking {
		box.waking = true
		b.wakeable = append(b.wakeable, box)
	}
}

// makeRoom drops QoS 0 messages, the oldest first, until size more bytes fit or no QoS 0 message is
// left. So a message that is larger than the limit waits alone.
func (b *inboxes) makeRoom(size int) {
	for b.used.qos0+size > b.limit {
		switch at, head := b.postponed.oldest(), b.qos0.Head; {
		case at >= 0 && (head == 0 || b.postponed.list[at].delivery.arrivedBefore(&b.slots[head].delivery)):
			r := b.postponed.take(at)
			b.unpostpone(&r)
			r.delivery.from.noneLater()
		case head != 0:
			b.remove(head)
		default:
			return
		}
		b.dropped++
	}
}

// alloc puts d, which counts with n bytes, into a slot.
func (b *inboxes) alloc(box *inbox, d *Delivery, n int) int32 {
	i := b.take()
	s := &b.slots[i]
	s.delivery = *d
	s.delivery.from = box
	b.add(d.QoS, n)
	box.add(d.QoS, n)
	return i
}

// remove deletes the message in slot i, which nobody uses any more.
func (b *inboxes) remove(i int32) {
	s := &b.slots[i]
	b.buffers.release(s.buffer, len(s.delivery.Payload))
	b.unlink(i, cost(&s.delivery))
}

// unlink deletes slot i, whose message counts with n bytes, from every list and frees the slot.
func (b *inboxes) unlink(i int32, n int) {
	s := &b.slots[i]
	box, q := s.delivery.from, s.delivery.QoS
	box.line.Remove(b.byInbox, i)
	if q == frames.AtMostOnce {
		b.qos0.Remove(b.byAge, i)
	}
	b.subtract(q, n)
	box.subtract(q, n)
	b.release(i)
}

// measure calls decide with the usage and the count consumed. When the usage has fallen to the mark
// that decide returns, the consumer that took the last of these bytes wakes the loop, once. For
// noUsage no consumer does.
func (b *inboxes) measure(decide func(used usage, consumed uint64) (wakeAt usage)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakeAt = decide(b.used, b.consumed)
}

// wakeLoop wakes the loop, once, if the usage has fallen to wakeAt.
func (b *inboxes) wakeLoop() {
	if b.used.reaches(b.wakeAt) {
		b.wakeAt = noUsage
		b.life.wake()
	}
}

// stopping returns a channel that is closed when nothing is handed out any more.
func (b *inboxes) stopping() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopChannel()
}

// stopChannel is stopping for a caller that holds the lock.
func (b *inboxes) stopChannel() <-chan struct{} {
	if b.stop == nil {
		b.stop = make(chan struct{})
		if b.stopped {
			close(b.stop)
		}
	}
	return b.stop
}

// stopAll ends all delivery to consumers. The messages stay in the inboxes, unacknowledged. Feeders
// return the messages in the buffers of their channels to the inboxes.
func (b *inboxes) stopAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		b.stopped = true
		if b.stop != nil {
			close(b.stop)
		}
	}
}

// recallClosed returns the messages in the buffers of closed channels to their inboxes.
func (b *inboxes) recallClosed() {
	for _, box := range b.takeClosed() {
		box.recall()
	}
}

func (b *inboxes) takeClosed() []*inbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	closed := b.closed
	b.closed = nil
	return closed
}

// shrink frees the memory of the inboxes if all of them are empty.
func (b *inboxes) shrink() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == 0 {
		b.slab = slab{}
		if b.buffers != nil {
			b.bufferSize, b.buffers = b.buffers.size, nil
		}
		b.earlier = earlierSlots{}
		b.spares.drop()
	}
}

// waiting returns how many messages wait, requeued ones included, plus the number of consumers that
// hold messages not yet handed over.
func (b *inboxes) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count + b.holders + b.acks.requeued()
}

// snapshot sets the fields of st that concern the inboxes.
func (b *inboxes) snapshot(st *Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st.HandedOver, st.Dropped, st.Superseded = b.hands.count.Load(), b.dropped, b.superseded
	st.Discarded += b.discarded
	st.Inbox, st.InboxBytes = b.count+b.latest.count, b.used.total()+b.latest.bytes
	st.UnreadBytes, st.InboxMemory = b.used.unread, st.InboxBytes+b.buffers.unused()
	st.Unclaimed = b.unclaimed.count
}

// compact copies the messages that lie in sparse buffers, if the unused memory is more than all
// messages count with. So the inboxes hold at most twice the memory that they count, and
// sparseBytes. The buffer that is being filled stays, since it has at most 64 KiB to be filled. The
// caller holds the lock.
func (b *inboxes) compact() {
	if b.buffers.unused() <= b.used.total()+sparseBytes {
		return
	}
	r := b.buffers
	reading, size, memory := r.current, r.size, r.memory
	sparse := func(i int32) bool { return i != reading && r.all[i].sparse() }
	missing := 0 // bytes still to be copied
	for i := range r.all {
		if sparse(int32(i)) {
			missing += r.all[i].live
		}
	}
	r.current, r.memory = 0, nil
	var room []byte
	for i := range b.slots {
		s := &b.slots[i]
		if s.buffer == 0 || !sparse(s.buffer) {
			continue
		}
		n := len(s.delivery.Payload)
		if cap(room)-len(room) < n {
			r.begin(max(n, min(missing, compactBytes)), nil)
			room = make([]byte, 0, r.size)
		}
		old := s.buffer
		s.buffer = r.hold(n)
		room = append(room, s.delivery.Payload...)
		s.delivery.Payload = room[len(room)-n : len(room) : len(room)]
		missing -= n
		r.release(old, n)
	}
	r.current, r.size, r.memory = reading, size, memory
}
