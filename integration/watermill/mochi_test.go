package watermillmqtt_test

import (
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

func startMochi(t *testing.T) *broker {
	t.Helper()
	limits := mochi.NewDefaultServerCapabilities()
	limits.ReceiveMaximum = math.MaxUint16
	limits.MaximumInflight = math.MaxUint16
	limits.MaximumClientWritesPending = math.MaxUint16
	server := mochi.New(&mochi.Options{Capabilities: limits, Logger: slog.New(slog.DiscardHandler)})
	for _, hook := range []mochi.Hook{new(auth.AllowHook), newRouting()} {
		if err := server.AddHook(hook, nil); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.AddListener(listeners.NewNet("mqtt", l)); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	// A new mochi would begin without sessions, so a restart only cuts all connections.
	restart := func() error {
		for _, c := range server.Clients.GetAll() {
			c.Stop(io.EOF)
		}
		return nil
	}
	return &broker{url: "mqtt://" + l.Addr().String(), restart: restart}
}

// routing is a hook that lets a client take over its session only when mochi has routed all
// messages that other clients published before. mochi acknowledges a message before it routes it,
// and loses a message that it routes to a session during the takeover.
type routing struct {
	mochi.HookBase
	mu    sync.Mutex
	under map[*mochi.Client]chan struct{} // closed when the message of the client is routed
}

func newRouting() *routing { return &routing{under: make(map[*mochi.Client]chan struct{})} }

func (r *routing) Provides(b byte) bool {
	return b == mochi.OnPublish || b == mochi.OnPublished || b == mochi.OnDisconnect || b == mochi.OnSessionEstablish
}

func (r *routing) OnPublish(c *mochi.Client, p packets.Packet) (packets.Packet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.under[c] = make(chan struct{})
	return p, nil
}

func (r *routing) OnPublished(c *mochi.Client, _ packets.Packet) { r.end(c) }

// OnDisconnect is for a message that mochi could not acknowledge, and does not route.
func (r *routing) OnDisconnect(c *mochi.Client, _ error, _ bool) { r.end(c) }

func (r *routing) end(c *mochi.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if done := r.under[c]; done != nil {
		close(done)
		delete(r.under, c)
	}
}

func (r *routing) OnSessionEstablish(*mochi.Client, packets.Packet) {
	r.mu.Lock()
	messages := slices.Collect(maps.Values(r.under))
	r.mu.Unlock()
	for _, done := range messages {
		<-done
	}
}
