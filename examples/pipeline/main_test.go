package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestLinesBecomeShoutsUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(`^THE MILL TURNS, ROUND 1$`)
	p.Interrupt()
}

func TestTheResultOfEachLineIsPublishedInOrder(t *testing.T) {
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := mqtt.Dial(ctx, broker.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	shouts, err := client.Subscribe(ctx, mqtt.Filter{Topic: "shouts", QoS: mqtt.ExactlyOnce})
	if err != nil {
		t.Fatal(err)
	}
	const last = 50
	line := func(i int) {
		m := mqtt.Message{Topic: "lines", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "line %d", i), Retain: i == 0}
		if err := client.Publish(ctx, m); err != nil {
			t.Fatal(err)
		}
	}

	line(0) // line 0 is retained, so the pipeline receives it when it subscribes
	p := exampletest.Start(t, "-broker", broker.URL)
	p.Expect(`^LINE 0$`)
	for i := 1; i <= last; i++ {
		line(i)
	}
	i := 0
	for d, err := range shouts.All(ctx) {
		if want := fmt.Sprintf("LINE %d", i); err != nil || string(d.Payload) != want {
			t.Fatalf("got %q, %v; want %s", d.Payload, err, want)
		}
		if i++; i > last {
			break
		}
	}
	p.Expect(fmt.Sprintf("^LINE %d$", last))
	p.Interrupt()
}

func TestALostConnectionEndsThePipelineOnlyWithoutAKeptSession(t *testing.T) {
	for _, kept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := streamtest.New(t, streamtest.AutoPing())
			o := &mqtt.Options{DialContext: b.Dial}
			if kept {
				o.ClientID, o.KeepSession = "shouter", true
			}
			client, err := mqtt.Open("mqtt://broker.example", o)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- pipeline(ctx, client) }()
			c := b.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			c.Publish(frames.Message{Topic: "lines", Payload: []byte("a line"), QoS: frames.AtLeastOnce})
			shout := streamtest.Next[frames.Publish](c)
			c.Drop()
			if kept {
				c = b.Handshake(true)
				c.Grant(streamtest.Next[frames.Subscribe](c))
				shout.DUP = true
				c.Expect(shout)
				synctest.Wait()
				stop()
			}
			want := mqtt.ErrUnconfirmed
			if kept {
				want = context.Canceled
			}
			if err := <-ended; !errors.Is(err, want) {
				t.Errorf("kept session %t: the pipeline ended with %v, want %v", kept, err, want)
			}
			stop()
		})
	}
}
