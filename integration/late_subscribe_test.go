package integration

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// U16: a large backlog waits in a kept session, and the next process calls Subscribe with a
// deadline that the SUBACK behind the backlog does not keep. Every message is handed over to the
// Subscription that succeeds.
func TestSubscribeThatIsTriedAgainLosesNothingOfALargeBacklog(t *testing.T) {
	if mosquittoPath() == "" {
		t.Skip(notInstalled)
	}
	const n = 12_000
	b := startMosquitto(t, setup{}) // max_inflight_messages 0
	options, filter := mqtt.Options{ClientID: "worker", KeepSession: true, V5: mqtt.OptionsV5{ReceiveMaximum: backlogMaximum}}, mqtt.Filter{Topic: "jobs", QoS: mqtt.AtLeastOnce}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	backlog(ctx, t, b, options, filter, n)

	c, err := mqtt.Open(b.url, withLog(t, options))
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
			if !ok || backlogNumber(d) != i {
				t.Fatalf("message %d: open %v, number %d, DUP %v: %+v", i, ok, backlogNumber(d), d.Duplicate, c.Stats())
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

// U7: a consumer publishes a result for each message of a backlog that is larger than MaxUnread.
// The acks of the results lie behind the backlog. Publish may return ErrBehind, but the consumer
// always goes on.
func TestAConsumerThatPublishesGetsThroughALargeBacklog(t *testing.T) {
	if mosquittoPath() == "" {
		t.Skip(notInstalled)
	}
	t.Parallel()
	const n = 12_000
	b := startMosquitto(t, setup{}) // max_inflight_messages 0
	options, filter := mqtt.Options{ClientID: "worker", KeepSession: true, V5: mqtt.OptionsV5{ReceiveMaximum: backlogMaximum}}, mqtt.Filter{Topic: "jobs", QoS: mqtt.AtLeastOnce}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	backlog(ctx, t, b, options, filter, n)

	c := dial(t, b.url, options)
	sub := subscribe(t, c, filter)
	taken, behind, paused := 0, 0, time.Duration(0)
	for d, err := range sub.All(ctx) {
		if err != nil {
			t.Fatalf("after %d of %d messages: %v, %+v", taken, n, err, c.Stats())
		}
		if got := backlogNumber(d); got != taken {
			t.Fatalf("message %d is %d", taken, got)
		}
		taken++
		began := time.Now()
		switch err := c.Publish(ctx, text("results", "done", 1)); {
		case errors.Is(err, mqtt.ErrBehind):
			behind++
		case err != nil:
			t.Fatalf("result %d: %v, %+v", taken, err, c.Stats())
		}
		paused = max(paused, time.Since(began))
		if taken == n {
			break
		}
	}
	s := c.Stats()
	if s.Discarded != 0 || s.Connections != 1 {
		t.Errorf("%+v", s)
	}
	t.Logf("%d results with ErrBehind, the longest Publish took %v", behind, paused.Round(time.Millisecond))
	if paused > 10*time.Second {
		t.Errorf("a Publish took %v", paused)
	}
}

// backlogMaximum is the Receive Maximum of a consumer of backlog. mosquitto 2.0.11 exceeds it when
// messages wait: it answers each ack with as many messages again.
const backlogMaximum = 65_535

// backlog makes the session of options, and n messages of 8 kB that wait for it.
func backlog(ctx context.Context, t *testing.T, b *broker, options mqtt.Options, filter mqtt.Filter, n int) {
	t.Helper()
	c := dial(t, b.url, options)
	subscribe(t, c, filter)
	if err := c.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	publisher := dial(t, b.url, mqtt.Options{ClientID: "publisher", Window: 500, Queue: 2000})
	in := make(chan mqtt.Message)
	go func() {
		defer close(in)
		for i := range n {
			payload := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 4000)
			select {
			case in <- mqtt.Message{Topic: filter.Topic, Payload: payload, QoS: mqtt.AtLeastOnce}:
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
}

// backlogNumber returns the number of a message of backlog.
func backlogNumber(d mqtt.Delivery) int { return int(d.Payload[0]) | int(d.Payload[1])<<8 }
