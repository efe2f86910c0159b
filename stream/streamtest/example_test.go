package streamtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A test passes its own t and needs no cleanup.
func Example() {
	t := &exampleT{}
	defer t.cleanup()

	b := streamtest.New(t)

	// The client. A real client has b.Dial as its Options.DialContext, and its own goroutines.
	conn, err := b.Dial(context.Background(), "tcp", "broker:1883")
	if err != nil {
		fmt.Println(err)
		return
	}
	var out []byte
	for _, p := range []frames.Packet{
		frames.Connect{ClientID: "gauge", CleanSession: true},
		frames.Publish{Message: frames.Message{Topic: "level", Payload: []byte("4.2"), QoS: frames.AtLeastOnce}, ID: 1},
		frames.Disconnect{},
	} {
		out, _ = p.Append(out, frames.V311)
	}
	_, _ = conn.Write(out)
	_ = conn.Close()

	// The script.
	c := b.Handshake(false)
	p := streamtest.Next[frames.Publish](c)
	c.Complete(p)
	c.ExpectDisconnect()
	fmt.Printf("%s is %s, in %d write\n", p.Topic, p.Payload, c.Writes())

	// Output: level is 4.2, in 1 write
}

// A test of a consumer: when Deliver returns, the consumer has acknowledged the message.
func ExampleConn_Deliver() {
	t := &exampleT{} // a test has its own t
	defer t.cleanup()

	b := streamtest.New(t)
	client, err := mqtt.Open("mqtt://broker", &mqtt.Options{DialContext: b.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// The consumer that is tested.
	store := map[string]string{}
	go func() {
		sub, err := client.Subscribe(context.Background(), mqtt.Filter{Topic: "level/#", QoS: mqtt.AtLeastOnce})
		if err != nil {
			return
		}
		for d := range sub.Deliveries() {
			store[d.Topic] = string(d.Payload)
			d.Ack()
		}
	}()

	// The script.
	c := b.Handshake(false)
	c.Grant(streamtest.Next[frames.Subscribe](c))
	c.Deliver(mqtt.Message{Topic: "level/north", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce})
	fmt.Println("stored:", store["level/north"])

	// Output: stored: 4.2
}

// exampleT replaces the *testing.T that an example lacks.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleT) cleanup() {
	for _, f := range t.cleanups {
		f()
	}
}
