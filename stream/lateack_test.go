package stream_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A broker that answers PINGREQ, and never a PUBLISH, stops every publication behind a full Window.
func TestAPublicationThatTheBrokerNeverAcknowledgesIsWarnedOfOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger(), KeepAlive: -1})
		for range 3 {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
		}
		streamtest.Next[frames.Publish](c)
		elapse(20*time.Second - 1)
		if n := log.count("level=WARN"); n != 0 {
			t.Fatalf("%d warnings before 20 s", n)
		}
		elapse(1)
		if log.count("level=WARN msg=\"the broker does not acknowledge") != 1 || log.count("age=20s") != 1 || log.count("queued=2") != 1 {
			t.Fatalf("the log has\n%s", log.text.String())
		}
		elapse(time.Hour)
		if n := log.count("level=WARN"); n != 1 {
			t.Fatalf("%d warnings", n)
		}
	})
}

func TestNoAckIsLateWhileAcksComeOrReadingPauses(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger(), KeepAlive: -1, SlowConsumer: -1, MaxUnread: smallUnread})
		for range 4 {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
		}
		for range 3 { // each ack takes 19 s
			p := streamtest.Next[frames.Publish](c)
			time.Sleep(19 * time.Second)
			c.Complete(p)
		}
		synctest.Wait()
		for i := range 20 {
			c.Send(publish("b", strings.Repeat("x", 1024), atLeast, uint16(i+1), false))
		}
		elapse(time.Hour)
		if st := s.Stats(); !st.Paused || st.InFlight != 1 {
			t.Fatalf("%+v", st)
		}
		if n := log.count("does not acknowledge a publication"); n != 0 {
			t.Fatalf("the log has\n%s", log.text.String())
		}
	})
}

// A broker is not accused while the Store or the line delays a publication. It is when it has the
// publication and does not acknowledge it.
func TestNoAckIsLateBehindASlowBatch(t *testing.T) {
	for _, slowLine := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			var log logBook
			o := &stream.Options{ClientID: "k", KeepSession: true, KeepAlive: -1, WriteTimeout: -1, Logger: log.logger()}
			if !slowLine {
				o.Store = &slowStore{flow.NewMemoryStore(), func() { time.Sleep(15 * time.Second) }}
			}
			s, c := connected(t, b, o)
			if slowLine {
				c.Stall()
			}
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
			elapse(15 * time.Second)
			c.Resume()
			streamtest.Next[frames.Publish](c)
			elapse(20*time.Second - 1)
			if n := log.count("does not acknowledge a publication"); n != 0 {
				t.Fatalf("slow line %t: the broker is accused:\n%s", slowLine, log.text.String())
			}
			elapse(40 * time.Second)
			if n := log.count("does not acknowledge a publication"); n != 1 {
				t.Errorf("slow line %t: the log has\n%s", slowLine, log.text.String())
			}
		})
	}
}

func TestStatsHaveTheAgesOfPublications(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, KeepAlive: -1})
		wantAges := func(queued, inFlight time.Duration) {
			t.Helper()
			if st := s.Stats(); st.OldestQueued != queued || st.OldestInFlight != inFlight {
				t.Fatalf("queued %v, in flight %v; want %v, %v", st.OldestQueued, st.OldestInFlight, queued, inFlight)
			}
		}
		wantAges(0, 0)
		for range 3 {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
			time.Sleep(time.Second)
		}
		p := streamtest.Next[frames.Publish](c)
		wantAges(2*time.Second, 3*time.Second)
		c.Complete(p)
		synctest.Wait()
		wantAges(time.Second, 2*time.Second)
		began := time.Now()
		c = droppedAndBack(t, s, b, c, true)
		lasted := time.Since(began)
		wantAges(time.Second+lasted, 2*time.Second+lasted)
		for range 2 {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		synctest.Wait()
		wantAges(0, 0)
	})
}
