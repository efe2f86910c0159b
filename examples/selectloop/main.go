// Selectloop receives and publishes in one select loop, together with a ticker and a context.
package main

import (
	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func main() { demo.Main(selectLoop, demo.Feed{Round: commands}) }

// commands returns the messages that the broker in this process publishes in one round.
func commands(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "lamp/set", QoS: mqtt.ExactlyOnce, Payload: []byte([...]string{"off", "on"}[n%2])}}
}
