package stream

import (
	"cmp"
	"context"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// LatestOptions say which messages Latest keeps.
type LatestOptions struct {
	// N is how many messages are kept, at least 1; 0 is 1.
	N int

	// PerTopic keeps the newest N messages of each topic, instead of the newest N of all.
	PerTopic bool
}

func (o LatestOptions) check() error {
	if o.N < 1 {
		return link.BadOption("N", "%d is below 1", o.N)
	}
	return nil
}

// Latest returns a channel of the newest messages. Each message is acknowledged when it arrives.
func (b *inbox) Latest(o LatestOptions) <-chan frames.Message {
	o.N = cmp.Or(o.N, 1)
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if ch, ok := b.latest[o]; ok {
		return ch
	}
	ch := make(chan frames.Message)
	if err := o.check(); err != nil {
		b.misuse = err
		close(ch)
		return ch
	}
	if b.latest == nil {
		b.latest = make(map[LatestOptions]chan frames.Message)
	}
	b.begins()
	b.latest[o] = ch
	f := &latestFeed{inbox: b, ch: ch, held: newNewest(o.N, b.all.limit, o.PerTopic), chunk: chunk{lends: true}}
	if !b.all.life.start(feeder, f.run) {
		close(ch)
	}
	return ch
}

// A latestFeed is the goroutine that sends to one channel of Latest.
//
// Invariant: it counts as a consumer that holds a chunk while it holds messages, so that Drain and
// the end of the session wait for them. The figures of counted are part of inboxes.latest.
type latestFeed struct {
	inbox   *inbox
	ch      chan<- frames.Message
	held    *newest
	chunk   chunk
	counted latestFigures
}

// latestFigures count the messages that the channels of Latest hold.
type latestFigures struct{ count, bytes int }

// run sends messages, and closes the channel at the end.
func (f *latestFeed) run() {
	defer close(f.ch)
	for {
		f.makeRoom()
		if f.inbox.takeInto(nil, &f.chunk); len(f.chunk.deliveries) == 0 {
			return
		}
		f.keep()
		f.offer()
		if n := f.held.count; n > 0 {
			f.held = newNewest(f.held.max, f.held.limit, f.held.perTopic)
			f.count(losses{discarded: uint64(n)})
		}
		f.inbox.done(&f.chunk, 0)
	}
}

// maxCatchUp is how many chunks a feeder takes before it offers a message although more messages
// wait. So it hands over messages even while they arrive as fast as it takes them.
const maxCatchUp = 64

// offer sends the messages, and takes those that arrive meanwhile, until it holds none or the inbox
// ends. It first takes all messages that wait, since they may supersede the one to be sent. While
// a send waits, an arrival ends the wait, so no receive gets a message that was superseded before.
func (f *latestFeed) offer() {
	b := f.inbox
	stop, leaving := b.all.stopping(), b.leavingChannel()
	for taken := 0; f.held.count > 0 && !b.left.Load() && !isOver(stop, context.Background()); {
		f.makeRoom()
		more, _ := b.topUp(&f.chunk)
		if len(f.chunk.deliveries) > 0 {
			b.toppedUp(more)
			f.keep()
			if taken++; taken%maxCatchUp == 0 {
				select {
				case f.ch <- f.held.first():
					f.sent()
				default:
				}
			}
			continue
		}
		taken = 0
		select {
		case f.ch <- f.held.first():
			f.sent()
		case <-more:
		case <-leaving:
		case <-stop:
		}
		b.toppedUp(more)
	}
}

func (f *latestFeed) makeRoom() { f.chunk.empty(chunkMessages, chunkBytes) }

// keep acknowledges the messages of the chunk and keeps the newest. Only those are copied, and the
// read buffers are given back.
func (f *latestFeed) keep() {
	c, superseded := &f.chunk, 0
	Batch(c.deliveries).Ack()
	for i := range c.deliveries {
		d := &c.deliveries[i]
		superseded += f.held.add(&d.Message, cost(d))
		if f.chunk.times != nil {
			f.held.last().arrived = f.chunk.times.arrived[i]
		}
	}
	f.held.cloneBorrowed()
	f.inbox.giveBack(c, false)
	clear(c.deliveries)
	c.deliveries = c.deliveries[:0]
	f.count(losses{superseded: uint64(superseded)})
}

// sent removes the message that was received.
func (f *latestFeed) sent() {
	sent := f.held.pop()
	f.inbox.all.hands.message(f.chunk.times, &sent)
	f.count(losses{})
}

// count adds to the losses of the session, and brings its figures up to date.
func (f *latestFeed) count(lost losses) {
	x := f.inbox.all
	x.mu.Lock()
	defer x.mu.Unlock()
	x.superseded += lost.superseded
	x.discarded += lost.discarded
	x.latest.count += f.held.count - f.counted.count
	x.latest.bytes += f.held.bytes - f.counted.bytes
	f.counted = latestFigures{f.held.count, f.held.bytes}
}
