// Fanout receives events and writes them into a table of SQLite with several workers at a time. The
// events of a topic keep their order, and none is lost if the process is killed at any moment.
//
// A topic belongs to one worker, chosen by a hash of its name. Each worker writes the events that
// wait for it in one transaction, and acknowledges them after the commit. So the topics of a slow
// worker wait, and the others go on, until the broker reaches its limit of messages without an ack.
//
// If the process is killed, the broker sends the messages without an ack again, in order, to the
// next process with the same client identifier. The table already has the events that were
// committed and not yet acknowledged. There may be many of them, since acks are sent in order of
// arrival: the events of a quick worker wait for the ack of an earlier event of a slow worker.
// Topic and number of an event are unique, so the table skips the events that it has, and the
// others follow in order.
//
// The broker determines the order. Mosquitto sends messages in the order in which they were
// published, also messages that wait for a client that is offline. Some brokers do not.
//
// SQLite allows one writer at a time, so the transactions of the workers run one after another.
// With a database server they run at the same time.
//
// The program is a module of its own, because SQLite takes a minute to compile. Run it in its
// folder:
//
//	GOWORK=off go run . -broker mqtt://localhost -db events.db
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	file    = flag.String("db", filepath.Join(os.TempDir(), "millrace-events.db"), "`file` of the database")
	id      = flag.String("id", "events-writer", "client `identifier`: unique at the broker, and the same at every start")
	workers = demo.Count("workers", 8, 1, 1000, "`number` of workers")
	size    = demo.Count("batch", 100, 1, 100_000, "`number` of events that one transaction has at most")
	every   = demo.Interval("every", time.Second, "`interval` at which the broker in this process publishes an event for each machine")
)

func main() {
	start := time.Now().UnixMilli() // so that the events of every start have new numbers
	demo.Main(run, demo.Feed{Every: every, Round: func(n int) []mqtt.Message { return round(start + int64(n)) }})
}

// round returns the messages of one round.
func round(n int64) (messages []mqtt.Message) {
	for machine := range 20 {
		messages = append(messages, mqtt.Message{
			Topic:   fmt.Sprintf("machine/%d/event", machine),
			Payload: fmt.Appendf(nil, `{"number": %d, "text": "part finished"}`, n),
			QoS:     mqtt.AtLeastOnce,
		})
	}
	return messages
}

func run(ctx context.Context, broker string) error {
	db, err := openTable(*file)
	if err != nil {
		return err
	}
	defer db.Close()
	// Each worker can have one batch in work and one that waits. Before MQTT 5 the broker has its
	// own limit: mosquitto sends 20 messages before an ack, unless max_inflight_messages is set.
	inFlight := min(2*(*workers)*(*size), 65_535)
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{
		ClientID: *id, KeepSession: true, V5: mqtt.OptionsV5{ReceiveMaximum: inFlight},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "machine/+/event", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	fmt.Println("joined   ", *id)

	var working sync.WaitGroup
	inputs := make([]chan mqtt.Delivery, *workers)
	failed := make(chan error, *workers)
	for i := range inputs {
		inputs[i] = make(chan mqtt.Delivery, inFlight) // so that a slow worker holds up no other
		working.Go(func() {
			if err := work(db, i, inputs[i]); err != nil {
				failed <- err
			}
		})
	}
	err = dispatch(ctx, sub, inputs, failed)
	for _, in := range inputs {
		close(in)
	}
	working.Wait() // they still write the events that were received
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = client.Shutdown(grace) // sends the acks; the session keeps the other messages
	st := client.Stats()
	fmt.Printf("finished  %d received, %d unacknowledged\n", st.Received, st.Unacked)
	return err
}
