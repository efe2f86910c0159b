package main

import (
	"sync"

	"github.com/go-millrace/mqtt"
)

// buffered is the capacity of our channels, so that the two sides do not wait for each other at
// every message.
const buffered = 1024

// publishFrom publishes through one call of PublishFrom.
type publishFrom struct {
	unsupported
	*mill
}

func (p *publishFrom) Publish(n int) error {
	in, m := make(chan mqtt.Message, buffered), p.message()
	// durable: publications beyond the window would share commits, so outstanding limits them.
	var outstanding chan struct{}
	if p.s.Kind == durable {
		outstanding = make(chan struct{}, p.s.Window)
	}
	go func() {
		defer close(in)
		for range n {
			if outstanding != nil {
				outstanding <- struct{}{}
			}
			in <- m
		}
	}()
	var failed error
	for r := range p.client.PublishFrom(background, in) {
		if r.Err != nil {
			failed = r.Err
		}
		if outstanding != nil {
			<-outstanding
		}
	}
	return failed
}

// batchLength is how many messages publishBatches sends at once, and allBatches receives at most.
const batchLength = 256

// publishBatches publishes through one call of PublishBatches. It sends the same batch again and
// again, since the client does not change it.
type publishBatches struct {
	unsupported
	*mill
}

func (p *publishBatches) Publish(n int) error {
	length := batchLength
	// durable: outstanding holds one value for each batch without Receipts. Two batches fill the
	// window.
	var outstanding chan struct{}
	if p.s.Kind == durable {
		outstanding = make(chan struct{}, min(p.s.Window, 2))
		length = p.s.Window / cap(outstanding)
	}
	batch := make([]mqtt.Message, length)
	for i := range batch {
		batch[i] = p.message()
	}
	in := make(chan []mqtt.Message, buffered/batchLength)
	go func() {
		defer close(in)
		for ; n > 0; n -= length {
			if outstanding != nil {
				outstanding <- struct{}{}
			}
			in <- batch[:min(n, length)]
		}
	}()
	var failed error
	for receipts := range p.client.PublishBatches(background, in) {
		if err := receipts.Err(); err != nil {
			failed = err
		}
		if outstanding != nil {
			<-outstanding
		}
	}
	return failed
}

// publishes sends on the channel Publishes. One Ack channel gets all Receipts.
type publishes struct {
	unsupported
	*mill
}

func (p *publishes) Publish(n int) error {
	acks := make(chan mqtt.Receipt, max(buffered, p.s.Window))
	m := mqtt.Publishing{Message: p.message(), Ack: acks}
	var outstanding chan struct{}
	if p.s.Kind == durable {
		outstanding = make(chan struct{}, p.s.Window)
	}
	go func() {
		out := p.client.Publishes()
		for range n {
			if outstanding != nil {
				outstanding <- struct{}{}
			}
			out <- m
		}
	}()
	for range n {
		if r := <-acks; r.Err != nil {
			return r.Err
		}
		if outstanding != nil {
			<-outstanding
		}
	}
	return nil
}

// publishCall publishes with Publish, which blocks, from as many goroutines as the window allows.
type publishCall struct {
	unsupported
	*mill
}

func (p *publishCall) Publish(n int) error {
	workers := min(p.s.Window, n)
	m := p.message()
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = p.client.Publish(background, m)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
