// Proxy connects to its broker through a SOCKS5 or HTTP proxy. The flag -via or the environment
// variable ALL_PROXY has the URL of the proxy; NO_PROXY lists hosts to connect to directly.
//
//	go run ./examples/proxy -broker mqtts://broker.example -via socks5://user:password@localhost:1080
//	go run ./examples/proxy -broker wss://broker.example/mqtt -via http://localhost:3128
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"

	"golang.org/x/net/proxy"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var via = flag.String("via", "", "`URL` of the proxy, socks5 or http; default: the proxy of the environment")

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	dial, err := through(*via)
	if err != nil {
		return err
	}
	// TLS and WebSocket run inside the connection that DialContext returns. With mqtts and wss the
	// proxy sees the address of the broker but no MQTT packet.
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{DialContext: dial})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "echo", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	if err := client.Publish(ctx, mqtt.Message{Topic: "echo", Payload: []byte("hello"), QoS: mqtt.AtLeastOnce}); err != nil {
		return err
	}
	for d, err := range sub.All(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("received  %s: %s\n", d.Topic, d.Payload)
		d.Ack()
		break
	}
	return client.Shutdown(ctx)
}

// A dialer is the type of Options.DialContext.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func init() { proxy.RegisterDialerType("http", newConnector) }

// through returns a dialer that goes through the proxy at address.
func through(address string) (dialer, error) {
	d := proxy.FromEnvironment()
	name, given := "-via", address
	if given == "" {
		name, given = "ALL_PROXY", cmp.Or(os.Getenv("ALL_PROXY"), os.Getenv("all_proxy"))
	}
	if given != "" { // FromEnvironment goes past a proxy that it does not understand
		u, err := url.Parse(given)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("%s is not a URL such as socks5://host:port", name) // err would contain the URL and its password
		}
		through, err := proxy.FromURL(u, proxy.Direct)
		if err != nil {
			return nil, fmt.Errorf("%s has a scheme other than socks5 and http", name)
		}
		if address != "" {
			d = through
		}
	}
	return d.(proxy.ContextDialer).DialContext, nil // every dialer of the package implements it
}
