package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheNextProcessSendsTheReadingOfTheOneBefore(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "session")
	offline, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := run(offline, "unix:///nowhere", folder); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a broker, run ended with %v", err)
	}

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
	if err := run(ctx, broker.URL, folder); err != nil {
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
