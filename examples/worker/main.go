// Worker is one of a group of processes that share jobs through a shared subscription. Start any
// number of workers, on any number of machines. Give each worker its own name:
//
//	go run ./examples/worker -broker mqtt://broker.example -id worker-1
//	go run ./examples/worker -broker mqtt://broker.example -id worker-2
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	id    = flag.String("id", "worker-1", "`name` of this worker: unique at the broker, and the same at every start")
	leave = flag.Bool("leave", false, "leave the group at the end: the broker keeps no jobs for this worker, and jobs in flight to it are lost")
	every = demo.Interval("every", time.Second, "`interval` at which the broker in this process publishes jobs")
)

func jobs(n int) []mqtt.Message {
	return []mqtt.Message{
		{Topic: "jobs/grind", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "sack %d", 2*n-1)},
		{Topic: "jobs/sift", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "sack %d", 2*n)},
	}
}

func main() { demo.Main(run, demo.Feed{Round: jobs, Every: every}) }

func run(ctx context.Context, broker string) error {
	// If this worker dies, its unfinished jobs stay in its kept session until it starts again.
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{ClientID: *id, KeepSession: true})
	if err != nil {
		return err
	}
	defer client.Close()
	// The broker sends each message that matches jobs/+ to one member of the group.
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "$share/workers/jobs/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	fmt.Println("joined   ", *id)

	var working sync.WaitGroup
	working.Go(func() {
		for d := range sub.Deliveries() {
			fmt.Printf("%-9s %s of %s\n", d.Topic[len("jobs/"):], d.Payload, *id)
			d.Ack() // only after the work, so that the broker sends an unfinished job again
		}
	})

	<-ctx.Done() // Ctrl-C: the worker still does the jobs that it has received
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if *leave {
		err = sub.Drain(grace)
	}
	err = errors.Join(err, client.Shutdown(grace))
	working.Wait()
	st := client.Stats()
	fmt.Printf("finished  %d received, %d unacknowledged\n", st.Received, st.Unacked)
	return err
}
