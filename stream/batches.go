package stream

import (
	"time"

	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A Batch is a number of deliveries that belong together because they arrived one after another.
// Every []Delivery can be converted to a Batch.
type Batch []Delivery

// Ack acknowledges all deliveries, each at its own client. It does the same as a call of Ack for
// each of them, in less time.
func (b Batch) Ack() {
	for i := 0; i < len(b); {
		if b[i].seq == 0 {
			i++
			continue
		}
		i += b[i].from.all.acks.addRun(b[i:])
	}
}

// addRun acknowledges the deliveries at the beginning of run that belong to this list, and returns
// their number.
func (a *ackList) addRun(run []Delivery) (n int) {
	a.mu.Lock()
	before := len(a.seqs)
	for ; n < len(run) && (run[n].seq == 0 || run[n].from.all.acks == a); n++ {
		d := &run[n]
		if d.seq != 0 && !a.closed && (len(a.turns) == 0 || a.turns[d.seq] == d.turn) {
			a.seqs = append(a.seqs, d.seq)
		}
	}
	wakes := before == 0 && len(a.seqs) > 0
	a.mu.Unlock()
	if wakes {
		a.wake()
	}
	return n
}

// fullBatch is the size at which a Batch is handed over although it has room for more messages.
// The bytes are counted as for ReceiveBytes, which does not count the messages of the Batch.
const fullBatch = 4 << 20

// batching has the arguments of a call of Batches.
type batching struct {
	max  int
	wait time.Duration
}

func (g batching) check() error {
	switch {
	case g.max < 1:
		return link.BadOption("max", "%d is below 1", g.max)
	case g.wait < 0:
		return link.BadOption("wait", "%v is below 0", g.wait)
	}
	return nil
}

// Batches returns a channel of Batches of at most max messages. A Batch is handed over when it is
// full, and at the latest when the time wait has passed since its first message.
func (b *inbox) Batches(max int, wait time.Duration) <-chan Batch {
	g := batching{max, wait}
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if ch, ok := b.batches[g]; ok {
		return ch
	}
	ch := make(chan Batch)
	if err := g.check(); err != nil {
		b.misuse = err
		close(ch)
		return ch
	}
	if b.batches == nil {
		b.batches = make(map[batching]chan Batch)
	}
	b.begins()
	b.batches[g] = ch
	if !b.all.life.start(feeder, func() { b.feedBatches(ch, g) }) {
		close(ch)
	}
	return ch
}

// feedBatches sends Batches to ch, and closes ch at the end.
func (b *inbox) feedBatches(ch chan<- Batch, g batching) {
	defer close(ch)
	var c chunk
	for {
		c.deliveries = make([]Delivery, 0, len(c.deliveries))
		c.empty(g.max, fullBatch)
		if b.takeInto(nil, &c); len(c.deliveries) == 0 {
			return
		}
		handed := 0
		if b.offer(ch, &c, g.wait) {
			handed = len(c.deliveries)
		}
		b.all.hands.over(&c, handed)
		b.done(&c, handed)
	}
}

// offer sends a Batch when it is full or the time wait has passed. Until somebody receives the
// Batch, messages that arrive are added to it. It returns false if the inbox ends before the Batch
// is received.
func (b *inbox) offer(ch chan<- Batch, c *chunk, wait time.Duration) (sent bool) {
	stop, leaving := b.all.stopping(), b.leavingChannel()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for due := wait == 0; !sent && !b.left.Load(); {
		more, over := b.topUp(c)
		var out chan<- Batch
		if due = due || c.full() || over == nil; due {
			out = ch
		}
		if t := c.times; t != nil {
			t.copies = append(t.copies, c.deliveries[len(t.copies):]...)
		}
		select {
		case out <- c.deliveries:
			sent = true
		case <-more:
		case <-over:
		case <-timer.C:
			due = true
		case <-leaving:
		case <-stop:
			b.toppedUp(more)
			return false
		}
		b.toppedUp(more)
	}
	return sent
}

// topUp adds messages that wait to c. If there is room for more, the caller counts as a waiting
// consumer from now until it calls toppedUp: the channel more then wakes it. The channel over is
// closed when the inbox gets no more messages; it is nil if that is known.
func (b *inbox) topUp(c *chunk) (more, over <-chan struct{}) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if !b.all.stopped {
		b.fill(c)
		b.all.compact()
		b.all.wakeLoop()
		b.wakeNext()
	}
	b.makeWakeups()
	if !c.full() {
		b.idle++
		more = b.wake
	}
	if !b.finished {
		over = b.over
	}
	return more, over
}

func (b *inbox) toppedUp(more <-chan struct{}) {
	if more == nil {
		return
	}
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.idle--
}
