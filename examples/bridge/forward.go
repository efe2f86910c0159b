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

// forward publishes the messages of one side at the other side. When ctx ends, it receives no more
// messages and returns after the last Receipt, or when the client of the other side ends. A message
// without a Receipt stays unacknowledged, so its broker sends it to the next bridge.
func forward(ctx context.Context, from, to *side) {
	var (
		arrivals = mqtt.Merge(from.subs...)
		stop     = ctx.Done()
		receipts = make(chan mqtt.Receipt, 64)
		waiting  = 0                    // number of Receipts that have not come yet
		next     mqtt.Publishing        // the message to be published
		out      chan<- mqtt.Publishing // nil unless next waits to be sent
		in       <-chan mqtt.Delivery   // nil while next waits to be sent, and at the end
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
				in, out = nil, to.client.Publishes() // a send blocks while the queue of to is full
			}
		case out <- next:
			in, out = arrivals, nil
			waiting++
		case r := <-receipts:
			waiting--
			complete(r, to)
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

// complete acknowledges, requeues or rejects the delivery whose publication has the Receipt r.
func complete(r mqtt.Receipt, to *side) {
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
