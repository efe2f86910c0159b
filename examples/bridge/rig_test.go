package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/go-millrace/mqtt/examples/internal/demo"
)

const patienceOfTest = 30 * time.Second

// A testBroker is a broker at an address that stays the same when the broker is killed and started
// again. The bridge connects to the address, and the test publishes in the broker.
type testBroker struct {
	t      *testing.T
	URL    string
	inner  *demo.Broker
	joined chan struct{} // a value for each filter that was granted
	gone   chan struct{} // a value for each lost connection

	deaf   atomic.Bool   // the broker ignores each PUBLISH
	missed chan struct{} // a value for each ignored PUBLISH

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	arrived  []arrival
	arriving chan struct{} // closed at the next arrival
	relaying sync.WaitGroup
}

// An arrival is a message that the bridge has published.
type arrival struct{ topic, payload string }

func startBroker(t *testing.T) *testBroker {
	t.Helper()
	b := &testBroker{
		t: t, joined: make(chan struct{}, 100), gone: make(chan struct{}, 100), missed: make(chan struct{}, 100),
		arriving: make(chan struct{}),
	}
	b.replace()
	b.listen("127.0.0.1:0")
	b.URL = "mqtt://" + b.listener.Addr().String()
	t.Cleanup(func() {
		b.cut()
		b.relaying.Wait()
		b.inner.Close()
	})
	return b
}

// replace starts a broker without sessions in place of the present one.
func (b *testBroker) replace() {
	b.t.Helper()
	if b.inner != nil {
		b.inner.Close()
	}
	inner, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.inner = inner
	if err := inner.Server.AddHook(&observer{broker: b}, nil); err != nil {
		b.t.Fatal(err)
	}
}

func (b *testBroker) listen(address string) {
	b.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listener = l
	target := strings.TrimPrefix(b.inner.URL, "mqtt://")
	b.relaying.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			b.relay(client, server)
		}
	})
}

func (b *testBroker) relay(ends ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, ends...)
	for i := range ends {
		b.relaying.Go(func() {
			io.Copy(ends[i], ends[1-i])
			ends[i].Close()
		})
	}
}

// cut cuts the connections, with the bytes under way, and accepts no new connections.
func (b *testBroker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listener.Close()
	for _, conn := range b.conns {
		conn.Close()
	}
	b.conns = nil
}

// kill acts like the death of a broker whose sessions are on disk: the connections break, and the
// sessions last. It returns when the broker has ended the connection of the bridge.
func (b *testBroker) kill() {
	b.t.Helper()
	b.cut()
	b.await(b.gone, "the end of the connection")
}

// restart lets the bridge connect again, and waits for its subscriptions.
func (b *testBroker) restart() {
	b.t.Helper()
	b.listen(strings.TrimPrefix(b.URL, "mqtt://"))
	b.awaitJoined()
}

// awaitJoined waits until the bridge has subscribed to both filters.
func (b *testBroker) awaitJoined() {
	b.t.Helper()
	for range 2 {
		b.await(b.joined, "a subscription")
	}
}

func (b *testBroker) await(event <-chan struct{}, name string) {
	b.t.Helper()
	select {
	case <-event:
	case <-time.After(patienceOfTest):
		b.t.Fatalf("%s has not come", name)
	}
}

func (b *testBroker) publish(topic, payload string) {
	b.t.Helper()
	if err := b.inner.Server.Publish(topic, []byte(payload), false, 1); err != nil {
		b.t.Fatal(err)
	}
}

// awaitArrivals waits until n different messages have arrived, and returns all arrivals.
func (b *testBroker) awaitArrivals(n int) []arrival {
	b.t.Helper()
	timeout := time.After(patienceOfTest)
	for {
		b.mu.Lock()
		arrived, next := b.arrived, b.arriving
		b.mu.Unlock()
		different := len(firsts(arrived))
		if different >= n {
			return arrived
		}
		select {
		case <-next:
		case <-timeout:
			b.t.Fatalf("%d of %d messages have arrived", different, n)
		}
	}
}

// firsts returns the first arrival of each message.
func firsts(all []arrival) (once []arrival) {
	seen := make(map[arrival]bool)
	for _, a := range all {
		if !seen[a] {
			seen[a] = true
			once = append(once, a)
		}
	}
	return once
}

// observer is a hook of mochi for the client of the bridge.
type observer struct {
	mochi.HookBase
	broker *testBroker
}

func (o *observer) ID() string { return "observer" }

func (o *observer) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mochi.OnSubscribed, mochi.OnDisconnect, mochi.OnPublish, mochi.OnPacketRead, mochi.OnPacketEncode}, b) >= 0
}

// otherRange keeps the packet identifiers of the bridge apart from the identifiers of mochi. When
// mochi 2.7.9 receives a PUBLISH, it forgets a message that it has sent with the same identifier.
const otherRange = 1 << 15

func (o *observer) OnPacketRead(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if p.FixedHeader.Type == packets.Publish && p.FixedHeader.Qos > 0 {
		if o.broker.deaf.Load() {
			o.broker.missed <- struct{}{}
			return p, packets.ErrRejectPacket
		}
		p.PacketID ^= otherRange
	}
	return p, nil
}

func (o *observer) OnPacketEncode(_ *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Puback {
		p.PacketID ^= otherRange
	}
	return p
}

func (o *observer) OnSubscribed(*mochi.Client, packets.Packet, []byte) {
	o.broker.joined <- struct{}{}
}

func (o *observer) OnDisconnect(*mochi.Client, error, bool) {
	o.broker.gone <- struct{}{}
}

func (o *observer) OnPublish(c *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if b := o.broker; !c.Net.Inline {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.arrived = append(b.arrived, arrival{p.TopicName, string(p.Payload)})
		close(b.arriving)
		b.arriving = make(chan struct{})
	}
	return p, nil
}

// topics are the topics of the messages that publishAll publishes.
var topics = []string{"plant/a", "plant/b", "alarm/a", "alarm/b"}

// publishAll publishes n messages of each topic. A payload consists of from and a number.
func (b *testBroker) publishAll(from string, first, n int) {
	b.t.Helper()
	for i := first; i < first+n; i++ {
		for _, topic := range topics {
			b.publish(topic, fmt.Sprint(from, " ", i))
		}
	}
}
