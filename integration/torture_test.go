package integration

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

var (
	tortureTime = flag.Duration("torture.for", 4*time.Second, "how long each broker of TestTorture is used")
	tortureSeed = flag.Uint64("torture.seed", 0, "the seed of TestTorture; 0 is a new one")

	tortureVersion = flag.Int("torture.version", 0, "the protocol level of TestTorture: 4, 5, or 0 for both")
)

const (
	torturePublishers = 20
	tortureConsumers  = 4
	tortureMaximum    = 20 // Receive Maximum of every second consumer; the others never reach theirs
)

// Twenty publishers, four consumers and a visitor use every way to publish and to receive. Their
// connections are cut, delayed, stalled and half open. Their clients end by Close, Shutdown and
// kill, and the next client goes on with the Store. The ledger then knows whether each promise was
// kept.
func TestTorture(t *testing.T) {
	seed := *tortureSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d (-torture.seed)", seed)
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		if only := mqtt.Version(*tortureVersion); only == 0 || only == v {
			t.Run(v.String(), func(t *testing.T) {
				t.Parallel()
				tortureEach(t, seed, v)
			})
		}
	}
}

func tortureEach(t *testing.T, seed uint64, v mqtt.Version) {
	t.Run("keeper", func(t *testing.T) {
		t.Parallel()
		ledger := newTortureLedger(t, v, excuses{})
		k, b := startKeeper(t, seed, 0)
		ledger.routed = make(map[mark]int)
		k.routed, k.acked = ledger.arrivedAtBroker, ledger.brokerHasAck
		torture(t, b, seed, ledger)
	})
	for _, kind := range kinds(t) {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			excuse := excuses{doubles: true, why: "sends a QoS 2 message anew when its connection is cut twice in quick succession"}
			if kind.name == "mosquitto" && v >= mqtt.V5 {
				excuse.overtakes = true
				excuse.why += ", and once a session reaches its Receive Maximum, sends new messages before queued ones," +
					" since an ack gives back quota but does not always take the next message from the queue"
			}
			if kind.name == "mochi" {
				excuse = excuses{doubles: true, loses: true, shuffle: true,
					why: "acknowledges messages and never delivers them to a kept session that is cut, and sends a session's messages in any order"}
			}
			t.Logf("%s %s", kind.name, excuse.why)
			torture(t, kind.start(t, setup{}), seed, newTortureLedger(t, v, excuse))
		})
	}
}

func torture(t *testing.T, b *broker, seed uint64, ledger *tortureLedger) {
	ctx, cancel := context.WithTimeout(context.Background(), *tortureTime+3*time.Minute)
	defer cancel()
	random := rand.New(rand.NewPCG(seed, 1))
	there, back := newProxy(t, b, manner{}), newProxy(t, b, manner{})
	session := func(name string, p *proxy) tortured {
		return tortured{t: t, ledger: ledger, name: name, url: p.url, store: newTorturedStore(t, name),
			random: rand.New(rand.NewPCG(random.Uint64(), 0))}
	}
	var consumers []*torturedConsumer
	for i := range tortureConsumers {
		c := &torturedConsumer{tortured: session(fmt.Sprint("consumer", i), back), most: math.MaxUint16}
		if i%2 == 0 {
			c.most = tortureMaximum
		}
		c.record = ledger.reader(c.name, true)
		c.record.shuffled = ledger.excuse.shuffle || ledger.excuse.overtakes && c.most == tortureMaximum
		l, sub := c.begin(ctx)
		<-sub.Ready() // from now on the broker keeps every message for it
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		consumers = append(consumers, c)
	}
	visitor := &torturedVisitor{tortured: session("visitor", back), record: ledger.reader("visitor", false)}
	// A message that Unsubscribe has dropped is late if mosquitto then sends it anew.
	visitor.record.shuffled = ledger.excuse.shuffle || ledger.excuse.overtakes
	stop, calm := make(chan struct{}), make(chan struct{})
	var publishing, consuming, storms sync.WaitGroup
	var publishers []*torturedPublisher
	for i := range torturePublishers {
		p := &torturedPublisher{tortured: session(fmt.Sprint("publisher", i), there), number: i}
		publishers = append(publishers, p)
		publishing.Go(func() { untilStopped(stop, func() { p.live(stop) }) })
	}
	for _, c := range consumers {
		consuming.Go(func() { untilStopped(stop, func() { c.live(ctx, stop) }) })
	}
	consuming.Go(func() { untilStopped(stop, func() { visitor.live(ctx, stop) }) })
	for _, p := range []*proxy{there, back} {
		storm := rand.New(rand.NewPCG(random.Uint64(), 0))
		storms.Go(func() { p.storm(storm, calm) })
	}
	<-time.After(*tortureTime)
	close(stop)
	publishing.Wait()
	consuming.Wait()
	close(calm)
	storms.Wait()
	for _, p := range publishers {
		publishing.Go(func() { p.finish(ctx) })
	}
	publishing.Wait()
	for _, c := range consumers {
		consuming.Go(func() { c.finish(ctx) })
	}
	consuming.Wait()
	ledger.check()
}

// untilStopped calls f until stop is closed.
func untilStopped(stop <-chan struct{}, f func()) {
	for {
		select {
		case <-stop:
			return
		default:
			f()
		}
	}
}

// storm harms connections until calm is closed. Then all connections are cut once more, and the
// proxy passes everything on.
func (p *proxy) storm(random *rand.Rand, calm <-chan struct{}) {
	for {
		select {
		case <-calm:
			p.set(manner{})
			p.each(func(r *relay) { r.cut(false) })
			return
		case <-time.After(time.Duration(random.IntN(100)) * time.Millisecond):
		}
		p.set([]manner{{}, {ends: anywhere}, {delay: 20 * time.Millisecond}, {split: true}, {rate: 200_000}}[random.IntN(5)])
		p.each(func(r *relay) {
			switch random.IntN(40) {
			case 0:
				r.state.CompareAndSwap(0, lost)
			case 1:
				r.state.CompareAndSwap(0, stuck)
			case 2, 3:
				r.cut(true)
			case 4, 5:
				r.cut(false)
			}
		})
	}
}
