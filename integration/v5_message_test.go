package integration

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// Every property of a message comes through, user properties in their order and with repeated
// names. aedes 2.0.0-beta.1 puts equal names together.
func TestPropertiesComeThroughInTheirOrder(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		c := dial(t, b.url, mqtt.Options{ClientID: "both"})
		sub := subscribe(t, c, mqtt.Filter{Topic: "properties/#", QoS: mqtt.ExactlyOnce})
		for _, q := range b.levels() {
			m := text("properties/1", "größe", q)
			m.Properties = &mqtt.Properties{Expiry: time.Minute, ContentType: "text/plain", ResponseTopic: "answers/1",
				Correlation: []byte{0, 1, 255}, Text: true,
				User: []mqtt.UserProperty{{Name: "z", Value: "1"}, {Name: "a", Value: "2"}, {Name: "z", Value: ""}, {Name: "", Value: "größe"}}}
			publish(t, c, m)
			got := next(t, sub.Messages())
			p := got.Properties
			if show(got) != show(m) || p == nil {
				t.Fatalf("got %s with %+v", show(got), p)
			}
			if p.ContentType != "text/plain" || p.ResponseTopic != "answers/1" || string(p.Correlation) != "\x00\x01\xff" || !p.Text {
				t.Errorf("QoS %d: %+v", q, p)
			}
			want := slices.Clone(m.Properties.User)
			if b.name == "aedes" {
				want[1], want[2] = want[2], want[1]
			}
			if !slices.Equal(p.User, want) {
				t.Errorf("QoS %d: user properties %q, want %q", q, p.User, want)
			}
			if left, ok := p.Left(time.Now()); !ok || left <= 50*time.Second || left > time.Minute {
				t.Errorf("QoS %d: %v left of a minute", q, left)
			}
		}
	})
}

// A broker drops a message of a kept session when it has expired, and counts down the others.
// ejabberd 23.01 and 24.12 deliver an expired one, with a second left.
func TestAMessageExpiresAtTheBroker(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		o := mqtt.Options{ClientID: "kept", KeepSession: true}
		c := dial(t, b.url, o)
		subscribe(t, c, mqtt.Filter{Topic: "news", QoS: mqtt.AtLeastOnce})
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		publisher := dial(t, b.url, mqtt.Options{ClientID: "publisher", V5: mqtt.OptionsV5{Expiry: time.Minute}})
		short := text("news", "stale", 1)
		short.Properties = &mqtt.Properties{Expiry: time.Second}
		publish(t, publisher, short, text("news", "fresh", 1))
		<-time.After(2200 * time.Millisecond)
		c = dial(t, b.url, o)
		d := next(t, c.Deliveries())
		if b.name == "ejabberd" {
			if left, ok := d.Properties.Left(time.Now()); string(d.Payload) != "stale" || !ok || left > time.Second {
				t.Errorf("got %s, %v left", show(d.Message), left)
			}
			d.Ack()
			d = next(t, c.Deliveries())
		}
		if string(d.Payload) != "fresh" {
			t.Fatalf("got %s", show(d.Message))
		}
		d.Ack()
		left, ok := d.Properties.Left(time.Now())
		if !ok || left > 58500*time.Millisecond {
			t.Errorf("%v left of a minute, after 2.2 s", left)
		}
	})
}

// V40. mosquitto, ejabberd and RabbitMQ tell that nobody has subscribed; at QoS 2 only ejabberd
// does. mochi and aedes do not.
func TestTheReceiptTellsThatNobodyHasSubscribed(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		nobody := map[string][]mqtt.ReasonCode{
			"mosquitto": {mqtt.NoMatchingSubscribers, 0},
			"ejabberd":  {mqtt.NoMatchingSubscribers, mqtt.NoMatchingSubscribers},
			"RabbitMQ":  {mqtt.NoMatchingSubscribers},
			"mochi":     {0, 0},
			"aedes":     {0, 0},
		}[b.name]
		c := dial(t, b.url, mqtt.Options{ClientID: "both"})
		receipt := func(topic string, q mqtt.QoS) mqtt.Receipt {
			acks := make(chan mqtt.Receipt, 1)
			c.Publishes() <- mqtt.Publishing{Message: text(topic, "", q), Ack: acks}
			return next(t, acks)
		}
		subscribe(t, c, mqtt.Filter{Topic: "somebody", QoS: mqtt.AtMostOnce})
		for i, q := range b.levels()[1:] {
			if r := receipt("nobody", q); r.Err != nil || r.Code != nobody[i] {
				t.Errorf("QoS %d to nobody: code %v, want %v, error %v", q, r.Code, nobody[i], r.Err)
			}
			if r := receipt("somebody", q); r.Err != nil || r.Code == mqtt.NoMatchingSubscribers {
				t.Errorf("QoS %d to somebody: code %v, error %v", q, r.Code, r.Err)
			}
		}
	})
}

// A request has its reply. One that nobody gets ends at once where the broker tells so.
func TestARequestHasItsReplyOrNobodyListens(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		server, caller := dial(t, b.url, mqtt.Options{ClientID: "server"}), dial(t, b.url, mqtt.Options{ClientID: "caller"})
		if b.name == "mosquitto" || b.name == "ejabberd" || b.name == "RabbitMQ" {
			if _, err := caller.Request(within(t), text("add", "", 1)); !errors.Is(err, mqtt.ErrNoResponder) {
				t.Errorf("nobody listens: %v", err)
			}
		}
		requests := subscribe(t, server, mqtt.Filter{Topic: "add", QoS: mqtt.AtLeastOnce})
		go func() {
			for m := range requests.Messages() {
				reply := text(m.Properties.ResponseTopic, string(m.Payload)+"!", 1)
				reply.Properties = &mqtt.Properties{Correlation: m.Properties.Correlation}
				server.Publishes() <- mqtt.Publishing{Message: reply}
			}
		}()
		for _, q := range b.levels()[1:] {
			got, err := caller.Request(within(t), text("add", "hello", q))
			if err != nil || string(got.Payload) != "hello!" {
				t.Errorf("QoS %d: reply %q, %v", q, got.Payload, err)
			}
		}
	})
}

// Serve answers the requests of its filter, through every broker. A request that comes before Serve
// has subscribed has no reply, so the caller asks again.
func TestServeAnswersRequests(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		server, caller := dial(t, b.url, mqtt.Options{ClientID: "server"}), dial(t, b.url, mqtt.Options{ClientID: "caller"})
		ctx, cancel := context.WithCancel(within(t))
		served := make(chan error, 1)
		go func() {
			served <- mqtt.Serve(ctx, server, func(_ context.Context, d mqtt.Delivery) (mqtt.Message, error) {
				return mqtt.Message{Payload: append([]byte("served "), d.Payload...)}, nil
			}, mqtt.Filter{Topic: "serve", QoS: mqtt.AtLeastOnce})
		}()
		request := func(m mqtt.Message, patience time.Duration) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			reply, err := caller.Request(ctx, m)
			return string(reply.Payload), err
		}
		for ready := false; !ready; {
			_, err := request(text("serve", "ready?", 1), time.Second)
			if ready = err == nil; !ready && ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		for _, q := range b.levels() {
			if got, err := request(text("serve", "this", q), time.Minute); err != nil || got != "served this" {
				t.Errorf("QoS %d: reply %q, %v", q, got, err)
			}
		}
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// V46. A broker drops a message that its consumer rejects, and goes on with the next one.
func TestARejectedMessageDoesNotComeAgain(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		publisher := dial(t, b.url, mqtt.Options{ClientID: "publisher"})
		o := mqtt.Options{ClientID: "kept", KeepSession: true}
		c := dial(t, b.url, o)
		sub := subscribe(t, c, mqtt.Filter{Topic: "judged", QoS: mqtt.ExactlyOnce})
		for _, q := range b.levels()[1:] {
			publish(t, publisher, text("judged", "bad", q), text("judged", "good", q))
			bad := next(t, sub.Deliveries())
			bad.Reject(mqtt.PayloadFormatInvalid, "not a number")
			good := next(t, sub.Deliveries())
			if string(bad.Payload)+string(good.Payload) != "badgood" {
				t.Fatalf("got %s and %s", show(bad.Message), show(good.Message))
			}
			good.Ack()
		}
		publish(t, c, text("elsewhere", "", 1), text("elsewhere", "", 1)) // the last ack shows that the broker has the acks
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		c = dial(t, b.url, o)
		publish(t, publisher, text("judged", "next", 1))
		if d := next(t, c.Deliveries()); string(d.Payload) != "next" {
			t.Errorf("%s came again", show(d.Message))
		}
	})
}

// Topic aliases halve the bytes of messages with a long topic. mochi and aedes allow none.
func TestTopicAliasesSaveTheBytesOfALongTopic(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		topic := "plant/" + strings.Repeat("building/", 5) + "temperature"
		const n = 200
		sub := subscribe(t, dial(t, b.url, mqtt.Options{ClientID: "subscriber"}), mqtt.Filter{Topic: topic, QoS: mqtt.AtLeastOnce})
		sent := func(aliases int) int {
			c := dial(t, b.url, mqtt.Options{ClientID: "publisher", V5: mqtt.OptionsV5{TopicAliases: aliases}})
			defer c.Close()
			before := c.Stats().BytesOut
			for range n {
				m := text(topic, strings.Repeat(".", 40), 1)
				publish(t, c, m)
				expect(t, sub.Messages(), m)
			}
			return int(c.Stats().BytesOut - before)
		}
		with, without := sent(0), sent(-1)
		t.Logf("%d messages with a topic of %d bytes: %d bytes with aliases, %d without", n, len(topic), with, without)
		if none := b.name == "mochi" || b.name == "aedes"; none != (with > without*55/100) {
			t.Errorf("%d bytes with topic aliases, %d without", with, without)
		}
	})
}

// mosquitto refuses a packet above its limit, QoS and retained messages that it does not have; the
// client does not send them.
func TestTheLimitsOfMosquittoAreKept(t *testing.T) {
	withMosquitto5(t, "max_packet_size 300\nretain_available false", func(t *testing.T, b *broker) {
		c := dial(t, b.url, mqtt.Options{ClientID: "limited"})
		s := c.State().Server
		if s == nil || s.MaximumPacket != 300 || s.Retain {
			t.Fatalf("announced: %+v", s)
		}
		retained := text("limited", "kept", 1)
		retained.Retain = true
		for name, m := range map[string]mqtt.Message{"large": text("limited", strings.Repeat(".", 300), 1), "retained": retained} {
			var limit *mqtt.LimitError
			if err := c.Publish(within(t), m); !errors.As(err, &limit) || !errors.Is(err, mqtt.ErrNotSent) {
				t.Errorf("%s: got %v, want a *LimitError", name, err)
			}
		}
		publish(t, c, text("limited", strings.Repeat(".", 200), 2))
		if n := c.Stats().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}
