package main

import (
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/go-millrace/mqtt/examples/internal/demo"
)

// testBroker is a broker in the process of the test, which publishes readings itself.
type testBroker struct {
	*demo.Broker
	t    *testing.T
	acks *acks
}

func startBroker(t *testing.T) *testBroker {
	t.Helper()
	inner, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	b := &testBroker{Broker: inner, t: t, acks: &acks{came: make(chan struct{}, 1)}}
	if err := inner.Server.AddHook(b.acks, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *testBroker) publish(payload string) {
	if err := b.Server.Publish("readings/boiler", []byte(payload), false, 1); err != nil {
		b.t.Errorf("publish: %v", err)
	}
}

// awaitAcks waits until the program has acknowledged all messages.
func (b *testBroker) awaitAcks() {
	b.t.Helper()
	client, ok := b.Server.Clients.Get(*id)
	if !ok {
		b.t.Fatal("the broker has no session of the program")
	}
	for timeout := time.After(30 * time.Second); client.State.Inflight.Len() > 0; {
		select {
		case <-b.acks.came:
		case <-timeout:
			b.t.Fatalf("the broker still waits for %d acks", client.State.Inflight.Len())
		}
	}
}

// acks is a hook of mochi for the acks of the program.
type acks struct {
	mochi.HookBase
	came    chan struct{} // gets a value, if there is room, after an ack was processed
	ignored atomic.Bool
}

func (a *acks) Provides(b byte) bool { return b == mochi.OnPacketRead || b == mochi.OnQosComplete }

// OnPacketRead gives an ack that is to be ignored an identifier that is not in use.
func (a *acks) OnPacketRead(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if p.FixedHeader.Type == packets.Puback && a.ignored.Load() {
		p.PacketID = 65_535
	}
	return p, nil
}

func (a *acks) OnQosComplete(*mochi.Client, packets.Packet) {
	select {
	case a.came <- struct{}{}:
	default:
	}
}

// written returns the readings in the table by their identifiers.
func written(t *testing.T, file string) map[string]float64 {
	t.Helper()
	db, err := openTable(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT id, celsius FROM readings`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := make(map[string]float64)
	for rows.Next() {
		var r reading
		if err := rows.Scan(&r.ID, &r.Celsius); err != nil {
			t.Fatal(err)
		}
		found[r.ID] = r.Celsius
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
