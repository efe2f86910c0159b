package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-millrace/mqtt"
)

const retryAfter = time.Second // after a publication that has failed

// forward publishes the messages of one side at the other side. When ctx ends, it takes no more
// messages and returns after the Receipts of those it has taken, or at the end of the client. A
// message without a Receipt stays unacknowledged, so its broker sends it to the next bridge.
func forward(ctx context.Context, from, to *side) {
	var (
		arrivals = mqtt.Merge(from.subs...)
		stop     = ctx.Done()
		receipts = make(chan mqtt.Receipt, 64)
		waiting  = 0                    // Receipts that are to come
		next     mqtt.Publishing        // the message to be published
		out      chan<- mqtt.Publishing // nil while there is none
		in       <-chan mqtt.Delivery   // nil while there is one, and at the end
	)
	for in = arrivals; arrivals != nil || out != nil || waiting > 0; {
		select {
		case d, ok := <-in:
			switch {
			case !ok:
				arrivals, in = nil, nil // the client has ended
			case *prefix != "" && strings.HasPrefix(d.Topic, *prefix):
				d.Ack() // a bridge has forwarded it
			default:
				next = mqtt.Publishing{Message: forwarded(d.Message), Tag: d, Ack: receipts}
				in, out = nil, to.client.Publishes() // which blocks while the queue of to is full
			}
		case out <- next:
			in, out = arrivals, nil
			waiting++
		case r := <-receipts:
			waiting--
			settle(r, to)
		case <-stop:
			arrivals, in, stop = nil, nil, nil
		case <-to.client.Done():
			return
		}
	}
}

// forwarded returns the message to be published for m.
func forwarded(m mqtt.Message) mqtt.Message {
	m.Topic = *prefix + m.Topic
	return m
}

// settle ends the delivery that r belongs to.
func settle(r mqtt.Receipt, to *side) {
	d := r.Tag.(mqtt.Delivery)
	switch {
	case r.Err == nil:
		d.Ack()
		fmt.Printf("forwarded %s to %s\n", d.Topic, to.name)
	case errors.Is(r.Err, mqtt.ErrClosed): // without Ack, so that the next bridge forwards it
	case mqtt.Retryable(r.Err), errors.Is(r.Err, mqtt.ErrUnconfirmed):
		fmt.Printf("retried   %s: %v\n", d.Topic, r.Err)
		d.Requeue(retryAfter) // later messages of the topic may overtake it
	default: // it is too large, has expired or is not allowed there, so it would never arrive
		fmt.Printf("rejected  %s: %v\n", d.Topic, r.Err)
		d.Reject(mqtt.UnspecifiedError, r.Err.Error())
	}
}
