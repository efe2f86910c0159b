package main

import (
	"errors"
	"sync/atomic"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"
)

// pahoName is the name of the contender that the tables compare with.
const pahoName = "paho.mqtt.golang"

var paho = contender{name: pahoName, connect: connectPaho, version: ofModule("github.com/eclipse/paho.mqtt.golang")}

// A pahoSession publishes asynchronously and waits for the tokens in another goroutine, and it
// receives in a handler that does not block. The documents of the library recommend both. They also
// recommend SetOrderMatters(false). At QoS 1 and 2 this setting is not slower, but at QoS 0 it is,
// because the library then starts a goroutine for each message.
type pahoSession struct {
	s       *scenario
	client  mqtt3.Client
	payload []byte
}

func connectPaho(s *scenario, id string) (session, error) {
	o := mqtt3.NewClientOptions().AddBroker(s.URL).SetClientID(id).SetKeepAlive(s.keepAlive()).SetAutoReconnect(false).
		SetOrderMatters(s.QoS == 0 || s.Kind == echo)
	if s.Kind == durable {
		o.SetCleanSession(false).SetStore(mqtt3.NewFileStore(s.Dir))
	}
	p := &pahoSession{s: s, client: mqtt3.NewClient(o), payload: s.body()}
	return p, finish(p.client.Connect())
}

func finish(t mqtt3.Token) error {
	t.Wait()
	return t.Error()
}

func (p *pahoSession) Close() error {
	p.client.Disconnect(0)
	return nil
}

func (p *pahoSession) Publish(n int) error {
	if p.s.QoS == 0 { // wait only for the last token, because the broker counts the messages
		for range n - 1 {
			p.client.Publish(topic, 0, false, p.payload)
		}
		return finish(p.client.Publish(topic, 0, false, p.payload))
	}
	// The publisher holds one token and the waiting goroutine another. These two and the tokens in
	// the channel fill the window.
	if p.s.Window == 1 {
		for range n {
			if err := finish(p.client.Publish(topic, p.s.QoS, false, p.payload)); err != nil {
				return err
			}
		}
		return nil
	}
	tokens, waited := make(chan mqtt3.Token, p.s.Window-2), make(chan error, 1)
	go func() {
		var err error
		for t := range tokens {
			err = errors.Join(err, finish(t))
		}
		waited <- err
	}()
	for range n {
		tokens <- p.client.Publish(topic, p.s.QoS, false, p.payload)
	}
	close(tokens)
	return <-waited
}

func (p *pahoSession) Receive(n int, subscribed func()) error {
	done := make(chan struct{})
	var left atomic.Int64
	left.Store(int64(n))
	err := p.subscribe(func(mqtt3.Client, mqtt3.Message) {
		if left.Add(-1) == 0 {
			close(done)
		}
	})
	if err != nil {
		return err
	}
	subscribed()
	<-done
	return nil
}

func (p *pahoSession) Echo(rtt []time.Duration) error {
	back := make(chan struct{}, 1)
	if err := p.subscribe(func(mqtt3.Client, mqtt3.Message) { back <- struct{}{} }); err != nil {
		return err
	}
	for i := range rtt {
		sent := time.Now()
		p.client.Publish(topic, p.s.QoS, false, p.payload)
		<-back
		rtt[i] = time.Since(sent)
	}
	return nil
}

func (p *pahoSession) subscribe(handler mqtt3.MessageHandler) error {
	filters := map[string]byte{}
	for _, f := range p.s.filters() {
		filters[f] = p.s.QoS
	}
	return finish(p.client.SubscribeMultiple(filters, handler))
}
