// Durable publishes a reading every second from a session on disk. To try it, stop the broker, kill
// this program with SIGKILL, and start both again. Every reading that it has printed as stored
// arrives.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/flow/logstore"
)

var (
	folder = flag.String("store", filepath.Join(os.TempDir(), "millrace-durable"), "`folder` of the session")
	every  = demo.Interval("every", time.Second, "`interval` between two readings")
)

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	store, err := logstore.Open(*folder, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	receipts := make(chan mqtt.Receipt, 64)
	client, err := mqtt.Open(broker, &mqtt.Options{
		ClientID: "gateway-7", KeepSession: true, Store: store, // the client sends publications of the last run first
		Window: 20, Ack: receipts, DiscardUnclaimed: true,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	if st := client.Stats(); st.Queued+st.InFlight > 0 {
		fmt.Printf("recovered %d publications\n", st.Queued+st.InFlight)
	}

	ticks := time.Tick(*every)
	for n := 1; ; {
		select {
		case <-ticks:
			reading := mqtt.Message{Topic: "plant/7/flow", QoS: mqtt.ExactlyOnce, Payload: fmt.Append(nil, n)}
			select {
			case client.Publishes() <- mqtt.Publishing{Message: reading}:
			case <-ctx.Done():
				continue
			}
			if err := client.Sync(ctx); err == nil {
				fmt.Printf("stored    reading %d\n", n)
			} else if ctx.Err() == nil {
				return err // for example a full disk; the Receipt has the same error
			}
			n++
		case r := <-receipts:
			printReceipt(r)
		case <-ctx.Done():
			grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				ended <- client.Shutdown(grace) // unfinished publications stay in the store
				close(receipts)                 // after Shutdown no Receipt comes
			}()
			for r := range receipts {
				printReceipt(r)
			}
			return errors.Join(<-ended, store.Close())
		}
	}
}

func printReceipt(r mqtt.Receipt) {
	fmt.Printf("receipt   reading %s, packet %d, error %v\n", r.Payload, r.ID, r.Err)
}
