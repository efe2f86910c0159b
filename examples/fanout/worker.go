package main

import (
	"context"
	"database/sql"
	"fmt"
	"hash/maphash"

	"github.com/go-millrace/mqtt"
)

// dispatch sends each message to the worker of its topic until ctx or sub ends, or a worker fails.
func dispatch(ctx context.Context, sub *mqtt.Subscription, inputs []chan mqtt.Delivery, failed <-chan error) error {
	seed := maphash.MakeSeed()
	deliveries := sub.Deliveries()
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return sub.Err()
			}
			worker := maphash.String(seed, d.Topic) % uint64(len(inputs))
			select {
			case inputs[worker] <- d: // there is room, unless the broker exceeds ReceiveMaximum
			case err := <-failed:
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// work writes the events of one worker. Each transaction has all events that wait for it.
func work(db *sql.DB, worker int, in <-chan mqtt.Delivery) error {
	for d := range in {
		batch := mqtt.Batch{d}
		for len(batch) < *size && len(in) > 0 {
			batch = append(batch, <-in) // only this worker receives from in
		}
		added, err := insert(db, batch)
		if err != nil {
			return err // without Ack, so the broker sends the batch again at the next start
		}
		batch.Ack()
		fmt.Printf("committed %d messages, %d new, by worker %d\n", len(batch), added, worker)
	}
	return nil
}
