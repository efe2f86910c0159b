package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt"
)

// Rounds returns a channel that gets the values of round(1) at once and, after each interval, the
// values of the next round. The channel is closed when ctx ends.
func Rounds[T any](ctx context.Context, interval time.Duration, round func(n int) []T) <-chan T {
	values := make(chan T)
	go func() {
		defer close(values)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for n := 1; ; n++ {
			for _, v := range round(n) {
				select {
				case values <- v:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return values
}

// PrintStates prints each change of the connection until states is closed.
func PrintStates(states <-chan mqtt.State) {
	for s := range states {
		switch {
		case s.Online:
			fmt.Printf("online    %s at MQTT %v\n", s.Endpoint, s.Version)
		case errors.Is(s.Err, mqtt.ErrClosed):
			fmt.Println("closed    the client has ended")
		case s.Err != nil:
			fmt.Println("offline  ", s.Err)
		}
	}
}
