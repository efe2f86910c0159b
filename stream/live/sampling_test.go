package live

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestASnapshotHasTheFiguresOfTheLastSecond(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		c, conn := connected(t, b, mqtt.Options{Window: 2})
		sub := declared(t, c, conn, "in/#")
		v := watch(t, Handler(c))
		if s := v.next(t); len(s.Clients) != 1 || s.Clients[0].Name != "client 1" || !s.Clients[0].Online || s.Slow != 10000 {
			t.Fatalf("%+v", s)
		}
		for range 5 {
			c.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "out", QoS: mqtt.AtLeastOnce}}
		}
		first := streamtest.Next[frames.Publish](conn)
		conn.Send(publish("in/a", 1), publish("in/b", 2), publish("in/c", 3))
		elapse(100 * time.Millisecond)
		conn.Complete(first)
		conn.ExpectType(frames.TypePublish)
		conn.ExpectType(frames.TypePublish)
		(<-sub.Deliveries()).Ack()
		conn.ExpectType(frames.TypePuback)
		got := v.next(t).Clients[0]
		if got.Rates.Out != 3 || got.Rates.In != 3 || got.Rates.BytesOut == 0 || got.Rates.BytesIn == 0 {
			t.Errorf("rates: %+v", got.Rates)
		}
		g := got.Gauges
		if g.InFlight != 2 || g.Window != 2 || g.Queued != 2 || g.Unacked != 2 || g.OldestUnacked != 1000 || g.OldestQueued != 1000 {
			t.Errorf("gauges: %+v", g)
		}
		if len(got.Subs) != 1 || got.Subs[0].Filters[0] != (filterView{"in/#", 1, 1}) || got.Subs[0].State != "granted" ||
			got.Subs[0].Unacked != 2 || got.Subs[0].Oldest != 1000 {
			t.Errorf("Subscriptions: %+v", got.Subs)
		}
		if len(got.Alarms) != 0 {
			t.Errorf("alarms: %q", got.Alarms)
		}
		if l := got.Latency; len(l) == 0 || l[0].Name != "publish at QoS 1" || l[0].Count != 1 || l[0].P50 < 90_000 || l[0].P50 > 120_000 {
			t.Errorf("latency: %+v", l)
		}
		if after := v.next(t).Clients[0]; after.Rates.Out != 0 || after.Rates.In != 0 {
			t.Errorf("rates a second later: %+v", after.Rates)
		}
	})
}

func publish(topic string, id uint16) frames.Publish {
	return frames.Publish{Message: frames.Message{Topic: topic, QoS: frames.AtLeastOnce}, ID: id}
}

func TestASleepingConsumerIsRedWhenTheLimitIsReached(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		c, conn := connected(t, b, mqtt.Options{})
		sub := declared(t, c, conn, "in")
		p := &Page{Slow: 3 * time.Second}
		p.Add("sleeper", c)
		v := watch(t, p)
		v.next(t)
		conn.Send(publish("in", 1))
		held := <-sub.Deliveries()
		for at := 1; at <= 4; at++ {
			got := v.next(t).Clients[0]
			if red := len(got.Alarms) == 1; red != (at >= 3) {
				t.Errorf("after %d s: %q", at, got.Alarms)
			}
		}
		held.Ack()
		conn.ExpectType(frames.TypePuback)
		if got := v.next(t).Clients[0]; len(got.Alarms) != 0 {
			t.Errorf("after the ack: %q", got.Alarms)
		}
	})
}

func TestALostConnectionIsSeen(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		c, conn := connected(t, b, mqtt.Options{Reconnect: &backoff.Backoff{Min: 5 * time.Second, Max: 5 * time.Second}})
		v := watch(t, Handler(c))
		v.next(t)
		b.Refuse(1, nil)
		conn.Drop()
		got := v.next(t).Clients[0]
		if got.Online || got.Error == "" || got.Next == 0 || len(got.Alarms) != 1 || !strings.Contains(got.Alarms[0], "not connected") {
			t.Errorf("after the loss: %+v", got)
		}
		if len(got.History) != 1 || got.History[0].Kind != "lost" {
			t.Errorf("history: %+v", got.History)
		}
		for !got.Online {
			if len(b.Dials()) == 3 {
				b.Handshake(false)
			}
			got = v.next(t).Clients[0]
		}
		var kinds []string
		for _, e := range got.History {
			kinds = append(kinds, e.Kind)
		}
		if s := strings.Join(kinds, " "); s != "online failed lost" || len(got.Alarms) != 0 {
			t.Errorf("history: %s, alarms %q", s, got.Alarms)
		}
	})
}

func TestAClientThatHasEndedStaysUntilItIsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := &Page{}
		c, _ := connected(t, b, mqtt.Options{})
		p.Add("a", c)
		v := watch(t, p)
		v.next(t)
		c.Close()
		if got := v.next(t).Clients[0]; !got.Ended || got.Online || len(got.Alarms) != 0 || got.Totals == nil {
			t.Errorf("after Close: %+v", got)
		}
		again, _ := connected(t, b, mqtt.Options{})
		p.Add("a", again)
		if s := v.next(t); len(s.Clients) != 1 || !s.Clients[0].Online {
			t.Errorf("after Add: %+v", s.Clients)
		}
		p.Remove("a")
		p.Remove("unknown")
		if s := v.next(t); len(s.Clients) != 0 {
			t.Errorf("after Remove: %+v", s.Clients)
		}
	})
}

// The client has a user and a password in its URL, and messages.
func TestNoSecretAndNoPayloadIsShown(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := &Page{}
		c, conn := connected(t, b, mqtt.Options{Observer: p.Observer("a"), Window: 10})
		p.Add("a", c)
		sub := declared(t, c, conn, "in")
		v := watch(t, p)
		v.next(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = c.Publish(ctx, mqtt.Message{Topic: "out", Payload: []byte("secret"), QoS: 1})
		c.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "out", Payload: []byte("secret"), QoS: 1}}
		conn.Complete(streamtest.Next[frames.Publish](conn))
		m := publish("in", 7)
		m.Payload = []byte("secret")
		conn.Send(m)
		<-sub.Deliveries()
		for range 40 { // the warning about the missing ack comes after 30 s
			text := <-v.events
			if strings.Contains(text, "secret") || strings.Contains(text, "user") {
				t.Fatal(text)
			}
		}
		b.Refuse(1, nil)
		conn.Drop()
		text := <-v.events
		if got := parse(t, text).Clients[0]; strings.Contains(text, "secret") || got.Endpoint == "" || len(got.History) < 2 {
			t.Fatal(text)
		}
		synctest.Wait()
	})
}
