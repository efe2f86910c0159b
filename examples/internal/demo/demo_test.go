package demo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt"
)

func TestRoundsComeInTheirIntervalAndEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		values := Rounds(ctx, time.Second, func(n int) []int { return []int{n, -n} })
		for _, want := range []struct {
			value int
			at    time.Duration
		}{{1, 0}, {-1, 0}, {2, time.Second}, {-2, time.Second}, {3, 2 * time.Second}} {
			if v, at := <-values, time.Since(start); v != want.value || at != want.at {
				t.Errorf("got %d at %v, want %d at %v", v, at, want.value, want.at)
			}
		}
		cancel()
		for range values {
			t.Error("a value came after the end")
		}
	})
}

func TestTheFeedWaitsForASubscriber(t *testing.T) {
	b, err := StartBroker(Feed{Round: func(n int) []mqtt.Message {
		return []mqtt.Message{{Topic: "fed", Payload: []byte{byte(n)}}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := mqtt.Dial(ctx, b.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "fed"})
	if err != nil {
		t.Fatal(err)
	}
	for d, err := range sub.All(ctx) {
		if err != nil || d.Payload[0] != 1 {
			t.Errorf("first message: %v, %v; want round 1", d.Payload, err)
		}
		break
	}
}

func TestTheErrorOfAnExampleIsReportedUnlessItIsTheEndOfItsContext(t *testing.T) {
	broken := errors.New("broken")
	for _, err := range []error{nil, broken, context.Canceled} {
		if got := start(func(context.Context, string) error { return err }, "mqtt://localhost", Feed{}); got != err {
			t.Errorf("start: got %v, want %v", got, err)
		}
	}
}
