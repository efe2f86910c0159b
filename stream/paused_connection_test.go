package stream_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

const (
	pausedKeepAlive   = 10 * time.Second
	pausedPingTimeout = 4 * time.Second
)

// pausedOptions make reading pause after a few messages of pauseReading.
func pausedOptions() *stream.Options {
	return &stream.Options{KeepAlive: pausedKeepAlive, PingTimeout: pausedPingTimeout, MaxPacket: 64 << 10, MaxUnread: 64 << 10}
}

// pauseReading sends messages that nobody takes, until reading pauses. It returns their
// Subscription.
func pauseReading(t *testing.T, s *stream.Session, c *streamtest.Conn) *stream.Subscription {
	t.Helper()
	sub := subscribed(t, s, c, "a", atLeast)
	for i := range 20 {
		c.Send(publish("a", strings.Repeat("x", 8<<10), atLeast, uint16(i+1), false))
		synctest.Wait()
	}
	if !s.Stats().Paused {
		t.Fatal("reading does not pause")
	}
	return sub
}

// wantLost fails unless the session has lost its connection after a time between 0 and limit, for a
// reason that contains text.
func wantLost(t *testing.T, s *stream.Session, limit time.Duration, text string) {
	t.Helper()
	began := time.Now()
	for s.State().Online {
		if time.Since(began) > limit {
			t.Fatalf("not noticed within %v: %+v", limit, s.Stats())
		}
		elapse(100 * time.Millisecond)
	}
	wantText(t, s.State().Err, text)
}

// U4: reading is paused, and the broker dies. A connection that is closed or takes no bytes is
// noticed during the pause, since PINGREQ is sent all the same.
func TestDeathOfAConnectionIsNoticedWhileReadingIsPaused(t *testing.T) {
	for name, row := range map[string]struct {
		die  func(*streamtest.Conn)
		text string
	}{
		"reset":   {(*streamtest.Conn).Abort, "mqtt: "},
		"closed":  {(*streamtest.Conn).Drop, "mqtt: "},
		"stalled": {(*streamtest.Conn).Stall, "the connection took no bytes of PINGREQ"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, pausedOptions())
				pauseReading(t, s, c)
				elapse(time.Minute)
				if st := s.Stats(); !st.Online || st.PausedFor < time.Minute {
					t.Fatalf("after a minute: %+v", st)
				}
				row.die(c)
				wantLost(t, s, pausedKeepAlive+pausedPingTimeout, row.text)
				b.Handshake(false)
				up(t, s)
			})
		})
	}
}

// U4: a broker that froze during the pause is noticed when reading goes on.
func TestFrozenBrokerIsNoticedAfterAPause(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, pausedOptions())
		sub := pauseReading(t, s, c)
		elapse(time.Hour) // the connection takes each PINGREQ, and nobody can see whether it is answered
		if st := s.Stats(); st.Connections != 1 || !st.Online || st.PausedFor < time.Hour {
			t.Fatalf("lost during the pause: %+v", st)
		}
		go func() {
			for range sub.All(t.Context()) {
			}
		}()
		synctest.Wait()
		if s.Stats().Paused {
			t.Fatal("reading is paused")
		}
		wantLost(t, s, pausedPingTimeout, "did not answer PINGREQ")
	})
}

// U4: reading is paused, so the pings of a WebSocket server get no pong, and the server closes. The
// session connects again.
func TestWebSocketThatIsClosedWhileReadingIsPausedIsNoticed(t *testing.T) {
	overWebSocket(t, "ws://broker", pausedOptions(), func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
		c, w := upgrade(t, b, selected)
		c.Handshake(false)
		up(t, s)
		pauseReading(t, s, c)
		w.frame(wsPing, true, []byte("alive?"))
		elapse(20 * time.Second)
		w.frame(wsClose, true, []byte{0x03, 0xe8})
		c.Raw().Close()
		wantLost(t, s, pausedKeepAlive+pausedPingTimeout, "mqtt: ")
		next, _ := upgrade(t, b, selected)
		next.Handshake(false)
		next.Grant(streamtest.Next[frames.Subscribe](next))
		up(t, s)
	})
}
