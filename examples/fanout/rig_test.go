package main

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/go-millrace/mqtt/examples/internal/demo"
)

// testBroker is a broker in the process of the test, which publishes events itself.
type testBroker struct {
	*demo.Broker
	t    *testing.T
	hook *events
}

func startBroker(t *testing.T) *testBroker {
	t.Helper()
	inner, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	b := &testBroker{Broker: inner, t: t, hook: &events{acked: make(chan struct{}, 1), gone: make(chan struct{}, 1)}}
	b.hook.created.Store((time.Now().Unix()>>16 + 1) << 16)
	if err := inner.Server.AddHook(b.hook, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *testBroker) publish(topic, payload string) {
	if err := b.Server.Publish(topic, []byte(payload), false, 1); err != nil {
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
	for client.State.Inflight.Len() > 0 {
		b.await(b.hook.acked, "an ack")
	}
}

// awaitGone waits until the broker knows that the program is gone.
func (b *testBroker) awaitGone() {
	b.t.Helper()
	b.await(b.hook.gone, "the end of the connection")
}

func (b *testBroker) await(event <-chan struct{}, name string) {
	b.t.Helper()
	select {
	case <-event:
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s has not come", name)
	}
}

// events is a hook of mochi. Its channels get a value, if there is room, after an ack and after the
// end of a connection.
type events struct {
	mochi.HookBase
	acked, gone chan struct{}
	created     atomic.Int64
}

func (e *events) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mochi.OnPublish, mochi.OnQosComplete, mochi.OnDisconnect}, b) >= 0
}

// OnPublish numbers the messages. Mochi sends them to a client that comes back in order of the
// lower 16 bits of Created, which without this hook is the time in seconds.
func (e *events) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	p.Created = e.created.Add(1)
	return p, nil
}

func (e *events) OnQosComplete(*mochi.Client, packets.Packet) { notify(e.acked) }

func (e *events) OnDisconnect(*mochi.Client, error, bool) { notify(e.gone) }

func notify(event chan<- struct{}) {
	select {
	case event <- struct{}{}:
	default:
	}
}

// written returns the numbers of the events in the table for each topic, in order of the commits.
func written(t *testing.T, file string) map[string][]int {
	t.Helper()
	db, err := openTable(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT topic, number FROM events ORDER BY place`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := make(map[string][]int)
	for rows.Next() {
		var topic string
		var number int
		if err := rows.Scan(&topic, &number); err != nil {
			t.Fatal(err)
		}
		found[topic] = append(found[topic], number)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
