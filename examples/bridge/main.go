// Bridge copies messages between two brokers, in both directions, at least once. It loses no
// message when one of the brokers, or the bridge itself, is killed and started again:
//
//	go run ./examples/bridge -broker mqtt://left -other mqtts://right -filters 'plant/#,alarm/#'
//
// A message is acknowledged to its broker only when the other broker has acknowledged it to the
// bridge. Until then the first broker keeps the message in the session of the bridge, and sends it
// again when the bridge connects again. The messages of a topic arrive in the order in which the
// bridge has received them, apart from repeated messages.
//
// A bridge must not send back the messages that it has forwarded. With MQTT 5 at both brokers, the
// option No Local of the subscriptions prevents that, and the topics stay as they are. For brokers
// with older versions set -prefix, such as -prefix left-and-right/. The bridge puts the prefix
// before each forwarded topic, and does not forward topics that begin with it.
//
// Each filter has a Subscription of its own, and Merge lets them take turns, so that a flood of
// values does not hold up an alarm. The filters must not overlap: a message that matches two is
// forwarded twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	other   = flag.String("other", "", "`URL` of the second broker; without it a second broker runs in this process")
	filters = flag.String("filters", "plant/#,alarm/#", "topic `filters`, separated by commas")
	prefix  = flag.String("prefix", "", "`prefix` of forwarded topics; without it both brokers must know MQTT 5")
	id      = flag.String("id", "bridge", "client `identifier`: unique at both brokers, and the same at every start")
	every   = demo.Interval("every", time.Second, "`interval` at which the first broker, if it is in this process, publishes messages")
)

// patience bounds the wait for the last Receipts at the end, and then the wait for the last acks.
const patience = 3 * time.Second

func main() { demo.Main(run, demo.Feed{Round: round, Every: every}) }

// round returns the messages that the broker in this process publishes in one round.
func round(n int) []mqtt.Message {
	return []mqtt.Message{
		{Topic: "plant/boiler/temperature", QoS: mqtt.AtLeastOnce, Payload: fmt.Append(nil, 60+n%10)},
		{Topic: "alarm/door", QoS: mqtt.AtLeastOnce, Payload: []byte("open")},
	}
}

func run(ctx context.Context, broker string) error {
	second := *other
	if second == "" {
		b, err := demo.StartBroker(demo.Feed{})
		if err != nil {
			return err
		}
		defer b.Close()
		second = b.URL
		fmt.Printf("other     %s, in this process\n", second)
	}
	left, err := join("left", broker)
	if err != nil {
		return err
	}
	defer left.client.Close()
	right, err := join("right", second)
	if err != nil {
		return err
	}
	defer right.client.Close()

	var printing, forwarding sync.WaitGroup
	for _, s := range []*side{left, right} {
		printing.Go(func() { demo.PrintStates(s.client.States(context.Background())) })
		printing.Go(func() { s.printRefused() })
	}
	forwarding.Go(func() { forward(ctx, left, right) })
	forwarding.Go(func() { forward(ctx, right, left) })
	done := make(chan struct{})
	go func() {
		forwarding.Wait()
		close(done)
	}()
	<-ctx.Done()
	select {
	case <-done: // every Receipt has come
	case <-time.After(patience):
	}
	grace, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = errors.Join(left.client.Shutdown(grace), right.client.Shutdown(grace)) // both send their last acks
	forwarding.Wait()
	printing.Wait()
	for _, s := range []*side{left, right} {
		st := s.client.Stats()
		fmt.Printf("finished  %s: %d received, %d unacknowledged\n", s.name, st.Received, st.Unacked)
	}
	return err
}

// A side is the client of one of the two brokers.
type side struct {
	name   string
	client *mqtt.Client
	subs   []*mqtt.Subscription
}

// join opens the client of one side, even if its broker cannot be reached.
func join(name, url string) (*side, error) {
	o := &mqtt.Options{ClientID: *id, KeepSession: true, Window: 32}
	if *prefix == "" {
		o.Version = mqtt.V5 // older versions do not have No Local
	}
	client, err := mqtt.Open(url, o)
	if err != nil {
		return nil, err
	}
	s := &side{name: name, client: client}
	for topic := range strings.SplitSeq(*filters, ",") {
		f := mqtt.Filter{Topic: topic, QoS: mqtt.AtLeastOnce}
		if *prefix == "" {
			f.NoLocal, f.RetainAsPublished, f.RetainHandling = true, true, mqtt.SendRetainedIfNew
		}
		sub, err := client.Declare(f)
		if err != nil {
			client.Close()
			return nil, err
		}
		s.subs = append(s.subs, sub)
	}
	return s, nil
}

// printRefused prints the filters that the broker has refused, when it has answered all.
func (s *side) printRefused() {
	for _, sub := range s.subs {
		<-sub.Ready()
		for _, f := range sub.Refused() {
			fmt.Printf("refused   %s by the broker of %s\n", f.Topic, s.name)
		}
	}
}
