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
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// startMochi starts a mochi with hooks of the test.
func startMochi(t *testing.T, hooks ...func(*mochi.Server) mochi.Hook) *broker {
	t.Helper()
	limits := mochi.NewDefaultServerCapabilities()
	limits.ReceiveMaximum = math.MaxUint16
	limits.MaximumInflight = math.MaxUint16
	limits.MaximumClientWritesPending = math.MaxUint16
	server := mochi.New(&mochi.Options{Capabilities: limits, Logger: slog.New(slog.DiscardHandler)})
	hooks = append(hooks, func(*mochi.Server) mochi.Hook { return new(auth.AllowHook) },
		func(*mochi.Server) mochi.Hook { return new(boundless) })
	for _, hook := range hooks {
		if err := server.AddHook(hook(server), nil); err != nil {
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

// boundless is a hook that ends mochi's quota for a client of MQTT 5. In version 2.7.9,
// Inflight.NextImmediate takes a read lock twice, which is a deadlock when another goroutine waits
// for the lock in between. mochi calls it only while the client has a quota.
type boundless struct{ mochi.HookBase }

func (*boundless) Provides(b byte) bool { return b == mochi.OnSessionEstablish }

func (*boundless) OnSessionEstablish(c *mochi.Client, _ packets.Packet) {
	c.Properties.Props.ReceiveMaximum = 0 // for a session that the client takes over
	c.State.Inflight.ResetSendQuota(0)
}

// takeovers is a hook that keeps mochi from losing messages when a session gets a new connection.
// mochi copies the messages of the session, and clears the old ones; then it enters the new client
// in its list. It loses a message that is routed to the session in between, which the broker may
// have acknowledged long before, and all messages when another connection comes in between.
type takeovers struct {
	mochi.HookBase
	server *mochi.Server

	mu      sync.Mutex
	routed  map[*mochi.Client]chan struct{} // closed when the message of the client is routed
	entered map[string]*mochi.Client        // the newest client of a session, by client identifier
}

func orderTakeovers(server *mochi.Server) mochi.Hook {
	return &takeovers{server: server, routed: make(map[*mochi.Client]chan struct{}), entered: make(map[string]*mochi.Client)}
}

func (h *takeovers) Provides(b byte) bool {
	return b == mochi.OnPublish || b == mochi.OnPublished || b == mochi.OnDisconnect || b == mochi.OnSessionEstablish
}

// OnPublish waits until no session is being taken over.
func (h *takeovers) OnPublish(c *mochi.Client, p packets.Packet) (packets.Packet, error) {
	h.lockWhen(func() bool {
		for id := range h.entered {
			if !h.isEntered(id) {
				return false
			}
		}
		return true
	})
	defer h.mu.Unlock()
	h.routed[c] = make(chan struct{})
	return p, nil
}

// OnSessionEstablish waits until the last takeover of the session is over and the messages are
// routed that were on their way.
func (h *takeovers) OnSessionEstablish(c *mochi.Client, _ packets.Packet) {
	h.lockWhen(func() bool { return h.isEntered(c.ID) })
	h.entered[c.ID] = c
	messages := slices.Collect(maps.Values(h.routed))
	h.mu.Unlock()
	for _, done := range messages {
		<-done
	}
}

// isEntered reports whether mochi has entered the newest client of a session in its list.
func (h *takeovers) isEntered(id string) bool {
	c := h.entered[id]
	if c == nil {
		return true
	}
	if listed, ok := h.server.Clients.Get(id); ok && listed != c {
		return false
	}
	delete(h.entered, id)
	return true
}

// lockWhen locks when the condition holds. mochi has no hook that follows the entry in its list.
func (h *takeovers) lockWhen(holds func() bool) {
	for {
		h.mu.Lock()
		if holds() {
			return
		}
		h.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

func (h *takeovers) OnPublished(c *mochi.Client, _ packets.Packet) { h.end(c) }

// OnDisconnect is for a message that mochi could not acknowledge, and does not route.
func (h *takeovers) OnDisconnect(c *mochi.Client, _ error, _ bool) { h.end(c) }

func (h *takeovers) end(c *mochi.Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done := h.routed[c]; done != nil {
		close(done)
		delete(h.routed, c)
	}
}
