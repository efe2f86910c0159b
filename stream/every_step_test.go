package stream_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A finale is a way in which a session ends.
type finale struct {
	options stream.Options
	fails   bool // Close reports the failing Store
	end     func(x *exchange)
}

var finales = map[string]finale{
	"Close": {end: func(*exchange) {}},
	"Shutdown": {end: func(x *exchange) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		x.s.Shutdown(ctx)
	}},
	"cut":                  {end: func(x *exchange) { x.c.Drop(); synctest.Wait() }},
	"cut at the same time": {end: func(x *exchange) { x.c.Drop() }},
	"offline for long":     {end: func(x *exchange) { x.c.Drop(); elapse(time.Hour) }},
	"NoReconnect":          {options: stream.Options{NoReconnect: true}, end: func(x *exchange) { x.c.Drop() }},
	"a violation":          {end: func(x *exchange) { x.c.SendBytes([]byte{0, 0}); synctest.Wait() }},
	"while it dials": {options: stream.Options{Reconnect: every(time.Second)}, end: func(x *exchange) {
		x.b.Hold(1)
		x.c.Drop()
		elapse(2 * time.Second)
	}},
	"during the handshake": {options: stream.Options{Reconnect: every(time.Second)}, end: func(x *exchange) {
		x.c.Drop()
		x.b.Accept().ExpectConnect()
		synctest.Wait()
	}},
	"while commits fail": {fails: true, end: func(x *exchange) {
		x.store.fails.Store(true)
		x.more()
	}},
	"offline while commits fail": {fails: true, end: func(x *exchange) {
		x.store.fails.Store(true)
		x.c.Drop()
		x.more()
		elapse(time.Minute)
	}},
	"when commits work again": {end: func(x *exchange) {
		x.store.fails.Store(true)
		x.more()
		x.store.fails.Store(false)
		elapse(time.Minute)
	}},
	"during a commit": {end: func(x *exchange) {
		held := make(chan struct{})
		x.store.held.Store(&held)
		x.more()
		time.AfterFunc(5*time.Second, func() { x.store.held.Store(nil); close(held) })
	}},
}

// Promise 2: a session ends at every step of an exchange, in every way and state. Each publication
// has one Receipt, and the Receipt agrees with the Store and with the packets of the broker.
func TestEveryEndAtEveryStep(t *testing.T) {
	for name, f := range finales {
		for steps := range 8 {
			t.Run(name+" at step "+strconv.Itoa(steps), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) { f.play(t, b, steps) })
			})
		}
	}
}

// A testedStore is a MemoryStore whose commits can be made to fail or to wait.
type testedStore struct {
	*flow.MemoryStore
	fails atomic.Bool
	held  atomic.Pointer[chan struct{}] // a commit waits until it is closed
}

var errDiskFull = errors.New("the disk is full")

func (s *testedStore) Commit(changes []flow.Change) error {
	if held := s.held.Load(); held != nil {
		<-*held
	}
	if s.fails.Load() {
		return errDiskFull
	}
	return s.MemoryStore.Commit(changes)
}

// An exchange has publications of every QoS and inbound messages.
type exchange struct {
	b         *streamtest.Broker
	s         *stream.Session
	c         *streamtest.Conn
	store     *testedStore
	accepted  int
	confirmed map[string]bool // by the broker, as the session has seen
	acked     int             // inbound messages
}

func (x *exchange) send(messages ...frames.Message) {
	sendAll(x.s, messages...)
	x.accepted += len(messages)
}

// more sends two publications that no broker confirms.
func (x *exchange) more() {
	x.send(numbered(8, 1), numbered(9, 2))
	synctest.Wait()
}

func (f finale) play(t *testing.T, b *streamtest.Broker, steps int) {
	acks := make(chan stream.Receipt, 10)
	x := &exchange{b: b, store: &testedStore{MemoryStore: flow.NewMemoryStore()}, confirmed: map[string]bool{}}
	o := f.options
	o.ClientID, o.KeepSession, o.Store, o.Ack, o.Window = "k", true, x.store, acks, 2
	if o.Reconnect == nil {
		o.Reconnect = never()
	}
	x.s, x.c = connected(t, b, &o)
	var in <-chan stream.Delivery
	script := []func(){
		func() { x.send(numbered(0, 0)) },
		func() { x.send(numbered(1, 1), numbered(2, 2), numbered(3, 1)) },
		func() { x.c.Send(ack(puback, 1)); x.confirmed["1"] = true },
		func() { x.c.Send(ack(pubrec, 2)) },
		func() { in = x.s.Deliveries(); x.c.Send(inboundRun("a", exactly, 1, 3)...) },
		func() { takeFrom(t, in).Ack(); x.acked++ },
		func() { x.c.Send(ack(pubcomp, 2)); x.confirmed["2"] = true },
	}
	for _, step := range script[:steps] {
		synctest.Wait()
		step()
	}
	synctest.Wait()
	f.end(x)
	if err := x.s.Close(); f.fails != errors.Is(err, errDiskFull) || !f.fails && err != nil {
		t.Errorf("Close: %v", err)
	}
	x.check(t, acks)
}

// check compares the Receipts with the Store.
func (x *exchange) check(t *testing.T, acks <-chan stream.Receipt) {
	snap, err := x.store.Attach("k")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	for _, p := range snap.Publications {
		stored[string(p.Message.Payload)] = true
	}
	for _, r := range wantReceipts(t, acks, x.accepted) {
		name := string(r.Payload)
		kept, unsent, unsure := errors.Is(r.Err, stream.ErrKept), errors.Is(r.Err, stream.ErrNotSent), errors.Is(r.Err, stream.ErrUnconfirmed)
		ok := false
		switch failing := x.store.fails.Load(); {
		case r.QoS == 0, x.confirmed[name]:
			ok = r.Err == nil && (!stored[name] || failing)
		case failing: // the Store may have the publication, or its end
			ok = unsent != unsure && !kept
		case unsent: // its commit had failed
			ok = !stored[name] && !kept && !unsure && errors.Is(r.Err, errDiskFull)
		default:
			ok = kept && !unsure && stored[name]
		}
		if !ok {
			t.Errorf("%s at QoS %d: Receipt %v, stored %t", name, r.QoS, r.Err, stored[name])
		}
	}
	select {
	case r := <-acks:
		t.Errorf("a Receipt too many: %v", r)
	default:
	}
	if n := len(snap.Received); n != x.acked && !x.store.fails.Load() {
		t.Errorf("the Store has %d received identifiers, want %d", n, x.acked)
	}
}
