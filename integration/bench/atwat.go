package main

import (
	"errors"
	"fmt"
	"time"

	atwat "github.com/at-wat/mqtt-go"
)

// atWat is at-wat/mqtt-go. It receives in a handler set with Handle. It publishes with
// BaseClient.Publish, which waits for the ack, from as many goroutines as the window allows. It
// does not use ReconnectClient, which runs one call after another and so has at most one message in
// flight. At QoS 0 the call returns at once, and one goroutine is cheapest.
var atWat = contender{name: "at-wat/mqtt-go", connect: connectAtWat, version: ofModule("github.com/at-wat/mqtt-go")}

type atWatSession struct {
	s       *scenario
	client  *atwat.BaseClient
	payload []byte
	stop    chan struct{} // closed by Close
	pinged  chan struct{} // closed when ping has returned
}

func connectAtWat(s *scenario, id string) (session, error) {
	if s.Kind == durable { // the library has no store on disk
		return nil, errUnsupported
	}
	client, err := atwat.DialContext(background, s.URL)
	if err != nil {
		return nil, err
	}
	alive := s.keepAlive()
	_, err = client.Connect(background, id, atwat.WithCleanSession(true), atwat.WithKeepAlive(uint16(alive/time.Second)))
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	a := &atWatSession{s: s, client: client, payload: s.body(), stop: make(chan struct{}), pinged: make(chan struct{})}
	go a.ping(alive - time.Second)
	return a, nil
}

// ping replaces the KeepAlive of the library, which does not notice the end of a client before its
// next ping.
func (a *atWatSession) ping(each time.Duration) {
	defer close(a.pinged)
	due := time.NewTicker(each)
	defer due.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-due.C:
		}
		if err := a.client.Ping(background); err != nil {
			return // the connection has ended
		}
	}
}

// publish makes a new message for each call, because the client writes the identifier into the
// message.
func (a *atWatSession) publish() error {
	return a.client.Publish(background, &atwat.Message{Topic: topic, QoS: atwat.QoS(a.s.QoS), Payload: a.payload})
}

func (a *atWatSession) Publish(n int) error {
	workers := a.s.Window
	if a.s.QoS == 0 {
		workers = 1
	}
	return concurrently(workers, n, a.publish)
}

// subscribe subscribes to the filters and calls the function one for each message.
func (a *atWatSession) subscribe(one func()) error {
	a.client.Handle(atwat.HandlerFunc(func(*atwat.Message) { one() }))
	var wanted []atwat.Subscription
	for _, filter := range a.s.filters() {
		wanted = append(wanted, atwat.Subscription{Topic: filter, QoS: atwat.QoS(a.s.QoS)})
	}
	granted, err := a.client.Subscribe(background, wanted...)
	if err != nil {
		return err
	}
	for _, g := range granted {
		if g.QoS != atwat.QoS(a.s.QoS) {
			return fmt.Errorf("%s granted with %#x", g.Topic, byte(g.QoS))
		}
	}
	return nil
}

func (a *atWatSession) Receive(n int, subscribed func()) error {
	arrivals := newArrivals()
	all := arrivals.expect(n)
	if err := a.subscribe(arrivals.one); err != nil {
		return err
	}
	subscribed()
	return a.await(all, new(time.Time))
}

func (a *atWatSession) Echo(rtt []time.Duration) error {
	arrivals := newArrivals()
	if err := a.subscribe(arrivals.one); err != nil {
		return err
	}
	for i := range rtt {
		back := arrivals.expect(1)
		start := time.Now()
		if err := a.publish(); err != nil {
			return err
		}
		var end time.Time
		if err := a.await(back, &end); err != nil {
			return err
		}
		rtt[i] = end.Sub(start)
	}
	return nil
}

// await waits for a value from arrived or for the end of the connection.
func (a *atWatSession) await(arrived <-chan time.Time, at *time.Time) error {
	select {
	case *at = <-arrived:
		return nil
	case <-a.client.Done():
		return a.client.Err()
	}
}

func (a *atWatSession) Close() error {
	close(a.stop)
	<-a.pinged
	err := a.client.Disconnect(background)
	<-a.client.Done()
	return err
}
