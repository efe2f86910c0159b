package main

import (
	"fmt"
	"time"

	"github.com/go-millrace/mqtt"
)

// messages receives from the channel Messages, where a receive acks the message.
type messages struct {
	unsupported
	*mill
}

func (r *messages) Receive(n int, subscribed func()) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	subscribed()
	for range sub.Messages() {
		if n--; n == 0 {
			return nil
		}
	}
	return r.ended(sub)
}

func (r *messages) Echo(rtt []time.Duration) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	in := sub.Messages()
	return r.echo(sub, rtt, func() bool {
		_, ok := <-in
		return ok
	})
}

// deliveries receives from the channel Deliveries, which is buffered, and acks each message.
type deliveries struct {
	unsupported
	*mill
}

func (r *deliveries) Receive(n int, subscribed func()) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	subscribed()
	for d := range sub.Deliveries() {
		d.Ack()
		if n--; n == 0 {
			return nil
		}
	}
	return r.ended(sub)
}

func (r *deliveries) Echo(rtt []time.Duration) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	in := sub.Deliveries()
	return r.echo(sub, rtt, func() bool {
		d, ok := <-in
		d.Ack()
		return ok
	})
}

// all receives with the iterator All.
type all struct {
	unsupported
	*mill
}

func (r *all) Receive(n int, subscribed func()) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	subscribed()
	for d, err := range sub.All(background) {
		if err != nil {
			return err
		}
		if n--; n == 0 {
			d.Ack()
			return nil
		}
	}
	return r.ended(sub)
}

func (r *all) Echo(rtt []time.Duration) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	i, sent, send := 0, time.Now(), r.sender()
	if err := send(); err != nil {
		return err
	}
	for _, err := range sub.All(background) {
		if err != nil {
			return err
		}
		now := time.Now()
		rtt[i], sent = now.Sub(sent), now
		if i++; i == len(rtt) {
			return nil
		}
		if err := send(); err != nil {
			return err
		}
	}
	return r.ended(sub)
}

// allBatches receives with the iterator AllBatches, which lends the messages.
type allBatches struct {
	unsupported
	*mill
}

func (r *allBatches) Receive(n int, subscribed func()) error {
	sub, err := r.subscribe()
	if err != nil {
		return err
	}
	subscribed()
	for batch, err := range sub.AllBatches(background, batchLength) {
		if err != nil {
			return err
		}
		if n -= len(batch); n <= 0 {
			batch.Ack()
			return nil
		}
	}
	return r.ended(sub)
}

// sender returns a function that publishes a message of an echo. At QoS 0 it calls Publish, which
// writes a lone message itself. At QoS 1 and 2 it sends on Publishes, since Publish would wait for
// the ack, and the message may come back before the ack.
func (m *mill) sender() func() error {
	p := mqtt.Publishing{Message: m.message()}
	if p.QoS == mqtt.AtMostOnce {
		return func() error { return m.client.Publish(background, p.Message) }
	}
	publishes := m.client.Publishes()
	return func() error {
		publishes <- p
		return nil
	}
}

func (m *mill) echo(sub *mqtt.Subscription, rtt []time.Duration, receive func() bool) error {
	send := m.sender()
	for i := range rtt {
		sent := time.Now()
		if err := send(); err != nil {
			return err
		}
		if !receive() {
			return m.ended(sub)
		}
		rtt[i] = time.Since(sent)
	}
	return nil
}

func (m *mill) ended(sub *mqtt.Subscription) error {
	return fmt.Errorf("the messages ended early: %v, %v", sub.Err(), m.client.Err())
}
