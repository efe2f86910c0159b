package stream

import "slices"

// The methods here end a Subscription at the request of its user: Unsubscribe ends it at once, and
// Drain after it has handed over the messages that have arrived.

// An exit is the part of an inbox that its end needs. It is guarded by inboxes.mu.
type exit struct {
	leaving chan struct{} // closed when inbox.left is set; made with the first channel
	buffers []buffer      // of the channels that have one
	served  chan struct{} // for Drain: closed when finished and no consumer can get another message
}

// exits returns the exit of the inbox, and makes it first if there is none. The caller holds the
// lock.
func (b *inbox) exits() *exit {
	if b.exit == nil {
		b.exit = new(exit)
	}
	return b.exit
}

// leave marks the inbox of a Subscription that is unsubscribed. From now on its consumers get no
// message.
func (b *inbox) leave() {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if !b.left.Swap(true) && b.exits().leaving != nil {
		close(b.exit.leaving)
	}
}

// discard drops the messages that nobody has received, calls dropped for each, and closes the
// channels.
func (b *inbox) discard(dropped func(*Delivery)) {
	b.leave()
	b.recall()
	b.all.drop(b, func(*slot) bool { return true }, dropped)
	b.all.dropPostponed(b, dropped)
	b.finish(nil)
}

// leavingChannel returns a channel that is closed when the Subscription is unsubscribed.
func (b *inbox) leavingChannel() <-chan struct{} {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	exit := b.exits()
	if exit.leaving == nil {
		exit.leaving = make(chan struct{})
		if b.left.Load() {
			close(exit.leaving)
		}
	}
	return exit.leaving
}

// checkServed closes served when no consumer can get another message, and none holds a chunk. The
// caller holds the lock.
func (b *inbox) checkServed() {
	if b.exit != nil && b.exit.served != nil && b.finished && b.line.Head == 0 && b.holders == 0 && b.later == 0 {
		select {
		case <-b.exit.served:
		default:
			close(b.exit.served)
		}
	}
}

// servedChannel returns a channel that is closed when every message was handed over to a channel or
// a range loop. The buffers of channels may still hold some of them; see buffered.
func (b *inbox) servedChannel() <-chan struct{} {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if b.exits().served == nil {
		b.exit.served = make(chan struct{})
		b.checkServed()
	}
	return b.exit.served
}

// A buffer is the buffer of a receive channel. Its messages were sent and not received.
type buffer struct {
	count func() int
	next  func() (d Delivery, ok bool) // receives a message, as a consumer does
}

func (b *inbox) addBuffer(f buffer) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	e := b.exits()
	e.buffers = append(e.buffers, f)
}

// recall puts back the messages in the buffers of the channels.
func (b *inbox) recall() {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	for _, f := range b.exits().buffers {
		for d, ok := f.next(); ok; d, ok = f.next() {
			b.putBack([]Delivery{d}, nil)
		}
	}
}

// keepBuffered records that a channel closes with messages in its buffer. Shutdown takes back the
// messages that nobody has received by then.
func (b *inbox) keepBuffered() {
	x := b.all
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = slices.DeleteFunc(x.closed, func(c *inbox) bool { return c == b || c.inBuffers() == 0 })
	if b.inBuffers() > 0 {
		x.closed = append(x.closed, b)
	}
}

// buffered returns how many messages wait in the buffers of the channels.
func (b *inbox) buffered() int {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	return b.inBuffers()
}

// inBuffers is buffered for a caller that holds the lock.
func (b *inbox) inBuffers() (n int) {
	for _, f := range b.exits().buffers {
		n += f.count()
	}
	return n
}
