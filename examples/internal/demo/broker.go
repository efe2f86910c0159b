package demo

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/go-millrace/mqtt"
)

// Broker is an MQTT broker in this process, on a free port of the loopback interface.
type Broker struct {
	URL    string
	Server *mochi.Server

	endFeed context.CancelFunc
	feeding sync.WaitGroup
}

// A Feed describes the messages that a Broker publishes by itself after the first subscription, and
// the time after which it cuts the connections of its clients.
type Feed struct {
	Round func(n int) []mqtt.Message // returns the messages of round n; nil: no messages
	Every *time.Duration             // interval between two rounds; nil: a second
	Cut   *time.Duration             // time from the last connection to a cut; nil or 0: no cuts
}

func (f Feed) cuts() bool { return f.Cut != nil && *f.Cut > 0 }

func (f Feed) run(ctx context.Context, publish func(mqtt.Message)) {
	interval := time.Second
	if f.Every != nil {
		interval = *f.Every
	}
	for m := range Rounds(ctx, interval, f.Round) {
		publish(m)
	}
}

// StartBroker starts a Broker that publishes feed.
func StartBroker(feed Feed) (*Broker, error) {
	// By default, mochi disconnects a client with more than 1,024 publications in flight and drops
	// messages to slow clients.
	limits := mochi.NewDefaultServerCapabilities()
	limits.ReceiveMaximum = math.MaxUint16
	limits.MaximumInflight = math.MaxUint16
	limits.MaximumClientWritesPending = math.MaxUint16

	server := mochi.New(&mochi.Options{
		Capabilities: limits,
		InlineClient: true,
		Logger:       slog.New(slog.DiscardHandler),
	})
	hook := &audience{subscribed: make(chan struct{})}
	if err := server.AddHook(hook, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	door := newDoor("loopback", l)
	if err := server.AddListener(door); err != nil {
		l.Close()
		return nil, fmt.Errorf("broker: %w", err)
	}
	if feed.cuts() {
		if err := server.AddHook(newCutter(door, *feed.Cut), nil); err != nil {
			l.Close()
			return nil, fmt.Errorf("broker: %w", err)
		}
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	b := &Broker{URL: "mqtt://" + l.Addr().String(), Server: server, endFeed: cancel}
	if feed.Round != nil {
		b.feeding.Go(func() {
			select {
			case <-hook.subscribed:
				feed.run(ctx, b.publish)
			case <-ctx.Done():
			}
		})
	}
	return b, nil
}

func (b *Broker) publish(m mqtt.Message) {
	if err := b.Server.Publish(m.Topic, m.Payload, m.Retain, byte(m.QoS)); err != nil {
		fmt.Println("broker   ", err)
	}
}

// Close ends the feed and the broker.
func (b *Broker) Close() error {
	b.endFeed()
	b.feeding.Wait()
	return b.Server.Close()
}

// audience is a hook of mochi. It accepts every client and closes subscribed at the first
// subscription.
type audience struct {
	auth.AllowHook
	once       sync.Once
	subscribed chan struct{}
}

func (a *audience) Provides(b byte) bool {
	return a.AllowHook.Provides(b) || bytes.IndexByte([]byte{mochi.OnSubscribed, mochi.OnSessionEstablish, mochi.OnPacketEncode}, b) >= 0
}

func (a *audience) OnSubscribed(*mochi.Client, packets.Packet, []byte) {
	a.once.Do(func() { close(a.subscribed) })
}

// OnSessionEstablish ends mochi's quota for a client of MQTT 5. In version 2.7.9,
// Inflight.NextImmediate takes a read lock twice, which is a deadlock when another goroutine waits
// for the lock in between. mochi calls it only while the client has a quota.
func (a *audience) OnSessionEstablish(c *mochi.Client, _ packets.Packet) {
	c.Properties.Props.ReceiveMaximum = 0 // for a session that the client takes over
	c.State.Inflight.ResetSendQuota(0)
}

// OnPacketEncode turns a PUBCOMP with code 0x92 into one of success. mochi 2.7.9 has the packet
// identifiers of both directions in one table, so it does not know the identifier of some PUBRELs
// of a client that receives at QoS 2 too. It has routed their messages.
func (a *audience) OnPacketEncode(_ *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Pubcomp {
		p.ReasonCode = 0
	}
	return p
}
