// Pipeline reads, transforms and publishes, at least once from end to end.
package main

import (
	"fmt"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func main() { demo.Main(pipeline, demo.Feed{Round: lines}) }

// lines are what a broker in this process publishes.
func lines(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "lines", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "the mill turns, round %d", n)}}
}
