package stream_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U34: a stage whose context has ended, and whose Receipts nobody receives, ends within two
// seconds. Its channel closes, and Stats counts the Receipts that were dropped.
func TestAStageThatNobodyReadsEndsAfterItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, &stream.Options{Window: 1000, Queue: 1000})
		const n = 50
		for range n {
			ctx, cancel := context.WithCancel(t.Context())
			in := make(chan frames.Message, 2000)
			for i := range 2000 {
				in <- numbered(i, atMost)
			}
			s.PublishFrom(ctx, in)
			synctest.Wait()
			cancel()
		}
		elapse(2 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Receipts != 0 || st.Unreported == 0 {
			t.Errorf("%d Receipts wait, %d were dropped", st.Receipts, st.Unreported)
		}
	})
}

// A reader that is slow, but reads, gets every Receipt after the context has ended.
func TestAStageThatIsReadSlowlyHandsOverEveryReceipt(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, &stream.Options{Window: 1000, Queue: 1000})
		ctx, cancel := context.WithCancel(t.Context())
		const n = 1500
		in := make(chan frames.Message, n)
		for i := range n {
			in <- numbered(i, atMost)
		}
		out := s.PublishFrom(ctx, in)
		synctest.Wait()
		cancel()
		got := 0
		for range out {
			got++
			elapse(time.Second / 2)
		}
		if st := s.Stats(); got != n || st.Unreported != 0 {
			t.Errorf("%d Receipts of %d, %d dropped", got, n, st.Unreported)
		}
	})
}
