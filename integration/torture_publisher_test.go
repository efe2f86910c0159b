package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// A tortured is a session that one client after another continues with its Store.
type tortured struct {
	t      *testing.T
	ledger *tortureLedger
	name   string
	url    string
	random *rand.Rand
	store  *torturedStore
	lives  int
}

// A life is one client of a tortured session.
type life struct {
	*mqtt.Client
	wire *wire
}

// open begins a life.
func (s *tortured) open(o mqtt.Options) life {
	w := new(wire)
	s.lives++
	s.ledger.count("clients")
	o.ClientID, o.KeepSession, o.Store, o.DialContext, o.Reconnect = s.name, true, s.store, w.DialContext, soon()
	o.Version, o.KeepAlive, o.ConnectTimeout = s.ledger.version, time.Second, time.Second
	c, err := mqtt.Open(s.url, &o)
	if err != nil {
		s.t.Errorf("%s: %v", s.name, err)
		return life{}
	}
	return life{c, w}
}

// end ends a life in a random way. Before a kill has an effect, killed is called.
func (s *tortured) end(l life, killed func()) {
	switch s.random.IntN(4) {
	case 0:
		l.wire.setDown(true)
		l.wire.cut()
		killed()
		s.store = s.store.kill()
		l.Close()
	case 1, 2:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.random.IntN(1000))*time.Millisecond)
		defer cancel()
		if err := l.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.t.Errorf("%s: Shutdown: %v", s.name, err)
		}
	default:
		if err := l.Close(); err != nil {
			s.t.Errorf("%s: Close: %v", s.name, err)
		}
	}
}

// A torturedPublisher publishes numbered messages at every QoS.
type torturedPublisher struct {
	tortured
	number int
	last   [3]int // the last message at each QoS
}

// A publisherLife is a life of a publisher.
type publisherLife struct {
	life
	p      *torturedPublisher
	number int
	stop   chan struct{}
	killed bool // under tortureLedger.mu
}

// live begins a life and publishes until stop is closed, or for a random time.
func (p *torturedPublisher) live(stop <-chan struct{}) {
	acks := make(chan mqtt.Receipt, 10)
	l := &publisherLife{p: p, stop: make(chan struct{})}
	l.life = p.open(mqtt.Options{Ack: acks, Window: []int{1, 2, 20}[p.random.IntN(3)], Queue: 1 + p.random.IntN(50)})
	var receipts, publishing sync.WaitGroup
	l.number = p.lives
	receipts.Go(func() { p.read(l, acks) })
	for q := range levels {
		way := []func(*mqtt.QoS, *rand.Rand){l.publish, l.publishes, l.publishFrom}[p.random.IntN(3)]
		random := rand.New(rand.NewPCG(p.random.Uint64(), 0))
		level := mqtt.QoS(q)
		publishing.Go(func() { way(&level, random) })
	}
	select {
	case <-stop:
	case <-time.After(time.Duration(100+p.random.IntN(2000)) * time.Millisecond):
	}
	if p.random.IntN(2) == 0 { // otherwise it goes on while the client ends
		close(l.stop)
		publishing.Wait()
	}
	p.end(l.life, func() { p.ledger.killed(p.number, l) })
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	publishing.Wait()
	receipts.Wait()
}

// read records the Receipts of publications, of this life or from the Store.
func (p *torturedPublisher) read(l *publisherLife, acks <-chan mqtt.Receipt) {
	for {
		select {
		case r := <-acks:
			p.ledger.receipt(r.Message, r.Err, l.number)
		case <-l.Done():
			for len(acks) > 0 {
				r := <-acks
				p.ledger.receipt(r.Message, r.Err, l.number)
			}
			return
		}
	}
}

// next returns the next message at a QoS.
func (l *publisherLife) next(q mqtt.QoS, random *rand.Rand) mqtt.Message {
	p := l.p
	p.last[q]++
	k := mark{p.number, q, p.last[q]}
	p.ledger.sent(k, l)
	size := random.IntN(200)
	if random.IntN(50) == 0 {
		size = random.IntN(60_000)
	}
	return k.message(p.ledger.version, size)
}

// pauses waits for a short random time, and reports whether the life goes on.
func (l *publisherLife) pauses(random *rand.Rand) (alive bool) {
	select {
	case <-l.stop:
		return false
	case <-l.Done():
		return false
	case <-time.After(time.Duration(random.IntN(20)) * time.Millisecond):
		return true
	}
}

// publish uses Publish, whose context may end early.
func (l *publisherLife) publish(q *mqtt.QoS, random *rand.Rand) {
	for l.pauses(random) {
		ctx, cancel := context.WithCancel(context.Background())
		if random.IntN(10) == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(random.IntN(50))*time.Millisecond)
		}
		m := l.next(*q, random)
		l.p.ledger.receipt(m, l.Publish(ctx, m), l.number)
		cancel()
	}
}

// publishes uses the channel.
func (l *publisherLife) publishes(q *mqtt.QoS, random *rand.Rand) {
	acks := make(chan mqtt.Receipt, 4)
	open, done := 0, l.Done()
	take := func(r mqtt.Receipt) {
		open--
		l.p.ledger.receipt(r.Message, r.Err, l.number)
	}
	for l.pauses(random) {
		m := l.next(*q, random)
		for m.Topic != "" {
			select {
			case l.Publishes() <- mqtt.Publishing{Message: m, Ack: acks}:
				open++
				m = mqtt.Message{}
			case r := <-acks:
				take(r)
			case <-done:
				k, _ := markOf(m)
				l.p.ledger.unsent(k)
				l.p.last[*q]--
				m = mqtt.Message{}
			}
		}
	}
	for open > 0 {
		select {
		case r := <-acks:
			take(r)
		case <-time.After(patience):
			l.p.t.Errorf("%s: %d Receipts did not come", l.p.name, open)
			return
		}
	}
}

// publishFrom uses PublishFrom, whose context may end early.
func (l *publisherLife) publishFrom(q *mqtt.QoS, random *rand.Rand) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if random.IntN(3) == 0 {
		time.AfterFunc(time.Duration(random.IntN(500))*time.Millisecond, cancel)
	}
	in := make(chan mqtt.Message)
	out := l.PublishFrom(ctx, in)
	var reading sync.WaitGroup
	ended := make(chan struct{})
	reading.Go(func() {
		defer close(ended)
		for r := range out {
			l.p.ledger.receipt(r.Message, r.Err, l.number)
		}
	})
	for over := false; !over && l.pauses(random); {
		m := l.next(*q, random)
		select {
		case in <- m:
		case <-ended:
			k, _ := markOf(m)
			l.p.ledger.unsent(k)
			l.p.last[*q]--
			over = true
		}
	}
	close(in)
	reading.Wait()
}

// finish begins the last life, in which every publication that the Store holds is sent.
func (p *torturedPublisher) finish(ctx context.Context) {
	acks := make(chan mqtt.Receipt, 10)
	l := &publisherLife{p: p}
	l.life = p.open(mqtt.Options{Ack: acks, Window: 20})
	var receipts sync.WaitGroup
	l.number = p.lives
	receipts.Go(func() { p.read(l, acks) })
	if err := l.Flush(ctx); err != nil {
		p.t.Errorf("%s: %v", p.name, err)
	}
	if err := l.Shutdown(ctx); err != nil {
		p.t.Errorf("%s: %v", p.name, err)
	}
	receipts.Wait()
	if snap := p.store.own(p.store.MemoryStore); !snap.Empty() {
		p.t.Errorf("%s: the Store has %d publications and %d identifiers", p.name, len(snap.Publications), len(snap.Received))
	}
}
