// Rangeloop prints messages in a range loop.
package main

import (
	"fmt"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func main() { demo.Main(rangeLoop, demo.Feed{Round: temperatures}) }

// temperatures returns the messages that the broker in this process publishes in one round.
func temperatures(n int) []mqtt.Message {
	return []mqtt.Message{
		{Topic: "plant/boiler/temperature", QoS: mqtt.AtLeastOnce, Payload: fmt.Append(nil, 60+n%10)},
		{Topic: "plant/office/temperature", QoS: mqtt.AtMostOnce, Payload: fmt.Append(nil, 20+n%3)},
	}
}
