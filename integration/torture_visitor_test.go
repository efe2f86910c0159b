package integration

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
)

// A torturedVisitor subscribes, leaves by Unsubscribe or Drain after a while, and comes back. It
// need not get every message, but at QoS 2 none twice, and all in order.
type torturedVisitor struct {
	tortured
	record *reader
}

// live begins a life with several visits, until stop is closed or a random time has passed.
func (v *torturedVisitor) live(ctx context.Context, stop <-chan struct{}) {
	l := v.open(mqtt.Options{MaxUnread: torturedUnread, SlowConsumer: -1, V5: mqtt.OptionsV5{ReceiveMaximum: math.MaxUint16}})
	v.ledger.ends(v.record, false)
	random := rand.New(rand.NewPCG(v.random.Uint64(), 0))
	leave := make(chan struct{})
	var visiting sync.WaitGroup
	visiting.Go(func() { untilStopped(leave, func() { v.visit(l.Client, leave, random) }) })
	select {
	case <-stop:
	case <-time.After(time.Duration(100+v.random.IntN(3000)) * time.Millisecond):
	}
	v.ledger.ends(v.record, true)
	close(leave)
	number := v.lives
	v.end(l, func() { v.ledger.forget(v.record, number) })
	visiting.Wait()
}

// visit subscribes, receives for a random time, and leaves. While the client ends, every call may
// fail.
func (v *torturedVisitor) visit(c *mqtt.Client, leave <-chan struct{}, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(1000))*time.Millisecond)
	defer cancel()
	sub, err := c.Subscribe(ctx, mqtt.Filter{Topic: "torture/+/2", QoS: mqtt.ExactlyOnce}, mqtt.Filter{Topic: "torture/1/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, mqtt.ErrBehind) && !errors.Is(err, mqtt.ErrClosed) {
			v.t.Errorf("%s: Subscribe: %v", v.name, err)
		}
		return
	}
	v.ledger.count("visits")
	v.ledger.leaves(v.record, false)
	left := make(chan error, 1)
	time.AfterFunc(time.Duration(random.IntN(300))*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		way := sub.Unsubscribe
		if random.IntN(2) == 0 {
			way = sub.Drain
		}
		v.ledger.leaves(v.record, true)
		left <- way(ctx)
	})
	for d := range sub.Deliveries() {
		k := v.ledger.got(v.record, v.lives, d.Message, false)
		d.Ack()
		v.ledger.acked(v.record, k, false)
	}
	if err := <-left; err != nil && !errors.Is(err, mqtt.ErrBehind) && !errors.Is(err, mqtt.ErrClosed) {
		v.t.Errorf("%s: the end of a Subscription: %v", v.name, err)
	}
	select {
	case <-leave:
	case <-time.After(time.Duration(random.IntN(100)) * time.Millisecond):
	}
}
