package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
)

// A torturedConsumer receives the messages of all publishers.
type torturedConsumer struct {
	tortured
	record *reader
	most   int // Receive Maximum
}

// torturedUnread is a MaxUnread that a sleeping consumer reaches.
const torturedUnread = 256 << 10

// begin begins a life and subscribes, mostly at once.
func (c *torturedConsumer) begin(ctx context.Context) (life, *mqtt.Subscription) {
	l := c.open(mqtt.Options{MaxUnread: torturedUnread, SlowConsumer: -1, V5: mqtt.OptionsV5{ReceiveMaximum: c.most}})
	c.ledger.ends(c.record, false)
	if c.random.IntN(4) == 0 {
		<-time.After(time.Duration(c.random.IntN(300)) * time.Millisecond)
	}
	filter := mqtt.Filter{Topic: "torture/#", QoS: mqtt.ExactlyOnce}
	if c.random.IntN(2) == 0 {
		sub, err := l.Declare(filter)
		if err != nil {
			c.t.Errorf("%s: Declare: %v", c.name, err)
		}
		return l, sub
	}
	for {
		short, cancel := context.WithTimeout(ctx, time.Duration(50+c.random.IntN(1000))*time.Millisecond)
		sub, err := l.Subscribe(short, filter)
		cancel()
		if err == nil {
			return l, sub
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, mqtt.ErrBehind) || ctx.Err() != nil {
			c.t.Errorf("%s: Subscribe: %v", c.name, err)
			return l, nil
		}
	}
}

// live begins a life and consumes until stop is closed, or for a random time.
func (c *torturedConsumer) live(ctx context.Context, stop <-chan struct{}) {
	n := c.random.IntN(3)
	c.ledger.begins(c.record, n == 0)
	l, sub := c.begin(ctx)
	if sub == nil {
		l.Close()
		return
	}
	way := []func(*mqtt.Subscription, *rand.Rand){c.messages, c.deliveries, c.ranges}[n]
	random := rand.New(rand.NewPCG(c.random.Uint64(), 0))
	var consuming sync.WaitGroup
	consuming.Go(func() { way(sub, random) })
	timeout := time.After(time.Duration(100+c.random.IntN(3000)) * time.Millisecond)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for alive := true; alive; {
		select {
		case <-stop:
			alive = false
		case <-timeout:
			alive = false
		case <-tick.C:
			c.bounds(l.Stats())
		}
	}
	c.ledger.ends(c.record, true)
	number := c.lives
	c.end(l, func() { c.ledger.forget(c.record, number) })
	consuming.Wait()
}

// bounds checks the memory of the messages that wait.
func (c *torturedConsumer) bounds(st mqtt.Stats) {
	if st.Paused {
		c.ledger.count("looks at a consumer whose reading pauses")
	}
	const read = 256 << 10 // the bytes that may arrive in the last reads before reading stops
	if st.UnreadBytes > torturedUnread+read || st.InboxMemory > 2*st.InboxBytes+read {
		c.t.Errorf("%s: %d bytes unread, %d in memory for %d in the inbox", c.name, st.UnreadBytes, st.InboxMemory, st.InboxBytes)
	}
}

// sleeps lets a consumer be slow now and then.
func sleeps(random *rand.Rand) {
	switch random.IntN(400) {
	case 0:
		<-time.After(time.Duration(random.IntN(400)) * time.Millisecond)
	case 1, 2, 3, 4, 5:
		<-time.After(time.Millisecond)
	}
}

// messages acknowledges each message by receiving it.
func (c *torturedConsumer) messages(sub *mqtt.Subscription, random *rand.Rand) {
	for m := range sub.Messages() {
		c.ledger.got(c.record, c.lives, m, true)
		sleeps(random)
	}
}

// deliveries acknowledges several deliveries at a time, in any order.
func (c *torturedConsumer) deliveries(sub *mqtt.Subscription, random *rand.Rand) {
	var held []mqtt.Delivery
	settle := func() {
		random.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		for _, d := range held {
			k, _ := markOf(d.Message)
			c.ledger.acks(c.record, k)
			d.Ack()
			c.ledger.acked(c.record, k, false)
		}
		held = held[:0]
	}
	in := sub.Deliveries()
	for {
		select {
		case d, ok := <-in:
			if !ok {
				return
			}
			c.ledger.got(c.record, c.lives, d.Message, false)
			if held = append(held, d); random.IntN(10) == 0 {
				settle()
			}
			sleeps(random)
		case <-time.After(5 * time.Millisecond):
			settle()
		}
	}
}

// ranges leaves its range loop now and then, and puts messages back.
func (c *torturedConsumer) ranges(sub *mqtt.Subscription, random *rand.Rand) {
	for again := true; again; {
		again = false
		var last *mark // its ack is due when the loop asks for the next message
		for d, err := range sub.All(context.Background()) {
			if last != nil {
				c.ledger.acked(c.record, *last, false)
			}
			if last = nil; err != nil {
				break
			}
			k := c.ledger.got(c.record, c.lives, d.Message, false)
			sleeps(random)
			switch random.IntN(100) {
			case 0: // leaves, and acknowledges the message itself
				c.ledger.acks(c.record, k)
				d.Ack()
				c.ledger.acked(c.record, k, false)
				again = true
			case 1:
				c.ledger.acked(c.record, k, true) // first, since it may come back at once
				d.Requeue(time.Duration(random.IntN(20)) * time.Millisecond)
			default:
				c.ledger.acks(c.record, k)
				last = &k
			}
			if again {
				break
			}
		}
	}
}

// finish begins the last life, in which all messages that the broker still has are handed over.
func (c *torturedConsumer) finish(ctx context.Context) {
	missing := make(map[mark]bool)
	for _, k := range c.ledger.missing(c.record) {
		missing[k] = true
	}
	silence := tortureSilence
	if c.ledger.excuse.loses {
		silence = time.Second
	}
	c.ledger.begins(c.record, false)
	l, sub := c.begin(ctx)
	defer l.Close()
	for len(missing) > 0 {
		select {
		case d := <-sub.Deliveries():
			k := c.ledger.got(c.record, c.lives, d.Message, false)
			c.ledger.acks(c.record, k)
			d.Ack()
			delete(missing, k)
		case <-time.After(silence):
			return // the ledger names the missing messages
		}
	}
	for empty := c.store.awaitEmpty(); empty != nil; {
		select {
		case d := <-sub.Deliveries():
			c.ledger.acks(c.record, c.ledger.got(c.record, c.lives, d.Message, false))
			d.Ack()
		case <-empty:
			empty = nil
		case <-time.After(silence):
			if !c.ledger.excuse.loses {
				c.t.Errorf("%s: the Store does not become empty", c.name)
			}
			return
		}
	}
	if err := l.Shutdown(ctx); err != nil {
		c.t.Errorf("%s: %v", c.name, err)
	}
}

// tortureSilence is how long nothing may come in the last life of a consumer.
const tortureSilence = 10 * time.Second
