package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt"
)

// printStates prints each change of the connection. For each connection after the first one it
// prints which parts of the session the client has restored.
func printStates(client *mqtt.Client) {
	resent := uint64(0)
	for s := range client.States(context.Background()) {
		switch {
		case s.Online:
			fmt.Printf("online    %s at MQTT %v\n", s.Endpoint, s.Version)
			if client.Stats().Connections > 1 && client.Flush(context.Background()) == nil {
				before := resent
				resent = client.Stats().Resent
				fmt.Printf("restored  the connection and %d topic filters; publications sent again: %d\n", len(topics), resent-before)
			}
		case errors.Is(s.Err, mqtt.ErrClosed):
			fmt.Println("closed    the client has ended")
		case s.Err != nil:
			fmt.Println("offline  ", s.Err)
		}
	}
}

// printFigures prints a line of figures in each interval until the client ends.
func printFigures(client *mqtt.Client) {
	interval := time.NewTicker(*figures)
	defer interval.Stop()
	for {
		select {
		case <-interval.C:
			st := client.Stats()
			fmt.Printf("figures   %d sent, %d acknowledged, %d received; now %d queued, %d in flight, %d unacknowledged; connections %d\n",
				st.Sent, st.Acknowledged, st.Received, st.Queued, st.InFlight, st.Unacked, st.Connections)
		case <-client.Done():
			return
		}
	}
}
