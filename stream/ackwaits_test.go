package stream_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func oldestUnacked(st stream.Stats) time.Duration { return st.OldestUnacked }

// U11: each of these stops all inbound QoS 1 and 2 messages at a broker with an in-flight limit.
func TestAMessageThatHoldsBackAcksIsWarnedOf(t *testing.T) {
	for name, row := range map[string]struct {
		stall func(t *testing.T, s *stream.Session, sub *stream.Subscription)
		topic string
		want  []string
	}{
		"break out of All": {func(t *testing.T, _ *stream.Session, sub *stream.Subscription) {
			for range sub.All(t.Context()) {
				break
			}
		}, "mine/1", []string{"does not acknowledge", "mine/#", "topic=mine/1"}},
		"no Ack after a decode error": {func(t *testing.T, s *stream.Session, sub *stream.Subscription) {
			<-sub.Deliveries()
		}, "mine/1", []string{"does not acknowledge", "mine/#", "topic=mine/1"}},
		"nobody reads": {func(*testing.T, *stream.Session, *stream.Subscription) {},
			"mine/1", []string{"nobody receives", "mine/#", "topic=mine/1", "unread=1"}},
		"an old filter of the kept session": {func(*testing.T, *stream.Session, *stream.Subscription) {},
			"old/1", []string{"no Subscription claims", "topic=old/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				var log logBook
				s, c := connected(t, b, &stream.Options{Logger: log.logger(), KeepAlive: -1})
				sub, good := subscribed(t, s, c, "mine/#", atLeast), subscribed(t, s, c, "good", atLeast)
				c.Send(publish(row.topic, "1", atLeast, 1, false), publish("good", "2", atLeast, 2, false))
				row.stall(t, s, sub)
				wantPayloads(t, good.Messages(), "2")
				synctest.Wait()
				elapse(30*time.Second - 1)
				if n := log.count("holds back"); n != 0 {
					t.Fatal(log.text.String())
				}
				elapse(1)
				if n := log.count("holds back"); n != 1 {
					t.Fatalf("%d records:\n%s", n, log.text.String())
				}
				for _, part := range append(row.want, "level=WARN", "age=30s", "unacked=2") {
					if !strings.Contains(log.text.String(), part) {
						t.Errorf("no %q in\n%s", part, log.text.String())
					}
				}
				wantStat(t, s, "OldestUnacked", oldestUnacked, 30*time.Second)
				for _, at := range []time.Duration{300 * time.Second, 3000 * time.Second} {
					was := log.count("holds back")
					elapse(at - s.Stats().OldestUnacked - 1)
					if n := log.count("holds back"); n != was {
						t.Fatalf("%d records before %v:\n%s", n, at, log.text.String())
					}
					elapse(1)
					if n := log.count("holds back"); n != was+1 {
						t.Fatalf("%d records at %v:\n%s", n, at, log.text.String())
					}
				}
			})
		})
	}
}

// U11: after Unsubscribe nothing is held back, and nothing is logged.
func TestUnsubscribeLeavesNothingToWarnOf(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger(), KeepAlive: -1})
		sub := subscribed(t, s, c, "a", atLeast)
		sub.Deliveries()
		c.Send(inboundRun("a", atLeast, 1, 300)...)
		synctest.Wait()
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		synctest.Wait()
		elapse(time.Hour)
		wantIdle(t, done)
		wantStat(t, s, "OldestUnacked", oldestUnacked, 0)
		wantStat(t, s, "Unacked", func(st stream.Stats) int { return st.Unacked }, 0)
		if n := log.count("level=WARN"); n != 0 {
			t.Fatal(log.text.String())
		}
	})
}

// A consumer that takes long for each message is not warned of at each.
func TestASlowConsumerIsNotWarnedOfAtEachMessage(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger(), KeepAlive: -1, SlowConsumer: time.Second})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 18)...)
		for d := range sub.Deliveries() {
			elapse(2 * time.Second)
			d.Ack()
			if d.ID == 18 {
				break
			}
		}
		if n := log.count("holds back"); n != 4 { // every 9 s, in 36 s
			t.Fatalf("%d records:\n%s", n, log.text.String())
		}
		wantStat(t, s, "OldestUnacked", oldestUnacked, 0)
	})
}

// The second copy of a QoS 2 message waits for the Ack of the first, which came over an earlier
// connection.
func TestTheAckOfASecondCopyIsWarnedOf(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		o := keepingSession()
		o.Logger, o.KeepAlive = log.logger(), -1
		s, c := connected(t, b, o)
		sub := subscribed(t, s, c, "a", exactly)
		c.Send(publish("a", "x", exactly, 1, false))
		<-sub.Deliveries()
		c = droppedAndBack(t, s, b, c, true)
		c.Send(publish("a", "x", exactly, 1, true))
		elapse(30 * time.Second)
		if log.count("does not acknowledge") != 1 || log.count("filters=[a]") != 1 {
			t.Fatal(log.text.String())
		}
	})
}
