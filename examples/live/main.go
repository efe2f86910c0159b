// Live serves a page that shows three clients at work: sensors publish readings, an archive
// receives everything, and a miller receives orders, and sleeps now and then. The broker in this
// process cuts all connections now and then. Open the printed address in a browser.
//
// The program is a module of its own, because the page is one too. Run it in its folder:
//
//	GOWORK=off go run . -sleep 15s -cut 1m
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/stream/live"
)

var (
	addr  = flag.String("http", "127.0.0.1:8642", "`address` of the page; port 0 is any free one")
	every = demo.Interval("every", 25*time.Millisecond, "`interval` between two rounds of messages")
	sleep = demo.Time("sleep", 15*time.Second, "`time` for which the miller sleeps at his 500th order, and every 1,000 orders after it")
	cut   = demo.Time("cut", time.Minute, "`time` after which the broker in this process cuts all connections; 0 is never")
)

func main() { demo.Main(run, demo.Feed{Cut: cut}) }

func run(ctx context.Context, broker string) error {
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	page := &live.Page{Title: "Mill", Slow: 5 * time.Second}
	mux := http.NewServeMux()
	mux.Handle("/debug/mqtt", page)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(page.Close) // or Shutdown would wait for open pages
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	fmt.Printf("page      http://%s/debug/mqtt\n", listener.Addr())

	err = work(ctx, broker, page, &running)
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(grace))
	running.Wait()
	return err
}

// work runs the clients until ctx ends.
func work(ctx context.Context, broker string, page *live.Page, running *sync.WaitGroup) error {
	var clients []*mqtt.Client
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	open := func(name string) (*mqtt.Client, error) {
		c, err := mqtt.Open(broker, &mqtt.Options{
			ClientID: name, KeepSession: true, Window: 20, Observer: page.Observer(name),
		})
		if err == nil {
			clients = append(clients, c)
			page.Add(name, c)
		}
		return c, err
	}
	miller, err := open("miller")
	if err != nil {
		return err
	}
	sensors, err := open("sensors")
	if err != nil {
		return err
	}
	archive, err := open("archive")
	if err != nil {
		return err
	}
	orders, err := miller.Subscribe(ctx, mqtt.Filter{Topic: "mill/orders", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	all, err := archive.Subscribe(ctx, mqtt.Filter{Topic: "mill/#"})
	if err != nil {
		return err
	}
	running.Go(func() { grind(ctx, orders) })
	running.Go(func() {
		for range all.Messages() { // until the client closes
		}
	})
	running.Go(func() {
		for r := range sensors.PublishFrom(ctx, demo.Rounds(ctx, *every, round)) {
			if r.Err != nil && ctx.Err() == nil {
				fmt.Println("failed   ", r.Topic, r.Err)
			}
		}
	})
	<-ctx.Done()
	return nil
}

// round returns the messages of one round.
func round(n int) (messages []mqtt.Message) {
	for _, place := range []string{"sifter", "roller", "elevator", "silo"} {
		messages = append(messages, mqtt.Message{Topic: "mill/" + place + "/level", Payload: fmt.Append(nil, n%100)})
	}
	return append(messages, mqtt.Message{Topic: "mill/orders", Payload: fmt.Append(nil, n), QoS: mqtt.AtLeastOnce})
}

// grind acknowledges orders, and sleeps now and then.
func grind(ctx context.Context, orders *mqtt.Subscription) {
	n := 0
	for d := range orders.Deliveries() {
		if n++; n%1000 == 500 && *sleep > 0 {
			fmt.Printf("asleep    for %v\n", *sleep)
			select {
			case <-time.After(*sleep):
				fmt.Println("awake")
			case <-ctx.Done():
			}
		}
		d.Ack()
	}
}
