package stream_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// [MQTT-3.1.2-23] The time between two packets of the client never exceeds the keep alive. Neither
// the rate of QoS 0 publications nor the packets of the broker change that.
func TestSilenceIsNeverLongerThanTheKeepAlive(t *testing.T) {
	const keepAlive = 10 * time.Second
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.KeepAlive = keepAlive
		s, c := connected(t, b, o)
		last := time.Now()
		go func() {
			for n := range 300 {
				switch n / 100 {
				case 0:
					elapse(time.Second) // publish before a PINGREQ is due
				case 1:
					elapse(rand.N(keepAlive)) // sometimes publish too late, so that a PINGREQ is due
				case 2:
					elapse(rand.N(4 * keepAlive))
				}
				if err := s.Publish(t.Context(), message("t", "p", 0)); err != nil {
					t.Error(err)
				}
			}
			s.Close()
		}()
		chatter, raw := encoded(t, v, publish("t", "p", 0, 0, false)), c.Raw()
		go func() {
			for {
				select {
				case <-s.Done():
					return
				case <-time.After(700 * time.Millisecond):
					raw.Write(chatter)
				}
			}
		}()
		published, pings := 0, 0
		for ended := false; !ended; {
			p := streamtest.Next[frames.Packet](c)
			if d := time.Since(last); d > keepAlive {
				t.Fatalf("%v after %v of silence", p.Type(), d)
			}
			last = time.Now()
			switch p.Type() {
			case frames.TypePublish:
				published++
			case frames.TypePingreq:
				pings++
				if published < 100 {
					t.Error("PINGREQ though a message has just been sent")
				}
				c.Send(frames.Pingresp{})
			default:
				ended = true
			}
		}
		if published != 300 || pings == 0 {
			t.Errorf("%d messages, %d PINGREQ", published, pings)
		}
	})
}
