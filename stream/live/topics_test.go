package live

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// row makes n publications for each topic.
func row(counts map[string]int) (list []mqtt.Published) {
	for name, n := range counts {
		for range n {
			list = append(list, mqtt.Published{Receipt: mqtt.Receipt{Message: mqtt.Message{Topic: name}}})
		}
	}
	return list
}

func TestTheBusiestTopicsAreShownAndTheOthersAreOneRow(t *testing.T) {
	var x topics
	x.reset()
	counts := make(map[string]int)
	for i := range 100 {
		counts[fmt.Sprint("t", i)] = i + 1
	}
	x.published(row(counts))
	top, others, number := x.sample(smoothing, 3) // so that the rates are the counts
	if number != 100 || fmt.Sprintf("%.6v", top) != "[{t99 0 100} {t98 0 99} {t97 0 98}]" {
		t.Errorf("%d topics, %v", number, top)
	}
	if want := 100*101/2 - 100.0 - 99 - 98; round(others.Out) != want || others.In != 0 {
		t.Errorf("the others have %v, want %v", others, want)
	}
}

func TestTopicsAreBounded(t *testing.T) {
	var x topics
	x.published(row(map[string]int{"early": 1})) // nobody watches yet
	x.reset()
	counts := map[string]int{strings.Repeat("x", maxTopic+1): 7}
	for i := range maxTopics + 500 {
		counts[fmt.Sprint("t", i)] = 1
	}
	x.published(row(counts))
	_, others, number := x.sample(smoothing, 1)
	if number != maxTopics || len(x.byName) != maxTopics || round(others.Out) != maxTopics-1+500+7 {
		t.Errorf("%d topics, the others have %v", number, others)
	}
	for range idleTopics + 1 {
		x.sample(1, 1)
	}
	if len(x.list) != 0 || len(x.byName) != 0 {
		t.Errorf("%d topics without messages are kept", len(x.list))
	}
	x.published(row(map[string]int{"new": 1}))
	if top, _, _ := x.sample(1, 1); len(top) != 1 || top[0].Topic != "new" {
		t.Errorf("a new topic is not counted: %v", top)
	}
}

func TestTopicsAreCountedOnlyWhileSomebodyWatches(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := &Page{}
		c, conn := connected(t, b, mqtt.Options{Observer: p.Observer("a"), Window: 10})
		p.Add("a", c)
		send := func() {
			for range 10 {
				c.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "level/1", QoS: mqtt.AtLeastOnce}}
				conn.Complete(streamtest.Next[frames.Publish](conn))
			}
			synctest.Wait()
		}
		send()
		v := watch(t, p)
		v.next(t)
		send()
		got := v.next(t).Clients[0]
		if len(got.Topics) != 1 || got.Topics[0].Topic != "level/1" || got.Topics[0].Out != 10*smoothing || !got.Observed {
			t.Errorf("%+v", got.Topics)
		}
		v.leave()
		send()
		if n := p.client("a").topics.list[0].out; n != 0 {
			t.Errorf("%d messages were counted while nobody watched", n)
		}
	})
}

func TestTopicsOfReceivedMessagesAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := &Page{}
		c, conn := connected(t, b, mqtt.Options{Observer: p.Observer("a")})
		p.Add("a", c)
		sub := declared(t, c, conn, "level/+")
		v := watch(t, p)
		v.next(t)
		conn.Send(publish("level/1", 1), publish("level/2", 2), publish("level/1", 3))
		for range 3 {
			(<-sub.Deliveries()).Ack()
			conn.ExpectType(frames.TypePuback)
		}
		got := v.next(t).Clients[0]
		if fmt.Sprint(got.Topics) != "[{level/1 0.6 0} {level/2 0.3 0}]" {
			t.Errorf("%+v", got.Topics)
		}
		names := make([]string, 0, 3)
		for _, l := range got.Latency {
			names = append(names, fmt.Sprint(l.Name, " ", l.Count))
		}
		if s := strings.Join(names, ", "); s != "received to handed over 3, handed over to acked 3" {
			t.Errorf("latencies: %s", s)
		}
	})
}

func TestHiddenTopicsAppearNowhere(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := &Page{Topics: -1}
		o := p.Observer("a")
		if o.Published != nil || o.Delivered != nil {
			t.Error("the Observer counts topics")
		}
		c, conn := connected(t, b, mqtt.Options{Observer: o, SlowConsumer: time.Second})
		p.Add("a", c)
		sub := declared(t, c, conn, "hush/#")
		v := watch(t, p)
		conn.Send(publish("hush/1", 1), publish("other/hush", 2))
		<-sub.Deliveries()
		o.Warned(slog.NewRecord(time.Now(), slog.LevelWarn, "warned", 0))
		for i := range 4 {
			text := <-v.events
			got := parse(t, text)
			if strings.Contains(text, "hush") || !got.Hidden || len(got.Clients[0].Subs) != 1 {
				t.Fatal(text)
			}
			if i == 3 && len(got.Clients[0].History) < 2 {
				t.Errorf("warnings are missing: %+v", got.Clients[0].History)
			}
		}
	})
}

func TestTheHistoryIsBounded(t *testing.T) {
	var h history
	for i := range 3 {
		h.add(time.UnixMilli(int64(i)), "failed", "the same")
	}
	if e := h.newest(); len(e) != 1 || e[0] != (entry{2, "failed", "the same", 3}) {
		t.Errorf("%+v", e)
	}
	for i := range 2 * maxHistory {
		h.add(time.UnixMilli(int64(i)), "failed", fmt.Sprint(i, strings.Repeat("x", 2*maxText)))
	}
	e := h.newest()
	if len(e) != maxHistory || e[0].At != 2*maxHistory-1 || len(e[0].Text) > maxText+len("…") {
		t.Errorf("%d entries, the newest is %+v", len(e), e[0])
	}
}
