package integration

import (
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// V17. mosquitto announces a Receive Maximum of 20.
func TestTheWindowIsTheReceiveMaximumOfTheBroker(t *testing.T) {
	withMosquitto5(t, "max_inflight_messages 20", func(t *testing.T, b *broker) {
		c := dial(t, b.url, mqtt.Options{ClientID: "both", Window: 100})
		if w, s := c.Stats().Window, c.State().Server; w != 20 || s.ReceiveMaximum != 20 {
			t.Errorf("window %d, %+v", w, s)
		}
		// At 3.1.1 mosquitto acknowledges QoS 2 messages above its limit and drops them.
		const n = 500
		sub := subscribe(t, c, mqtt.Filter{Topic: "many", QoS: mqtt.ExactlyOnce})
		acks := make(chan mqtt.Receipt, n)
		go func() {
			for range n {
				c.Publishes() <- mqtt.Publishing{Message: text("many", "x", 2), Ack: acks}
			}
		}()
		for range n {
			next(t, sub.Messages())
			if r := next(t, acks); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	})
}

// V7. The broker assigns the identifier of a kept session, the Store keeps it, and the next client
// goes on with the session.
func TestAnAssignedIdentifierIsUsedAgain(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		w := new(wire)
		o := mqtt.Options{KeepSession: true, Store: mqtt.NewMemoryStore(), DialContext: w.DialContext, Reconnect: soon()}
		c := dial(t, b.url, o)
		id := c.State().Server.ClientID
		if id == "" {
			t.Fatal("no identifier was assigned")
		}
		sub := subscribe(t, c, mqtt.Filter{Topic: "kept", QoS: mqtt.AtLeastOnce})
		states := c.States(within(t))
		w.setDown(true) // so that the client stays offline until the test has seen it
		w.cut()
		until(t, states, func(s mqtt.State) bool { return !s.Online })
		w.setDown(false)
		if s := until(t, states, func(s mqtt.State) bool { return s.Online }); !s.Resumed || s.Server.ClientID != id {
			t.Errorf("after a cut: resumed %t with identifier %q, want %q", s.Resumed, s.Server.ClientID, id)
		}
		publish(t, c, text("kept", "1", 1))
		expect(t, sub.Messages(), text("kept", "1", 1))
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		publisher := dial(t, b.url, mqtt.Options{})
		publish(t, publisher, text("kept", "2", 1))
		routed(t, publisher)
		c = dial(t, b.url, o)
		if s := c.State(); !s.Resumed || s.Server.ClientID != id {
			t.Errorf("the next client: resumed %t with identifier %q, want %q", s.Resumed, s.Server.ClientID, id)
		}
		if d := next(t, c.Deliveries()); string(d.Payload) != "2" {
			t.Errorf("got %s", show(d.Message))
		}
	})
}

// V14. RabbitMQ 4 and aedes 2 keep no session without a filter. A session ends when its expiry
// interval has passed without a connection.
func TestASessionExpires(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		w := new(wire)
		o := mqtt.Options{ClientID: "kept", KeepSession: true, DialContext: w.DialContext, Reconnect: soon(),
			V5: mqtt.OptionsV5{SessionExpiry: time.Second}}
		c := dial(t, b.url, o)
		subscribe(t, c, mqtt.Filter{Topic: "kept", QoS: mqtt.AtLeastOnce})
		states := c.States(within(t))
		back := func(after time.Duration) mqtt.State {
			w.setDown(true)
			w.cut()
			until(t, states, func(s mqtt.State) bool { return !s.Online })
			<-time.After(after)
			w.setDown(false)
			return until(t, states, func(s mqtt.State) bool { return s.Online })
		}
		if s := back(0); !s.Resumed {
			t.Error("the session was lost at once")
		}
		if s := back(2500 * time.Millisecond); s.Resumed {
			t.Error("a session that lasts a second was resumed after 2.5 s")
		}
	})
}

// The will waits for its delay, and does not come if the client is back in time. aedes 2.0.0-beta.1
// sends it with its delay, a property that PUBLISH does not have, so the watcher closes.
func TestADelayedWillComesOnlyIfTheClientStaysAway(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		watcher := dial(t, b.url, mqtt.Options{ClientID: "watcher", NoReconnect: true})
		sub := subscribe(t, watcher, mqtt.Filter{Topic: "will", QoS: mqtt.AtLeastOnce})
		will := text("will", "bye", 1)
		will.Properties = &mqtt.Properties{User: []mqtt.UserProperty{{Name: "cause", Value: "cut"}}}
		w := new(wire)
		c := dial(t, b.url, mqtt.Options{ClientID: "mortal", KeepSession: true, Will: &will, DialContext: w.DialContext, Reconnect: soon(),
			V5: mqtt.OptionsV5{WillDelay: time.Second}})
		states := c.States(within(t))
		w.setDown(true) // so that the client stays offline until the test has seen it
		w.cut()
		until(t, states, func(s mqtt.State) bool { return !s.Online })
		w.setDown(false)
		until(t, states, func(s mqtt.State) bool { return s.Online })
		<-time.After(1500 * time.Millisecond)
		publish(t, watcher, text("will", "no will yet", 1))
		expect(t, sub.Messages(), text("will", "no will yet", 1))
		w.setDown(true)
		w.cut()
		began := time.Now()
		if b.name == "aedes" {
			ends(t, watcher)
			var violation *mqtt.ProtocolError
			if !errors.As(watcher.Err(), &violation) {
				t.Errorf("the watcher ended with %v", watcher.Err())
			}
			return
		}
		m := next(t, sub.Messages())
		if value, _ := m.Properties.Get("cause"); string(m.Payload) != "bye" || value != "cut" {
			t.Errorf("got %s with %+v", show(m), m.Properties)
		}
		if after := time.Since(began); after < 500*time.Millisecond {
			t.Errorf("the will came after %v, want a second", after)
		}
	})
}

// V72. A broker tells that another client has taken over the session; mosquitto 2.0.11 only closes.
func TestATakeoverHasItsReason(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		first := dial(t, b.url, mqtt.Options{ClientID: "twin", NoReconnect: true})
		second := dial(t, b.url, mqtt.Options{ClientID: "twin"})
		ends(t, first)
		told := errors.Is(first.Err(), mqtt.SessionTakenOver)
		if first.Err() == nil || told == (b.name == "mosquitto" && b.version == "2.0.11") {
			t.Errorf("%v: told %t", first.Err(), told)
		}
		publish(t, second, text("twin", "lives", b.best()))
	})
}
