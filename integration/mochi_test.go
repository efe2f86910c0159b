package integration

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"sync"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"
)

func startMochi(t *testing.T, s setup) *broker {
	t.Helper()
	// By default, mochi disconnects a client with more than 1,024 publications in flight and drops
	// messages to a slow client.
	limits := mochi.NewDefaultServerCapabilities()
	limits.ReceiveMaximum = math.MaxUint16
	limits.MaximumInflight = math.MaxUint16
	limits.MaximumClientWritesPending = math.MaxUint16
	server := mochi.New(&mochi.Options{Capabilities: limits, Logger: slog.New(slog.DiscardHandler)})
	for _, hook := range []mochi.Hook{&gate{setup: s}, newTurns(), new(mended)} {
		if err := server.AddHook(hook, nil); err != nil {
			t.Fatal(err)
		}
	}

	listen := func(network, address string) *door {
		t.Helper()
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		return newDoor(l.Addr().String(), l)
	}
	add := func(d *door) {
		t.Helper()
		if err := server.AddListener(d); err != nil {
			t.Fatal(err)
		}
	}
	b := &broker{name: "mochi", version: mochi.Version}
	// addTCP adds a listener, with TLS and WebSocket as requested.
	addTCP := func(c *tls.Config, webSocket bool) (addr string) {
		t.Helper()
		d := listen("tcp", "127.0.0.1:0")
		if c != nil {
			d.Listener = tls.NewListener(d.Listener, c)
		}
		if webSocket {
			d.Listener = newWebListener(d.Listener)
		}
		add(d)
		return d.Address()
	}
	b.url = "mqtt://" + addTCP(nil, false)
	if s.webSocket {
		b.wsURL = "ws://" + addTCP(nil, true) + "/mqtt"
	}
	if s.cert != nil {
		b.tlsURL = "mqtts://" + addTCP(s.cert.server(), false)
	}
	if s.cert != nil && s.webSocket {
		b.wssURL = "wss://" + addTCP(s.cert.server(), true) + "/mqtt"
	}
	if s.cert != nil && s.clients != nil {
		b.mutualURL = "mqtts://" + addTCP(s.cert.serverFor(s.clients), false)
	}
	if s.unix {
		path := filepath.Join(t.TempDir(), "mqtt")
		b.unixURL = "unix://" + path
		add(listen("unix", path))
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// gate authenticates clients and authorizes subscriptions.
type gate struct {
	auth.AllowHook
	setup
}

func (g *gate) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return g.user == "" || string(p.Connect.Username) == g.user && bytes.Equal(p.Connect.Password, []byte(g.password))
}

func (g *gate) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	return write || g.deny == "" || topic != g.deny
}

// turns is a hook that keeps the messages of a client in order across its connections. mochi
// acknowledges a message before it routes it. Between the two, mochi may already read the next
// message from the client's next connection.
type turns struct {
	mochi.HookBase
	mu      sync.Mutex
	ended   sync.Cond
	passing map[string]*mochi.Client // keys are client identifiers
}

func newTurns() *turns {
	h := &turns{passing: make(map[string]*mochi.Client)}
	h.ended.L = &h.mu
	return h
}

func (h *turns) Provides(b byte) bool {
	return b == mochi.OnPublish || b == mochi.OnPublished || b == mochi.OnDisconnect
}

func (h *turns) OnPublish(c *mochi.Client, p packets.Packet) (packets.Packet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.passing[c.ID] != nil && h.passing[c.ID] != c {
		h.ended.Wait()
	}
	h.passing[c.ID] = c
	return p, nil
}

func (h *turns) OnPublished(c *mochi.Client, _ packets.Packet) { h.end(c) }

// OnDisconnect ends the turn of a message that mochi could not acknowledge.
func (h *turns) OnDisconnect(c *mochi.Client, _ error, _ bool) { h.end(c) }

func (h *turns) end(c *mochi.Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.passing[c.ID] == c {
		delete(h.passing, c.ID)
		h.ended.Broadcast()
	}
}

// mended is a hook that keeps two faults of mochi 2.7.9 at MQTT 5 out of the tests.
//
// Inflight.NextImmediate takes a read lock twice, which is a deadlock when another goroutine waits
// for the lock in between. mochi calls it only while the client has a quota, so clients have none.
//
// The packet identifiers of both directions are in one table. So mochi does not know the identifier
// of some PUBRELs of a client that receives at QoS 2 too, and answers with PUBCOMP 0x92. It has
// routed their messages.
type mended struct{ mochi.HookBase }

func (*mended) Provides(b byte) bool {
	return b == mochi.OnSessionEstablish || b == mochi.OnPacketEncode
}

func (*mended) OnSessionEstablish(c *mochi.Client, _ packets.Packet) {
	c.Properties.Props.ReceiveMaximum = 0 // for a session that the client takes over
	c.State.Inflight.ResetSendQuota(0)
}

func (*mended) OnPacketEncode(_ *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Pubcomp {
		p.ReasonCode = 0
	}
	return p
}
