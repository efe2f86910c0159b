package integration

import (
	"errors"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

var (
	kills     = flag.Int("crash.kills", 5, "how many times each crash test kills its process")
	crashSeed = flag.Uint64("crash.seed", 0, "random seed for the moments of the crash tests; 0: another each time")
)

// withCrashBrokers runs a heavy test with mosquitto and with a keeper (a broker of these
// tests) that cuts connections at random.
func withCrashBrokers(t *testing.T, test func(*testing.T, *crash)) {
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	run := func(name string, v mqtt.Version, start func(*testing.T, *crash)) {
		for store := range stores {
			t.Run(name+"/"+v.String()+"/"+store, func(t *testing.T) {
				t.Parallel()
				t.Logf("-crash.seed=%d", seed)
				c := &crash{t: t, version: v, store: store, seed: seed, dir: t.TempDir(), ledger: newLedger(t)}
				start(t, c)
				test(t, c)
			})
		}
	}
	for _, v := range heavy() {
		run("keeper", v, func(t *testing.T, c *crash) { c.keeper, c.broker = startKeeper(t, seed, 3000) })
		if mosquittoPath() == "" {
			t.Log(notInstalled)
			continue
		}
		run("mosquitto", v, func(t *testing.T, c *crash) { c.broker = startMosquitto(t, setup{}) })
	}
}

// A crash is the state of a test that kills publishers, subscribers or both.
type crash struct {
	t       *testing.T
	broker  *broker
	keeper  *keeper // nil: the broker is mosquitto
	version mqtt.Version
	store   string // the kind of the stores
	seed    uint64
	dir     string
	ledger  *ledger
}

func (c *crash) publishers() *killer {
	return c.killer("publisher", 12, c.ledger.publisher)
}

// subscribers returns the killer of subscribers. With mosquitto it kills only connected
// subscribers. If a connection ends before mosquitto 2.0.11 has sent a PUBREL again, mosquitto
// starts the exchange anew, and its PUBLISH looks like a new message.
func (c *crash) subscribers() *killer {
	k := c.killer("subscriber", 300, c.ledger.subscriber)
	k.begun = c.keeper == nil
	return k
}

func (c *crash) killer(role string, lines int, begin func(run int) func(string)) *killer {
	return &killer{t: c.t, lines: lines, begin: begin,
		child:  child{Role: role, URL: c.broker.url, Store: filepath.Join(c.dir, role), Kind: c.store, Version: c.version, Seed: c.seed, Packets: *logPackets},
		random: rand.New(rand.NewPCG(c.seed, uint64(len(role))))}
}

// collect starts a subscriber that is never killed.
func (c *crash) collect() {
	sub := subscribe(c.t, c.dial("collector"), mqtt.Filter{Topic: "crash/#", QoS: mqtt.ExactlyOnce})
	go func() {
		for d := range sub.Deliveries() {
			c.ledger.arrived(d.Topic, string(d.Payload), d.QoS)
			d.Ack()
		}
	}()
}

func (c *crash) dial(id string) *mqtt.Client {
	return dial(c.t, c.broker.url, mqtt.Options{Version: c.version, ClientID: id, KeepSession: true, Window: 100, Reconnect: soon()})
}

// finishPublisher runs the publisher once more and lets it finish.
func (c *crash) finishPublisher(k *killer) {
	c.t.Helper()
	p, err := k.start(3)
	if err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-p.reached:
	case <-p.ended:
	case <-time.After(patience):
		c.t.Fatal("the last publisher did not begin")
	}
	if err := errors.Join(p.finish(), k.failure()); err != nil {
		c.t.Fatal(err)
	}
	if c.ledger.left != "0 publications, 0 received" {
		c.t.Errorf("the publisher left in its store: %s", c.ledger.left)
	}
}

// end publishes the last message, which follows all other messages, and waits until it arrives.
func (c *crash) end() {
	c.t.Helper()
	publish(c.t, c.dial("marker"), text(endTopic, "end", 2))
	for {
		select {
		case <-c.ledger.end:
			return
		case <-c.ledger.moved: // this may be a message before the last one
		case <-time.After(patience):
			c.t.Fatal("the last message did not come")
		}
	}
}

// A publishing process that is killed at random moments loses no accepted publication, sends no QoS
// 2 message twice, and keeps the order (K10).
func TestAKilledPublisherLosesNothingAndRepeatsNothingAtQoS2(t *testing.T) {
	withCrashBrokers(t, func(t *testing.T, c *crash) {
		c.collect()
		k := c.publishers()
		if err := k.rounds(*kills, nil); err != nil {
			t.Fatal(err)
		}
		c.finishPublisher(k)
		c.end()
		c.ledger.check()
	})
}

// A subscribing process that is killed at random moments gets every message. A QoS 2 message comes
// twice only if the process had not acknowledged it (K11).
func TestAKilledSubscriberIsHandedNothingTwiceThatItHasSettled(t *testing.T) {
	withCrashBrokers(t, func(t *testing.T, c *crash) {
		publisher := c.dial("publisher")
		k := c.subscribers()
		first, err := k.start(1)
		if err != nil {
			t.Fatal(err)
		}
		reaches(t, first.reached) // now the broker has the subscription
		stop := make(chan struct{})
		stopped := make(chan int)
		go func() {
			n := 0
			defer func() { stopped <- n }()
			for {
				select {
				case c.ledger.credits <- struct{}{}:
				case <-stop:
					return
				}
				select {
				case publisher.Publishes() <- mqtt.Publishing{Message: crashMessage(n)}:
					n++
				case <-publisher.Done():
					return
				}
			}
		}()
		first.kill()
		k.child.Run++
		err = k.rounds(*kills-1, nil)
		close(stop)
		n := <-stopped
		if err != nil {
			t.Fatal(err)
		}
		c.ledger.publisher(0)("accepted " + strconv.Itoa(n))
		if err := publisher.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
		c.finishSubscriber(k)
		c.ledger.check()
	})
}

// finishSubscriber runs the subscriber once more, until the last message has arrived.
func (c *crash) finishSubscriber(k *killer) {
	c.t.Helper()
	p, err := k.start(1)
	if err != nil {
		c.t.Fatal(err)
	}
	c.end()
	if err := errors.Join(p.finish(), k.failure()); err != nil {
		c.t.Fatal(err)
	}
}

// Publisher and subscriber are both killed, independently of each other. The keeper is killed too,
// if it is the broker.
func TestAKilledPublisherAndAKilledSubscriberLoseNothingBetweenThem(t *testing.T) {
	withCrashBrokers(t, func(t *testing.T, c *crash) {
		publishers, subscribers := c.publishers(), c.subscribers()
		first, err := subscribers.start(1)
		if err != nil {
			t.Fatal(err)
		}
		reaches(t, first.reached)
		first.kill()
		subscribers.child.Run++

		enough := make(chan struct{}) // closed when the subscribers need no more messages
		done := make(chan error)
		go func() { done <- publishers.rounds(*kills, enough) }()
		for left := *kills - 1; left > 0 && err == nil; left -= 8 {
			err = subscribers.rounds(min(left, 8), nil)
			if c.keeper != nil {
				c.keeper.kill()
				c.keeper.restart()
			}
		}
		close(enough)
		if err := errors.Join(<-done, err); err != nil {
			t.Fatal(err)
		}
		c.finishPublisher(publishers)
		c.finishSubscriber(subscribers)
		c.ledger.check()
	})
}

// reaches waits until a channel is closed.
func reaches(t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal("the channel was not closed")
	}
}
