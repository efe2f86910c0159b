package stream

import (
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
)

// A feeder that never catches up with the messages that arrive hands over some of them.
func TestLatestHandsOverMessagesWhileManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100 * chunkMessages
		x := newInboxes(1<<30, 1<<30, newLife())
		box := x.newInbox()
		x.lock()
		for i := range n {
			x.push(box, &Delivery{Message: frames.Message{Topic: "a", Payload: []byte{byte(i >> 8), byte(i)}}}, false)
		}
		x.unlock()
		ch := make(chan frames.Message)
		got := make(chan int, n)
		go func() {
			for m := range ch {
				got <- int(m.Payload[0])<<8 | int(m.Payload[1])
			}
			close(got)
		}()
		synctest.Wait() // the consumer waits
		f := &latestFeed{inbox: box, ch: ch, held: newNewest(1, 1<<20, false), chunk: chunk{lends: true}}
		go f.run()
		synctest.Wait()
		box.finish(nil)
		first, second := <-got, <-got
		if _, more := <-got; more || first == n-1 || second != n-1 {
			t.Errorf("received messages %d and %d of %d, want one on the way and the last", first, second, n)
		}
	})
}
