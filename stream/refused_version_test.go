package stream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
	"github.com/jpillora/backoff"
)

// Dial and States report that the broker rejects the protocol version. A running session retries at
// the usual interval. Only rejected credentials lead to the longest interval.
func TestABadProtocolVersionSaysSo(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		turnedAway(t, b, v, func(c *streamtest.Conn) {
			c.Connack(false, frames.UnsupportedProtocolVersion)
			c.ExpectClosed()
		}, func(err error) {
			wantRefusal(t, err, frames.UnsupportedProtocolVersion)
			if !strings.Contains(err.Error(), "protocol version") {
				t.Errorf("got %q", err)
			}
		})
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := connected(t, b, &stream.Options{Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Hour}})
		c.Drop()
		c = b.Accept()
		start := time.Now()
		c.ExpectConnect()
		c.Connack(false, frames.UnsupportedProtocolVersion)
		b.Accept()
		wantElapsed(t, start, 2*time.Second)
	})
}
