// Batchinsert receives readings and writes them into a table of SQLite, many in one transaction. No
// reading is lost if the process is killed at any moment.
//
// The program calls Batch.Ack only after the commit. Until the ack, the broker keeps the messages
// in the session of the client, and it sends them again when the program starts again with the same
// client identifier. So each reading is written at least once. If the program is killed after a
// commit and before the ack, the broker sends readings that the table has already.
//
// That does no harm, because each reading has an identifier, which its publisher makes and puts
// into the payload. It is the primary key of the table, and ON CONFLICT DO NOTHING skips a reading
// that the table has. A reading that its publisher sent twice is skipped in the same way. The
// packet identifier and the DUP flag cannot do this: both belong to one delivery, not to a reading.
//
// A payload that is no reading is rejected; otherwise the broker would send it for ever. If the
// database fails, the program ends with an error and acknowledges nothing of the batch.
//
// The broker must keep enough messages while the program does not run: mosquitto keeps 1,000 for a
// client and drops further ones, unless its option max_queued_messages is higher.
//
// SQLite syncs its file at every commit (synchronous=FULL), so that the readings also survive a
// power cut. With synchronous=NORMAL in WAL mode, the last commits before the cut would be lost,
// although their messages were acknowledged.
//
// The program is a module of its own, because SQLite takes a minute to compile. Run it in its
// folder:
//
//	GOWORK=off go run . -broker mqtt://localhost -db readings.db
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	file  = flag.String("db", filepath.Join(os.TempDir(), "millrace-readings.db"), "`file` of the database")
	id    = flag.String("id", "readings-writer", "client `identifier`: unique at the broker, and the same at every start")
	size  = demo.Count("batch", 500, 1, 100_000, "`number` of messages that one transaction has at most")
	wait  = demo.Time("wait", 200*time.Millisecond, "`time` for which a batch that is not full waits for more messages")
	every = demo.Interval("every", time.Second, "`interval` at which the broker in this process publishes 100 readings")
)

// reading is the payload of a message.
type reading struct {
	ID      string  `json:"id"` // unique, made by the publisher
	Celsius float64 `json:"celsius"`
}

func main() {
	start := rand.Text() // so that the readings of every start have new identifiers
	demo.Main(run, demo.Feed{Every: every, Round: func(n int) []mqtt.Message { return round(start, n) }})
}

// round returns the messages of one round. The last one repeats the first.
func round(start string, n int) (messages []mqtt.Message) {
	for i := range 100 {
		payload := fmt.Appendf(nil, `{"id": "%s-%d-%d", "celsius": %.1f}`, start, n, i, 20+float64(i)/10)
		messages = append(messages, mqtt.Message{Topic: "readings/boiler", Payload: payload, QoS: mqtt.AtLeastOnce})
	}
	return append(messages, messages[0])
}

func run(ctx context.Context, broker string) error {
	db, err := openTable(*file)
	if err != nil {
		return err
	}
	defer db.Close()
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{
		ClientID: *id, KeepSession: true,
		// One batch can arrive while the one before is written. Before MQTT 5, set the limit at the
		// broker: mosquitto sends 20 messages before an ack, unless max_inflight_messages is set.
		V5: mqtt.OptionsV5{ReceiveMaximum: min(2*(*size), 65_535)},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "readings/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	fmt.Println("joined   ", *id)

	batches := sub.Batches(*size, *wait)
	for {
		select {
		case batch, ok := <-batches:
			if !ok {
				return sub.Err()
			}
			added, err := insert(db, batch)
			if err != nil {
				return err // without Ack, so the broker sends the batch again at the next start
			}
			batch.Ack()
			fmt.Printf("committed %d messages, %d new\n", len(batch), added)
		case <-ctx.Done(): // no batch is being written
			grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			err := client.Shutdown(grace) // sends the acks; the session keeps the other messages
			st := client.Stats()
			fmt.Printf("finished  %d received, %d unacknowledged\n", st.Received, st.Unacked)
			return err
		}
	}
}
