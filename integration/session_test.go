package integration

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/go-millrace/mqtt"
)

func TestACleanSessionIsForgottenAndItsSubscriptionsAreRestored(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher"})
		w := new(wire)
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "clean", DialContext: w.DialContext, Reconnect: soon()})
		sub := subscribe(t, c, mqtt.Filter{Topic: "clean", QoS: mqtt.ExactlyOnce})
		states := c.States(within(t))

		w.setDown(true)
		w.cut()
		lost := until(t, states, func(s mqtt.State) bool { return !s.Online })
		if lost.Err == nil {
			t.Error("a lost connection has no reason")
		}
		publish(t, publisher, text("clean", "missed", 2))
		w.setDown(false)
		if back := until(t, states, func(s mqtt.State) bool { return s.Online }); back.Resumed || back.Err != nil {
			t.Errorf("back online: resumed %t, error %v", back.Resumed, back.Err)
		}
		// A Subscribe that has been answered follows the one that restores.
		subscribe(t, c, mqtt.Filter{Topic: "other", QoS: mqtt.AtMostOnce})
		publish(t, publisher, text("clean", "not missed", 2))
		expect(t, sub.Messages(), text("clean", "not missed", 2))
	})
}

// What is published at QoS 1 and 2 while a kept session is absent comes when its
// next client connects; from mochi in no order.
func TestAKeptSessionMissesNothing(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const n = 50
		publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher", Window: 20})
		options := mqtt.Options{Version: v, ClientID: "kept", KeepSession: true, Store: mqtt.NewMemoryStore()}
		c := dial(t, b.url, options)
		sub := subscribe(t, c, mqtt.Filter{Topic: "kept/#", QoS: mqtt.ExactlyOnce})
		publish(t, publisher, text("kept/2", "online", 2))
		expect(t, sub.Messages(), text("kept/2", "online", 2))
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}

		var want []string
		for i := range n {
			m := text("kept/"+strconv.Itoa(1+i%2), strconv.Itoa(i), mqtt.QoS(1+i%2))
			publish(t, publisher, m)
			want = append(want, show(m))
		}
		c = dial(t, b.url, options)
		if s := next(t, c.States(within(t))); !s.Online || s.Resumed != (v != mqtt.V31) {
			t.Errorf("online %t, resumed %t", s.Online, s.Resumed)
		}
		var got []string
		for range n { // no Subscription of this client claims them
			d := next(t, c.Deliveries())
			got = append(got, show(d.Message))
			d.Ack()
		}
		if !b.inOrder() {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}

		// The broker still has the subscription, and nothing of what was acknowledged.
		publish(t, publisher, text("kept/2", "online again", 2))
		if d := next(t, c.Deliveries()); show(d.Message) != show(text("kept/2", "online again", 2)) {
			t.Errorf("got %s", show(d.Message))
		} else {
			d.Ack()
		}
		// A broker that is taken over by the next connection may not have read the
		// last acks on this one. It has when it answers what was sent after them,
		// and they leave no later than with the first of two publications.
		publish(t, c, text("elsewhere", "", 1), text("elsewhere", "", 1))
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		c = dial(t, b.url, options)
		publish(t, publisher, text("kept/1", "the first", 1))
		if d := next(t, c.Deliveries()); show(d.Message) != show(text("kept/1", "the first", 1)) {
			t.Errorf("what was acknowledged came again: %s", show(d.Message))
		}
	})
}

// What comes before the next client has subscribed waits for its Subscription. (mochi
// refuses a SUBSCRIBE with the identifier of a message that it has in flight to the
// same client: those of ours are high.)
func TestWhatWaitsForAKeptSessionGoesToItsNextSubscription(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher"})
		options := mqtt.Options{Version: v, ClientID: "kept", KeepSession: true}
		filter := mqtt.Filter{Topic: "kept", QoS: mqtt.ExactlyOnce}
		var want []string
		for i := range 10 {
			want = append(want, strconv.Itoa(i))
		}
		for run := range 3 {
			c := dial(t, b.url, options)
			sub := subscribe(t, c, filter)
			var got []string
			for range len(want) * min(run, 1) {
				got = append(got, string(next(t, sub.Messages()).Payload))
			}
			if !b.inOrder() {
				slices.Sort(got)
			}
			if run > 0 && !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if s := c.Stats(); s.Connections != 1 {
				t.Errorf("%d connections for one SUBSCRIBE", s.Connections)
			}
			if err := c.Shutdown(within(t)); err != nil {
				t.Fatal(err)
			}
			for _, payload := range want {
				publish(t, publisher, text("kept", payload, 1))
			}
			routed(t, publisher)
		}
	})
}

// A session that is wanted clean ends the kept one.
func TestACleanSessionEndsTheKeptOne(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher"})
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "changes", KeepSession: true})
		subscribe(t, c, mqtt.Filter{Topic: "old", QoS: mqtt.ExactlyOnce})
		c.Close()
		publish(t, publisher, text("old", "waits for nobody", 2))

		c = dial(t, b.url, mqtt.Options{Version: v, ClientID: "changes"})
		if s := next(t, c.States(within(t))); s.Resumed {
			t.Error("a clean session was resumed")
		}
		sub := subscribe(t, c, mqtt.Filter{Topic: "new", QoS: mqtt.ExactlyOnce})
		publish(t, publisher, text("old", "for nobody", 2), text("new", "the first", 2))
		expect(t, sub.Messages(), text("new", "the first", 2))
		if st := c.Stats(); st.Received != 1 {
			t.Errorf("received %d messages, want 1", st.Received)
		}
	})
}

// What a client with a Store has accepted and not confirmed goes out with the
// next client on that Store, and its Receipts with it.
func TestTheNextClientOnAStoreGoesOnPublishing(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const n = 20
		subscriber := dial(t, b.url, mqtt.Options{Version: v, ClientID: "subscriber"})
		sub := subscribe(t, subscriber, mqtt.Filter{Topic: "stored/+", QoS: mqtt.ExactlyOnce})
		w := new(wire)
		options := mqtt.Options{Version: v, ClientID: "publisher", KeepSession: true, Store: mqtt.NewMemoryStore(),
			Window: 5, DialContext: w.DialContext, Reconnect: soon()}
		c := dial(t, b.url, options)
		publish(t, c, text("stored/1", "before", 1))
		expect(t, sub.Messages(), text("stored/1", "before", 1))

		w.setDown(true)
		w.cut()
		receipts := make(chan mqtt.Receipt, n)
		for i := range n {
			c.Publishes() <- mqtt.Publishing{Message: text("stored/2", strconv.Itoa(i), mqtt.QoS(1+i%2)), Ack: receipts}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for range n {
			if r := next(t, receipts); !errors.Is(r.Err, mqtt.ErrUnconfirmed) || !errors.Is(r.Err, mqtt.ErrClosed) {
				t.Errorf("receipt at Close: got %v, want ErrUnconfirmed because of ErrClosed", r.Err)
			}
		}

		w.setDown(false)
		recovered := make(chan mqtt.Receipt, n)
		options.Ack = recovered
		dial(t, b.url, options)
		arrived := make(map[mqtt.QoS][]string)
		for range n {
			if r := next(t, recovered); r.Err != nil || r.ID == 0 {
				t.Errorf("receipt of the next client: packet %d, %v", r.ID, r.Err)
			}
			m := next(t, sub.Messages())
			arrived[m.QoS] = append(arrived[m.QoS], string(m.Payload))
		}
		for q, got := range arrived {
			for k, payload := range got {
				if want := strconv.Itoa(2*k + int(q) - 1); payload != want {
					t.Errorf("QoS %d: got %s as number %d, want %s", q, payload, k, want)
				}
			}
		}
	})
}
