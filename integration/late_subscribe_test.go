package integration

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// U16: a large backlog waits in a kept session, and the next process calls Subscribe with a deadline
// that the SUBACK behind the backlog does not keep. Every message is handed over to the Subscription
// that succeeds.
func TestSubscribeThatIsTriedAgainLosesNothingOfALargeBacklog(t *testing.T) {
	if mosquittoPath() == "" {
		t.Skip(notInstalled)
	}
	const n, size = 12_000, 8_000
	b := startMosquitto(t, setup{}) // max_inflight_messages 0
	options := mqtt.Options{ClientID: "worker", KeepSession: true}
	filter := mqtt.Filter{Topic: "jobs", QoS: mqtt.AtLeastOnce}
	c := dial(t, b.url, options)
	subscribe(t, c, filter)
	if err := c.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}

	publisher := dial(t, b.url, mqtt.Options{ClientID: "publisher", Window: 500, Queue: 2000})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in := make(chan mqtt.Message)
	go func() {
		defer close(in)
		for i := range n {
			payload := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
			select {
			case in <- mqtt.Message{Topic: "jobs", Payload: payload, QoS: mqtt.AtLeastOnce}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for r := range publisher.PublishFrom(ctx, in) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}

	c, err := mqtt.Open(b.url, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var sub *mqtt.Subscription
	for sub == nil {
		try, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		var err error
		sub, err = c.Subscribe(try, filter)
		stop()
		if err != nil && (!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, mqtt.ErrBehind) || ctx.Err() != nil) {
			t.Fatal(err)
		}
	}
	for i := range n {
		select {
		case d, ok := <-sub.Deliveries():
			if !ok || d.Payload[0] != byte(i) || d.Payload[1] != byte(i>>8) {
				t.Fatalf("message %d: open %v", i, ok)
			}
			d.Ack()
		case <-ctx.Done():
			t.Fatalf("%d of %d messages were handed over: %+v", i, n, c.Stats())
		}
	}
	if s := c.Stats(); s.Discarded != 0 {
		t.Errorf("%d messages were discarded", s.Discarded)
	}
}
