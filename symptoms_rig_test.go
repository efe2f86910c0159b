package mqtt_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A situation is a row of OPERATIONS.md: an act of a program or of its broker, the record of the
// log that it causes, and the fields that show it.
type situation struct {
	record  string
	options mqtt.Options
	happens func(*observed)
	shows   func(mqtt.Stats) bool
}

// observed is a client in a synctest bubble, with the records of its log and a scripted broker.
type observed struct {
	*testing.T
	*mqtt.Client
	broker *streamtest.Broker
	conn   *streamtest.Conn // after online

	mu      sync.Mutex
	records []string
}

func (o *observed) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (o *observed) WithAttrs([]slog.Attr) slog.Handler           { return o }
func (o *observed) WithGroup(string) slog.Handler                { return o }

func (o *observed) Handle(_ context.Context, r slog.Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records = append(o.records, r.Message)
	return nil
}

func (o *observed) logged(record string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.records, record)
}

// online accepts the connection of the client.
func (o *observed) online() { o.conn = o.broker.Handshake(false) }

// publish sends n publications at QoS 1 on Publishes.
func (o *observed) publish(n int) {
	for range n {
		o.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "t", QoS: mqtt.AtLeastOnce}}
	}
}

// subscribed returns a Subscription to the topic t that the broker has granted.
func (o *observed) subscribed() *mqtt.Subscription {
	sub, err := o.Declare(mqtt.Filter{Topic: "t", QoS: mqtt.AtLeastOnce})
	if err != nil {
		o.Fatal(err)
	}
	o.conn.Grant(streamtest.Next[frames.Subscribe](o.conn))
	return sub
}

// arrive sends messages of a size to the client, at QoS 1.
func (o *observed) arrive(n, size int) {
	for range n {
		o.conn.Publish(mqtt.Message{Topic: "t", Payload: make([]byte, size), QoS: mqtt.AtLeastOnce})
	}
}
