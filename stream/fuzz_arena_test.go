package stream_test

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

const (
	arenaPause   = time.Second // interval between connections
	arenaReceive = 1000        // ReceiveBytes and MaxUnread, with room for a few messages
	arenaQueue   = 6
	arenaIDs     = 5 // number of packet identifiers for the broker's messages
)

// An arena is a session, a broker controlled by the fuzzer, and a ledger, the record of all
// messages that is used to check both.
type arena struct {
	t        *testing.T
	o        stream.Options
	s        *stream.Session
	log      *ledger
	receipts chan stream.Receipt
	running  sync.WaitGroup // calls that wait for the broker
	ctx      context.Context
	stop     context.CancelFunc

	mu     sync.Mutex
	dialed []*fuzzWire // not yet accepted by the script

	wire  *fuzzWire
	subs  []*stream.Subscription
	ready chan *stream.Subscription
	taken []heldDelivery
	batch []frames.Packet // packets collected to be sent in one segment

	ending bool // Shutdown or Close was called
}

type heldDelivery struct {
	stream.Delivery
	number int
}

// newArena opens a session with the options that the bits of setup select.
func newArena(t *testing.T, setup uint16) *arena {
	a := &arena{
		t: t, log: newLedger(t),
		receipts: make(chan stream.Receipt, 1<<12), ready: make(chan *stream.Subscription, 1<<10),
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.o = stream.Options{
		Version: frames.V311, ClientID: "arena", KeepAlive: noPing, Reconnect: every(arenaPause),
		Window: 1 + int(setup>>3&3), Queue: arenaQueue, ReceiveBytes: arenaReceive, MaxUnread: arenaReceive, Ack: a.receipts,
		DialContext: a.dial,
	}
	a.choose(setup)
	if setup&2 != 0 {
		a.o.KeepSession = true
		if setup&4 != 0 {
			a.o.Store = flow.NewMemoryStore()
		}
	}
	if setup&32 != 0 {
		a.o.DiscardUnclaimed, a.log.discard = true, true
	}
	if setup&64 != 0 {
		a.o.KeepAlive = 20 * time.Second
	}
	var err error
	if a.s, err = stream.Open("mqtt://broker", &a.o); err != nil {
		t.Fatal(err)
	}
	return a
}

// dial is the DialContext of the session.
func (a *arena) dial(context.Context, string, string) (net.Conn, error) {
	w := newFuzzWire(a.t, a.o.Version, a.o.Window, a.log)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialed = append(a.dialed, w)
	return w.client, nil
}

// settle waits until all goroutines are idle, and then checks the Stats of the session.
func (a *arena) settle() {
	synctest.Wait()
	if a.wire != nil {
		a.wire.pump()
		a.answerBye()
	}
	for len(a.receipts) > 0 {
		r := <-a.receipts
		a.log.receipt(r.Tag.(int), r.Err)
	}
	st := a.s.Stats()
	// One batch may exceed MaxUnread. Reading pauses then, except during Shutdown.
	if st.UnreadBytes > arenaReceive && (st.Online && !st.Paused && !a.ending || st.UnreadBytes > arenaReceive+256*200) {
		a.t.Fatalf("%d unread bytes with MaxUnread %d; paused: %v", st.UnreadBytes, arenaReceive, st.Paused)
	}
	if qos0 := st.InboxBytes - st.UnreadBytes; qos0 > arenaReceive+200 { // a large message waits alone
		a.t.Fatalf("%d bytes of QoS 0 with ReceiveBytes %d", qos0, arenaReceive)
	}
	if st.Queued > arenaQueue+64 {
		a.t.Fatalf("%d queued with Queue %d", st.Queued, arenaQueue)
	}
}

// connect waits for the next connection of the client, and accepts it.
func (a *arena) connect(present bool, p *frames.ConnackProperties) {
	if a.wire.alive() {
		return
	}
	if a.wire != nil {
		a.drop(false)
	}
	a.wire = nil
	for range 30 {
		synctest.Wait()
		a.mu.Lock()
		if len(a.dialed) > 0 {
			a.wire, a.dialed = a.dialed[len(a.dialed)-1], nil
		}
		a.mu.Unlock()
		if a.wire.alive() {
			break
		}
		a.take() // a client that pauses reading does not notice the end of its connection
		elapse(arenaPause)
	}
	if !a.wire.alive() {
		a.t.Fatal("the client does not reconnect")
	}
	a.wire.pump()
	if a.wire.hello == nil {
		a.t.Fatal("the client sent no CONNECT")
	}
	present = present && a.o.KeepSession
	if a.o.KeepSession && !present && a.o.Version >= frames.V311 {
		a.log.forget()
	}
	if a.wire.up = true; p != nil && a.o.Version >= frames.V5 {
		a.wire.accept(p)
	}
	a.write(a.encode(frames.Connack{SessionPresent: present, Properties: p}), 0)
}

// drop ends the connection.
func (a *arena) drop(abort bool) {
	w := a.wire
	if w == nil || w.over {
		return
	}
	a.settle()
	if w.over {
		return // the client has ended it
	}
	w.over = true
	if abort {
		w.end.Abort()
	} else {
		w.end.Close()
	}
	a.log.lost(w, a.o.KeepSession)
	a.batch = nil
	a.settle()
}

func (a *arena) encode(p frames.Packet) []byte {
	b, err := p.Append(nil, a.o.Version)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// write writes b in segments of n bytes. If n is 0, it writes b in one segment.
func (a *arena) write(b []byte, n int) {
	for len(b) > 0 {
		k := len(b)
		if n > 0 {
			k = min(n, k)
		}
		_, _ = a.wire.end.Write(b[:k])
		a.wire.end.Cut()
		b = b[k:]
	}
}

// send sends a packet, or adds it to the segment that is being collected.
func (a *arena) send(p frames.Packet) {
	if !a.wire.alive() || !a.wire.up {
		return
	}
	a.wire.note(p)
	if a.batch != nil && len(a.batch) < 16 {
		a.batch = append(a.batch, p)
		return
	}
	a.flush(0)
	a.wire.sent(p)
	a.write(a.encode(p), 0)
}

// flush sends the collected segment.
func (a *arena) flush(n int) {
	batch := a.batch
	a.batch = nil
	if len(batch) == 0 || !a.wire.alive() || !a.wire.up {
		return
	}
	var b []byte
	for _, p := range batch {
		a.wire.sent(p)
		b = append(b, a.encode(p)...)
	}
	a.write(b, n)
}

// message sends a message to the client, with a topic alias unless it is 0.
func (a *arena) message(q frames.QoS, id uint16, dup bool, topic string, alias uint16) {
	if !a.wire.alive() || !a.wire.up {
		return
	}
	if q == frames.AtMostOnce {
		id, dup = 0, false
	}
	p := frames.Publish{ID: id, DUP: dup}
	p.Topic, p.QoS = topic, q
	p.Payload = strconv.AppendInt(nil, int64(a.log.numberOf(q, id)), 10)
	a.wire.alias(&p, alias)
	a.send(p)
}

// publish offers a publication to the session.
func (a *arena) publish(q frames.QoS) {
	n := len(a.log.out)
	select {
	case a.s.Publishes() <- stream.Publishing{Message: message("out", strconv.Itoa(n), q), Tag: n}:
		a.log.accepted(q)
	default:
	}
}

// call publishes a message with Publish, whose context ends after a second.
func (a *arena) call(q frames.QoS) {
	if a.s.Stats().Queued >= arenaQueue {
		return // a full queue would accept the message later, and the numbers would be out of order
	}
	n := len(a.log.out)
	a.log.accepted(q)
	a.running.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, time.Second)
		defer cancel()
		a.receipts <- stream.Receipt{Tag: n, Err: a.s.Publish(ctx, message("out", strconv.Itoa(n), q))}
	})
}

// take receives all deliveries that are ready.
func (a *arena) take() {
	for len(a.ready) > 0 {
		a.subs = append(a.subs, <-a.ready)
	}
	a.drain(a.s.Deliveries(), 0)
	for i, sub := range a.subs {
		a.drain(sub.Deliveries(), i+1)
	}
}

func (a *arena) drain(in <-chan stream.Delivery, consumer int) {
	synctest.Wait()
	for {
		select {
		case d, ok := <-in:
			if !ok {
				return
			}
			a.taken = append(a.taken, heldDelivery{d, a.log.deliver(d, consumer)})
			synctest.Wait()
		default:
			return
		}
	}
}

// ack acknowledges a received delivery.
func (a *arena) ack(i int) {
	if len(a.taken) == 0 {
		return
	}
	i %= len(a.taken)
	d := a.taken[i]
	a.taken = append(a.taken[:i], a.taken[i+1:]...)
	a.log.in[d.number].settled = true
	d.Ack()
}

func (a *arena) subscribe(filter string) {
	a.running.Go(func() {
		if sub, err := a.s.Subscribe(a.ctx, filterOf(filter, exactly)); err == nil {
			a.ready <- sub
		}
	})
}

func (a *arena) unsubscribe(i int) {
	if len(a.subs) == 0 {
		return
	}
	a.log.discard = true
	sub := a.subs[i%len(a.subs)]
	a.running.Go(func() { _ = sub.Unsubscribe(a.ctx) })
}

// answer answers all requests of the client as a healthy broker does.
func (a *arena) answer() {
	a.flush(0)
	w := a.wire
	if !w.alive() || !w.up {
		return
	}
	for ; w.pings > 0; w.pings-- {
		a.send(frames.Pingresp{})
	}
	asked := w.asked
	w.asked = nil
	for _, p := range asked {
		switch p := p.(type) {
		case frames.Subscribe:
			codes := make([]frames.ReasonCode, len(p.Filters))
			for i, f := range p.Filters {
				codes[i] = frames.ReasonCode(f.QoS)
			}
			a.send(frames.Suback{ID: p.ID, Codes: codes})
		case frames.Unsubscribe:
			a.send(unsuback(p))
		case frames.Ack:
			a.send(ack(pubcomp, p.ID))
		}
	}
	for n := range a.log.out { // in order of acceptance
		p := &a.log.out[n]
		if at, ok := w.flight[p.id]; !ok || at != n {
			continue
		}
		switch {
		case p.qos == frames.AtLeastOnce:
			a.send(ack(puback, p.id))
		case p.released:
			a.send(ack(pubcomp, p.id))
		default:
			a.send(ack(pubrec, p.id))
		}
	}
}
