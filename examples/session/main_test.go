package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheNextProcessSendsTheReadingOfTheOneBefore(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "session")
	publishOffline(t, folder)
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watch, err := mqtt.Dial(ctx, broker.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	sub, err := watch.Subscribe(ctx, mqtt.Filter{Topic: "pump/1/flow", QoS: mqtt.ExactlyOnce})
	if err != nil {
		t.Fatal(err)
	}
	if err := session(ctx, broker.URL, folder); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		select {
		case m := <-sub.Messages():
			if string(m.Payload) != "17" {
				t.Errorf("reading %d is %q", n+1, m.Payload)
			}
		case <-ctx.Done():
			t.Fatalf("reading %d of 2 did not arrive", n+1)
		}
	}
}

func TestTheErrorHasEachReadingThatTheBrokerRefuses(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "session")
	publishOffline(t, folder)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := session(ctx, startRefusingBroker(t), folder)
	if !errors.Is(err, mqtt.ErrRefused) || !errors.Is(err, mqtt.NotAuthorized) {
		t.Fatalf("session returned %v", err)
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 2 {
		t.Errorf("%d errors, want one for the reading of each process: %v", n, err)
	}
}

// publishOffline runs a process that cannot reach the broker. Its log must say so.
func publishOffline(t *testing.T, folder string) {
	t.Helper()
	before := slog.Default()
	defer slog.SetDefault(before)
	var records strings.Builder
	slog.SetDefault(slog.New(slog.NewTextHandler(&records, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := session(ctx, "unix:///nowhere", folder); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a broker, session ended with %v", err)
	}
	if !strings.Contains(records.String(), "nowhere") {
		t.Errorf("the log does not name the broker: %s", records.String())
	}
}

// startRefusingBroker starts a broker that permits no topic, and returns its URL.
func startRefusingBroker(t *testing.T) string {
	t.Helper()
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(refusal), nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.AddListener(listeners.NewNet("loopback", l)); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return "mqtt://" + l.Addr().String()
}

// refusal is a hook of mochi that accepts each client and no topic.
type refusal struct{ mochi.HookBase }

func (*refusal) ID() string { return "refusal" }

func (*refusal) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*refusal) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*refusal) OnACLCheck(*mochi.Client, string, bool) bool { return false }
