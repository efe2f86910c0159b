package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt"
)

var levels = []mqtt.QoS{mqtt.AtMostOnce, mqtt.AtLeastOnce, mqtt.ExactlyOnce}

func TestEveryQoSArrivesAtTheGrantedQoSInOrder(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const n = 100
		publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher", Window: 20})
		subscriber := dial(t, b.url, mqtt.Options{Version: v, ClientID: "subscriber"})
		for _, granted := range levels {
			for _, q := range levels {
				topic := fmt.Sprintf("order/%d/%d", q, granted)
				sub := subscribe(t, subscriber, mqtt.Filter{Topic: topic, QoS: granted})
				if g := sub.Granted(); len(g) != 1 || g[0] != granted {
					t.Fatalf("granted: got %d, want %d", g, granted)
				}
				in := make(chan mqtt.Message)
				go func() {
					defer close(in)
					for i := range n {
						in <- text(topic, strconv.Itoa(i), q)
					}
				}()
				i := 0
				for r := range publisher.PublishFrom(within(t), in) {
					if want := strconv.Itoa(i); r.Err != nil || string(r.Payload) != want || (r.ID != 0) != (q > 0) {
						t.Errorf("receipt: got %s, packet %d, %v; want %s", r.Payload, r.ID, r.Err, want)
					}
					i++
				}
				if i != n {
					t.Errorf("got %d receipts for %d messages", i, n)
				}
				for i := range n {
					expect(t, sub.Messages(), text(topic, strconv.Itoa(i), min(q, granted)))
				}
			}
		}
	})
}

func TestMessagesArriveUnchanged(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
		sub := subscribe(t, c, mqtt.Filter{Topic: "content/#", QoS: mqtt.ExactlyOnce})
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for _, m := range []mqtt.Message{
			{Topic: "content/every byte", Payload: all},
			{Topic: "content/Mühle/水車/🌊", Payload: []byte("☕"), QoS: mqtt.AtLeastOnce},
			{Topic: "content//", QoS: mqtt.ExactlyOnce}, // the topic has empty levels, and there is no payload
			{Topic: "content/large", Payload: bytes.Repeat([]byte("millrace"), 100_000), QoS: mqtt.ExactlyOnce},
			{Topic: "content", Payload: []byte("# matches its parent too")},
		} {
			publish(t, c, m)
			if got := next(t, sub.Messages()); got.Topic != m.Topic || !bytes.Equal(got.Payload, m.Payload) || got.QoS != m.QoS || got.Retain {
				t.Errorf("%q: got %q with %d bytes at QoS %d, want %d bytes at QoS %d",
					m.Topic, got.Topic, len(got.Payload), got.QoS, len(m.Payload), m.QoS)
			}
		}
	})
}

func TestManyPublishersShareOneClient(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const publishers, each = 50, 40
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher", Window: 100})
		subscriber := dial(t, b.url, mqtt.Options{Version: v, ClientID: "subscriber", V5: mqtt.OptionsV5{ReceiveMaximum: backlogMaximum}})
		sub := subscribe(t, subscriber, mqtt.Filter{Topic: "many/+", QoS: mqtt.ExactlyOnce})
		ctx := within(t)
		var all sync.WaitGroup
		for p := range publishers {
			all.Go(func() {
				for i := range each {
					if err := c.Publish(ctx, text(fmt.Sprintf("many/%d", p), strconv.Itoa(i), mqtt.QoS(p%3))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := make(map[string]int)
		for range publishers * each {
			m := next(t, sub.Messages())
			if want := strconv.Itoa(seen[m.Topic]); string(m.Payload) != want {
				t.Errorf("%s: got %s, want %s", m.Topic, m.Payload, want)
			}
			seen[m.Topic]++
		}
		all.Wait()
		if err := c.Flush(ctx); err != nil {
			t.Error(err)
		}
		st := c.Stats()
		if want := uint64(33 * each); st.Acknowledged != want || st.Queued != 0 || st.InFlight != 0 {
			t.Errorf("got %d acknowledged, %d queued, %d in flight; want %d, 0, 0", st.Acknowledged, st.Queued, st.InFlight, want)
		}
	})
}

func TestShutdownCompletesTheQueue(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const n = 500
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher", Window: 10})
		// mochi sends the messages above the Receive Maximum in any order.
		subscriber := dial(t, b.url, mqtt.Options{Version: v, ClientID: "subscriber", V5: mqtt.OptionsV5{ReceiveMaximum: backlogMaximum}})
		sub := subscribe(t, subscriber, mqtt.Filter{Topic: "end", QoS: mqtt.AtLeastOnce})
		receipts := make(chan mqtt.Receipt, n)
		for i := range n {
			c.Publishes() <- mqtt.Publishing{Message: text("end", strconv.Itoa(i), mqtt.AtLeastOnce), Ack: receipts}
		}
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if r := next(t, receipts); r.Err != nil || string(r.Payload) != strconv.Itoa(i) {
				t.Errorf("receipt: got %s, %v; want %d, nil", r.Payload, r.Err, i)
			}
			expect(t, sub.Messages(), text("end", strconv.Itoa(i), mqtt.AtLeastOnce))
		}
		if err := c.Publish(context.Background(), text("end", "late", 0)); !errors.Is(err, mqtt.ErrClosed) || !errors.Is(err, mqtt.ErrNotSent) {
			t.Errorf("Publish after Shutdown: got %v, want ErrNotSent because of ErrClosed", err)
		}
	})
}
