package stream

import (
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// boxes holds what was received and not yet handed over, for all inboxes of a
// session together: one lock, one limit, one slab. The loop puts a whole read
// in under one lock; consumers take up to a chunk.
type boxes struct {
	limit int    // ReceiveBytes
	crowd int    // bytes from which on consumers at work are not to be flooded
	poke  func() // tells the loop that there is room again

	mu      sync.Mutex
	nodes   []node // slot 0 stays unused
	free    []int32
	zeros   chain // QoS 0 of all inboxes, oldest first
	bytes   int
	count   int
	dropped uint64
	full    bool          // reading pauses until there is room
	crowded bool          // reading rests until there is more room
	bites   uint64        // takings from an inbox that crowds them by itself
	stop    chan struct{} // closed when nothing is handed out any more
	stopped bool
	awake   []*inbox // have consumers to wake when the lock is left
}

type node struct {
	delivery Delivery
	box      *inbox
	shared   bool // other Subscriptions have copies
	claimed  bool // it had waited before its Subscription came
	links    [2]struct{ prev, next int32 }
}

const (
	byBox = iota
	byAge
)

// chain is a list through the slab, over one of the two pairs of links.
type chain struct {
	by         int
	head, tail int32
}

func (b *boxes) pushBack(c *chain, i int32) {
	b.nodes[i].links[c.by].prev, b.nodes[i].links[c.by].next = c.tail, 0
	if c.tail != 0 {
		b.nodes[c.tail].links[c.by].next = i
	} else {
		c.head = i
	}
	c.tail = i
}

func (b *boxes) pushFront(c *chain, i int32) {
	b.nodes[i].links[c.by].prev, b.nodes[i].links[c.by].next = 0, c.head
	if c.head != 0 {
		b.nodes[c.head].links[c.by].prev = i
	} else {
		c.tail = i
	}
	c.head = i
}

func (b *boxes) unlink(c *chain, i int32) {
	l := b.nodes[i].links[c.by]
	if l.prev != 0 {
		b.nodes[l.prev].links[c.by].next = l.next
	} else {
		c.head = l.next
	}
	if l.next != 0 {
		b.nodes[l.next].links[c.by].prev = l.prev
	} else {
		c.tail = l.prev
	}
}

// maxCrowd keeps consumers busy over a rest of reading. More in the inboxes would
// do no good.
const maxCrowd = 1 << 20

func newBoxes(limit int, poke func()) *boxes {
	return &boxes{
		limit: limit, crowd: min(limit/2, maxCrowd), poke: poke,
		zeros: chain{by: byAge},
		stop:  make(chan struct{}),
	}
}

// overhead is what a message costs beside its payload and topic.
const overhead = 128

func cost(d *Delivery) int { return len(d.Payload) + len(d.Topic) + overhead }

// push appends d to an inbox. Called by the loop between lock and unlock. When
// there is no room, the oldest QoS 0 messages go; QoS 1 and 2 are never dropped.
func (b *boxes) push(box *inbox, d *Delivery, shared bool) {
	if size := cost(d); b.bytes+size > b.limit {
		b.makeRoom(size)
		if b.bytes+size > b.limit && d.QoS == frames.AtMostOnce {
			b.dropped++
			return
		}
	}
	i := b.alloc(box, d)
	b.nodes[i].shared = shared
	b.pushBack(&box.line, i)
	if d.QoS == frames.AtMostOnce {
		b.pushBack(&b.zeros, i)
	}
	if box.idle > 0 && !box.woken {
		box.woken = true
		b.awake = append(b.awake, box)
	}
}

// makeRoom drops QoS 0 messages, the oldest first, until size more bytes are
// within the limit or there are none left.
func (b *boxes) makeRoom(size int) {
	for b.bytes+size > b.limit && b.zeros.head != 0 {
		b.remove(b.zeros.head)
		b.dropped++
	}
}

func (b *boxes) alloc(box *inbox, d *Delivery) int32 {
	var i int32
	if n := len(b.free); n > 0 {
		i = b.free[n-1]
		b.free = b.free[:n-1]
	} else {
		if len(b.nodes) == 0 {
			b.nodes = append(b.nodes, node{})
		}
		b.nodes = append(b.nodes, node{})
		i = int32(len(b.nodes) - 1)
	}
	n := &b.nodes[i]
	n.delivery, n.box = *d, box
	size := cost(d)
	b.bytes += size
	box.bytes += size
	b.count++
	box.count++
	return i
}

// remove takes a node out of every list and gives its room back.
func (b *boxes) remove(i int32) {
	n := &b.nodes[i]
	b.unlink(&n.box.line, i)
	if n.delivery.QoS == frames.AtMostOnce {
		b.unlink(&b.zeros, i)
	}
	size := cost(&n.delivery)
	b.bytes -= size
	n.box.bytes -= size
	b.count--
	n.box.count--
	*n = node{}
	b.free = append(b.free, i)
}

// unlock leaves the lock and wakes the consumers that have something to take.
func (b *boxes) unlock() {
	awake := b.awake
	b.awake = b.awake[:0]
	for _, box := range awake {
		box.woken = false
		select {
		case box.wake <- struct{}{}:
		default:
		}
	}
	b.mu.Unlock()
}

// check reports whether more than so many limits are in use, so that reading must
// pause, and whether the inboxes are crowded. It remembers both, so that the
// consumer who makes room tells the loop.
func (b *boxes) check(limits int) (full, crowded bool, bites uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = b.bytes/limits > b.limit
	b.crowded = b.bytes > b.crowd || b.crowded && b.bytes > b.crowd/2 // or it would begin anew with each read
	return b.full, b.crowded, b.bites
}

// room reports, once, that reading may go on.
func (b *boxes) room() bool {
	switch {
	case b.full && b.bytes <= b.limit:
		b.full = false
		return true
	case b.crowded && b.bytes <= b.crowd/2:
		b.crowded = false
		return true
	}
	return false
}

// stopAll ends all handing out. What is in the inboxes stays there, unsettled.
func (b *boxes) stopAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped {
		b.stopped = true
		close(b.stop)
	}
}

// each visits what is in the inboxes.
func (b *boxes) each(visit func(*Delivery)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.nodes {
		if n := &b.nodes[i]; n.box != nil {
			visit(&n.delivery)
		}
	}
}

// purge removes what must not be handed over.
func (b *boxes) purge(unwanted func(*inbox, *Delivery) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.nodes {
		if n := &b.nodes[i]; n.box != nil && unwanted(n.box, &n.delivery) {
			b.remove(int32(i))
		}
	}
	if b.room() {
		b.poke()
	}
}

// drop removes what is unwanted from an inbox and settles it.
func (b *boxes) drop(box *inbox, unwanted func(*node) bool, settle func(*Delivery)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := box.line.head; i != 0; {
		next := b.nodes[i].links[byBox].next
		if unwanted(&b.nodes[i]) {
			d := b.nodes[i].delivery
			b.remove(i)
			settle(&d)
		}
		i = next
	}
	if b.room() {
		b.poke()
	}
}

// move passes what suits from one inbox to another, in order.
func (b *boxes) move(from, to *inbox, suits func(*Delivery) bool) {
	b.mu.Lock()
	defer b.unlock()
	for i := from.line.head; i != 0; {
		next := b.nodes[i].links[byBox].next
		if suits(&b.nodes[i].delivery) {
			size := cost(&b.nodes[i].delivery)
			b.unlink(&from.line, i)
			from.count--
			from.bytes -= size
			b.nodes[i].box, b.nodes[i].claimed = to, true
			b.pushBack(&to.line, i)
			to.count++
			to.bytes += size
		}
		i = next
	}
	if to.idle > 0 && to.count > 0 && !to.woken {
		to.woken = true
		b.awake = append(b.awake, to)
	}
}

// shrink gives the memory of empty inboxes back.
func (b *boxes) shrink() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == 0 {
		b.nodes, b.free = nil, nil
	}
}
