// Selectloop uses MQTT channels in a select loop, beside a ticker and a context.
package main

import (
	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func main() { demo.Main(selectLoop, demo.Feed{Round: commands}) }

// commands returns a round of messages for the broker in this process.
func commands(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "lamp/set", QoS: mqtt.ExactlyOnce, Payload: []byte([...]string{"off", "on"}[n%2])}}
}
