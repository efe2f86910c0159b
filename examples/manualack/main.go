// Manualack runs three workers. Each calls Ack when it has finished a job, so the calls are out of
// order. The output shows that the client sends the acks in order of arrival.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

// jobs returns the jobs of one round. The payload is the duration of the job; the first job is the
// longest.
func jobs(int) (round []mqtt.Message) {
	for _, effort := range []string{"600ms", "200ms", "100ms", "150ms"} {
		round = append(round, mqtt.Message{Topic: "jobs", QoS: mqtt.AtLeastOnce, Payload: []byte(effort)})
	}
	return round
}

func main() { demo.Main(run, demo.Feed{Round: jobs}) }

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{Logger: slog.New(acks{slog.DiscardHandler})})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "jobs", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}

	var workers sync.WaitGroup
	for worker := range 3 {
		workers.Go(func() {
			for d := range sub.Deliveries() { // each message goes to one worker
				effort, err := time.ParseDuration(string(d.Payload))
				if err != nil {
					fmt.Printf("worker %d cannot parse %q\n", worker, d.Payload)
				}
				time.Sleep(effort)
				fmt.Printf("worker %d acks the job of %s\n", worker, d.Payload)
				d.Ack()
			}
		})
	}

	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = client.Shutdown(grace) // waits until the workers have acknowledged their messages
	workers.Wait()
	st := client.Stats()
	fmt.Printf("finished  %d received, %d unacknowledged\n", st.Received, st.Unacked)
	return err
}

// acks is a log handler that prints the PUBACK packets of the client.
type acks struct{ slog.Handler }

func (acks) Enabled(context.Context, slog.Level) bool { return true }

func (acks) Handle(_ context.Context, r slog.Record) error {
	var kind, id slog.Value
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "type":
			kind = a.Value
		case "id":
			id = a.Value
		}
		return true
	})
	if r.Message == "sent" && kind.String() == "PUBACK" {
		fmt.Println("PUBACK  ", id)
	}
	return nil
}
