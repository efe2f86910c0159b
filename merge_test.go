package mqtt_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// One loop receives from two brokers. Each Ack goes to the broker that the message came from.
func ExampleMerge() {
	ctx := context.Background()
	var subs []*mqtt.Subscription
	for _, plant := range []string{"north", "south"} {
		client, err := mqtt.Dial(ctx, brokerURL, options) // a program has one URL for each plant
		if err != nil {
			fmt.Println(err)
			return
		}
		defer client.Close()
		sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "alarm/+", QoS: mqtt.AtLeastOnce})
		if err != nil {
			fmt.Println(err)
			return
		}
		subs = append(subs, sub)
		alarm := mqtt.Message{Topic: "alarm/" + plant, Payload: []byte("door open"), QoS: mqtt.AtLeastOnce}
		if err := client.Publish(ctx, alarm); err != nil {
			fmt.Println(err)
			return
		}
	}

	var topics []string
	for d := range mqtt.Merge(subs...) {
		topics = append(topics, d.Topic)
		d.Ack()
		if len(topics) == len(subs) {
			break
		}
	}
	slices.Sort(topics) // the plants take turns in any order
	fmt.Println(topics)

	// Output: [alarm/north alarm/south]
}

func TestMergeOfANilSubscriptionIsClosedAndErrOfTheOthersNamesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, client *mqtt.Client, b *streamtest.Broker) {
		b.Respond(&streamtest.Responder{})
		sub, err := client.Subscribe(t.Context(), mqtt.Filter{Topic: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if d, open := <-mqtt.Merge(sub, nil, new(mqtt.Subscription)); open {
			t.Errorf("received %+v", d)
		}
		if err := sub.Err(); err == nil || err.Error() != "mqtt: subs[2] is nil" {
			t.Errorf("Err is %v, want the last nil", err)
		}
	})
}
