//go:build unix

package integration

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// T3: a frozen broker still accepts connections and bytes. The client detects it only by its
// silence.
func TestAFrozenBrokerIsNoticedAndServedAgain(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
			f := newTraffic(t, b, v, window, time.Second)
			f.send(100)
			f.progress(100)

			b.process.signal(syscall.SIGSTOP)
			frozen := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := f.publisher.Publish(ctx, text(topicOf(1), "100", 1)) // traffic counts it as publication 101
			if !errors.Is(err, mqtt.ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Publish: got %v, want ErrUnconfirmed because of the deadline", err)
			}
			if window == 1 { // the previous publication fills the window
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				err := f.publisher.Publish(ctx, text("never", "sent", 2))
				if !errors.Is(err, mqtt.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Publish: got %v, want ErrNotSent because of the deadline", err)
				}
			}
			f.sent = 101
			f.seen, f.settled = append(f.seen, 1), 101 // the publication has no Receipt on f.receipts
			f.send(100)
			f.offline()
			if after := time.Since(frozen); after > 5*time.Second {
				t.Errorf("the silence was noticed after %v; keep alive and its timeout are one second each", after)
			}

			b.process.signal(syscall.SIGCONT)
			f.finish()
			f.check()
			if lost := f.missing(0); lost != nil {
				t.Errorf("lost: %d", lost)
			}
		})
	})
}
