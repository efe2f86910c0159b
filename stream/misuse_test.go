package stream_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// misuses call a method of sub with a wrong argument and return the error that Err then has.
var misuses = map[string]func(t *testing.T, sub *stream.Subscription) string{
	"Batches": func(t *testing.T, sub *stream.Subscription) string {
		wantEnd(t, sub.Batches(0, 0))
		return "mqtt: max 0 is below 1"
	},
	"Latest": func(t *testing.T, sub *stream.Subscription) string {
		wantEnd(t, sub.Latest(stream.LatestOptions{N: -1}))
		return "mqtt: N -1 is below 1"
	},
	"Merge": func(t *testing.T, sub *stream.Subscription) string {
		wantEnd(t, stream.Merge(sub, sub))
		return "mqtt: subs[1] is the same Subscription as subs[0]"
	},
}

// consumers begin to receive from sub, and return a function that checks that the consumer ends
// without an error.
var consumers = map[string]func(t *testing.T, sub *stream.Subscription) func(){
	"Messages":   func(t *testing.T, sub *stream.Subscription) func() { return endsWell(t, sub, sub.Messages()) },
	"Deliveries": func(t *testing.T, sub *stream.Subscription) func() { return endsWell(t, sub, sub.Deliveries()) },
	"Batches": func(t *testing.T, sub *stream.Subscription) func() {
		return endsWell(t, sub, sub.Batches(1, time.Second))
	},
	"Latest": func(t *testing.T, sub *stream.Subscription) func() {
		return endsWell(t, sub, sub.Latest(stream.LatestOptions{}))
	},
	"Merge": func(t *testing.T, sub *stream.Subscription) func() { return endsWell(t, sub, stream.Merge(sub)) },
	"Decode": func(t *testing.T, sub *stream.Subscription) func() {
		return endsWell(t, sub, stream.Decode(sub, func(m frames.Message) (string, error) { return m.Topic, nil }))
	},
	"All": func(t *testing.T, sub *stream.Subscription) func() {
		ended := inBackground(func() (last error) {
			for _, err := range sub.All(t.Context()) {
				last = err
			}
			return last
		})
		return func() { wantNoErr(t, ended, sub) }
	},
	"AllBatches": func(t *testing.T, sub *stream.Subscription) func() {
		ended := inBackground(func() (last error) {
			for _, err := range sub.AllBatches(t.Context(), 1) {
				last = err
			}
			return last
		})
		return func() { wantNoErr(t, ended, sub) }
	},
}

func endsWell[T any](t *testing.T, sub *stream.Subscription, ch <-chan T) func() {
	t.Helper()
	wantIdle(t, ch)
	if err := sub.Err(); err != nil {
		t.Errorf("Err is %v while the channel is open", err)
	}
	return func() {
		wantEnd(t, ch)
		if err := sub.Err(); err != nil {
			t.Errorf("Err is %v at the end", err)
		}
	}
}

// wantNoErr checks that a range loop and sub have ended without an error.
func wantNoErr(t *testing.T, loop <-chan error, sub *stream.Subscription) {
	t.Helper()
	if err, of := <-loop, sub.Err(); err != nil || of != nil {
		t.Errorf("the range loop ended with %v, Err is %v", err, of)
	}
}

func TestAWrongCallDoesNotShowInALaterRightOne(t *testing.T) {
	for wrong, misuse := range misuses {
		for right, consume := range consumers {
			t.Run(wrong+" then "+right, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					s, c := connected(t, b, nil)
					sub := subscribed(t, s, c, "a", atLeast)
					want := misuse(t, sub)
					var option *stream.OptionError
					if err := sub.Err(); !errors.As(err, &option) || err.Error() != want {
						t.Errorf("after the wrong call Err is %v, want %s", err, want)
					}
					check := consume(t, sub)
					s.Close()
					check()
				})
			})
		}
	}
}

// The error of a wrong call shows although another goroutine receives.
func TestAWrongCallDuringARangeLoopShowsInErrOnly(t *testing.T) {
	for wrong, misuse := range misuses {
		t.Run(wrong, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				ended := inBackground(func() (last error) {
					for _, err := range sub.All(t.Context()) {
						last = err
					}
					return last
				})
				synctest.Wait()
				want := misuse(t, sub)
				if err := sub.Err(); err == nil || err.Error() != want {
					t.Errorf("Err is %v, want %s", err, want)
				}
				s.Close()
				if err := <-ended; err != nil {
					t.Errorf("the range loop ended with %v", err)
				}
			})
		})
	}
}
