package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	mqtt5 "github.com/eclipse/paho.golang/paho"
)

// pahoV5 is paho.golang, over MQTT 5. It receives in one function in OnPublishReceived, which the
// documents prefer to a Router. It publishes with Publish from as many goroutines as the window
// allows, because AsyncSend does not report which messages were acknowledged. At QoS 0 the call
// returns at once, and one goroutine is cheapest.
var pahoV5 = contender{name: "paho.golang", connect: connectPahoV5, version: ofModule("github.com/eclipse/paho.golang")}

type pahoV5Session struct {
	s        *scenario
	client   *mqtt5.Client
	arrivals *arrivals
}

func connectPahoV5(s *scenario, id string) (session, error) {
	if s.Kind == durable {
		return nil, errUnsupported
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "tcp://"))
	if err != nil {
		return nil, err
	}
	p := &pahoV5Session{s: s, arrivals: newArrivals()}
	p.client = mqtt5.NewClient(mqtt5.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(mqtt5.PublishReceived) (bool, error){
			func(mqtt5.PublishReceived) (bool, error) {
				p.arrivals.one()
				return true, nil
			},
		},
	})
	// The client makes a channel of Receive Maximum entries: half a megabyte by default.
	most := uint16(min(max(s.Window, 1), 65535))
	_, err = p.client.Connect(background, &mqtt5.Connect{
		ClientID: id, CleanStart: true, KeepAlive: uint16(s.keepAlive() / time.Second),
		Properties: &mqtt5.ConnectProperties{ReceiveMaximum: &most},
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pahoV5Session) message() *mqtt5.Publish {
	return &mqtt5.Publish{Topic: topic, QoS: p.s.QoS, Payload: p.s.body()}
}

func (p *pahoV5Session) Publish(n int) error {
	workers := p.s.Window
	if p.s.QoS == 0 {
		workers = 1
	}
	m := p.message()
	return concurrently(workers, n, func() error {
		answer, err := p.client.Publish(background, m)
		if err == nil && answer.ReasonCode >= 0x80 { // the library returns no error when PUBREC has an error code
			err = fmt.Errorf("refused with %#x", answer.ReasonCode)
		}
		return err
	})
}

func (p *pahoV5Session) subscribe() error {
	var subscribe mqtt5.Subscribe
	for _, filter := range p.s.filters() {
		subscribe.Subscriptions = append(subscribe.Subscriptions, mqtt5.SubscribeOptions{Topic: filter, QoS: p.s.QoS})
	}
	granted, err := p.client.Subscribe(background, &subscribe)
	if err != nil {
		return err
	}
	for i, code := range granted.Reasons {
		if code != p.s.QoS {
			return fmt.Errorf("filter %d granted with %#x", i, code)
		}
	}
	return nil
}

func (p *pahoV5Session) Receive(n int, subscribed func()) error {
	all := p.arrivals.expect(n)
	if err := p.subscribe(); err != nil {
		return err
	}
	subscribed()
	return p.await(all, new(time.Time))
}

func (p *pahoV5Session) Echo(rtt []time.Duration) error {
	if err := p.subscribe(); err != nil {
		return err
	}
	m := p.message()
	for i := range rtt {
		back := p.arrivals.expect(1)
		start := time.Now()
		// AsyncSend does not report the ack, but the echo proves that the message arrived.
		_, err := p.client.PublishWithOptions(background, m, mqtt5.PublishOptions{Method: mqtt5.PublishMethod_AsyncSend})
		if err != nil {
			return err
		}
		var end time.Time
		if err := p.await(back, &end); err != nil {
			return err
		}
		rtt[i] = end.Sub(start)
	}
	return nil
}

// await waits for a value from arrived or for the end of the connection.
func (p *pahoV5Session) await(arrived <-chan time.Time, at *time.Time) error {
	select {
	case *at = <-arrived:
		return nil
	case <-p.client.Done():
		return net.ErrClosed
	}
}

func (p *pahoV5Session) Close() error { return p.client.Disconnect(&mqtt5.Disconnect{}) }
