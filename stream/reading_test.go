package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U8. One Subscription sleeps on 20 MB of QoS 1, and another gets all its QoS 0 messages.
func TestASleepingSubscriptionOfQoS1LeavesRoomForQoS0(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		subscribed(t, s, c, "asleep", atLeast)
		awake := subscribed(t, s, c, "awake", atMost)
		large := strings.Repeat("x", 1_000_000)
		for i := range 20 {
			c.Send(publish("asleep", large, atLeast, uint16(i+1), false))
		}
		c.Send(inboundRun("awake", atMost, 1, 50)...)
		wantPayloads(t, awake.Messages(), countUp(1, 50)...)
	})
}

// U9. The consumer that makes room wakes the loop, also while an ack is awaited.
func TestRoomInTheInboxEndsAPauseAtOnce(t *testing.T) {
	for _, keepAlive := range []time.Duration{0, -1} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{MaxUnread: 400 << 10, KeepAlive: keepAlive})
			sub := subscribed(t, s, c, "a", atLeast)
			published := inBackground(func() error { return s.Publish(context.Background(), message("out", "x", atLeast)) })
			p := streamtest.Next[frames.Publish](c)
			for i := range 500 {
				c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
			}
			c.Complete(p)
			synctest.Wait()
			began := time.Now()
			sub.Deliveries() // takes 256 messages and more
			if err := takeFrom(t, published); err != nil || time.Since(began) > 0 {
				t.Errorf("KeepAlive %v: after %v: %v", keepAlive, time.Since(began), err)
			}
		})
	}
}

// U10. Publications that wait for a slow uplink do not stop reading.
func TestReadingGoesOnWhileLargePublicationsAreWritten(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10, WriteTimeout: time.Hour})
		ch := subscribed(t, s, c, "a", atMost).Messages()
		for range 2 { // the first is being written, and the second waits
			s.Publishes() <- stream.Publishing{Message: message("out", strings.Repeat("x", 2<<20), atMost)}
		}
		synctest.Wait()
		c.Send(publish("a", "hello", atMost, 0, false))
		wantPayloads(t, ch, "hello")
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, false)
	})
}

// U10. A broker that answers each packet before it reads the next one gets no further while the
// client does not read.
func TestLargeMessagesGoThroughABrokerThatReadsAndWritesInTurn(t *testing.T) {
	for _, size := range []int{900 << 10, 2 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := streamtest.New(t, streamtest.SendBuffer(64<<10), streamtest.Timeout(time.Minute))
				s, c := connected(t, b, &stream.Options{MaxPacket: 16 << 20})
				ch := subscribed(t, s, c, "a", atMost).Messages()
				const publishers, each = 4, 10
				large := strings.Repeat("x", size)
				published := make(chan error, publishers*each)
				for range publishers {
					go func() {
						for range each {
							published <- s.Publish(context.Background(), message("a", large, atMost))
						}
					}()
				}
				received := inBackground(func() error {
					for range publishers * each {
						<-ch
					}
					return nil
				})
				for range publishers * each {
					c.Send(streamtest.Next[frames.Publish](c))
				}
				takeFrom(t, received)
				for range publishers * each {
					wantError(t, takeFrom(t, published), nil)
				}
			})
		})
	}
}
