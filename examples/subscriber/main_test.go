package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestEachQoSArrivesUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(
		`^online    mqtt://127\.0\.0\.1:\d+ at MQTT 5$`,
		`^granted   QoS \[0 1 2\]$`,
		`^received  foo/bar/baz1 at QoS 0: hello world 0, round 1$`,
		`^received  foo/bar/baz2 at QoS 1: hello world 1, round 1$`,
		`^received  foo/bar/baz3 at QoS 2: hello world 2, round 1$`,
	)
	exampletest.LastLine(t, p.Interrupt(), `^finished  \d+ received, 0 unacknowledged$`)
}

func TestALostConnectionIsLoggedAndComesBackWithItsSubscriptions(t *testing.T) {
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	p := exampletest.Start(t, "-broker", broker.URL)
	p.Expect(`^online `, `^granted `)
	for _, c := range broker.Server.Clients.GetAll() {
		c.Stop(errors.New("cut"))
	}
	p.Expect(`^offline   mqtt: `, `^online `)
	client, err := mqtt.Dial(ctx, broker.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.Publish(ctx, mqtt.Message{Topic: "foo/bar/baz3", Payload: []byte("again"), QoS: mqtt.ExactlyOnce, Retain: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Expect(`^received  foo/bar/baz3 at QoS 2: again$`)
	p.Interrupt()
}
