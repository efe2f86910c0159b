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
			t.Error("the state of a lost connection has no error")
		}
		publish(t, publisher, text("clean", "missed", 2))
		w.setDown(false)
		if back := until(t, states, func(s mqtt.State) bool { return s.Online }); back.Resumed || back.Err != nil {
			t.Errorf("back online: resumed %t, error %v", back.Resumed, back.Err)
		}
		// An answer to a further SUBSCRIBE shows that the earlier subscriptions are restored,
		// because the client restores them first.
		subscribe(t, c, mqtt.Filter{Topic: "other", QoS: mqtt.AtMostOnce})
		publish(t, publisher, text("clean", "not missed", 2))
		expect(t, sub.Messages(), text("clean", "not missed", 2))
	})
}

// Messages published at QoS 1 and 2 while the client of a kept session is absent arrive when its
// next client connects. mochi delivers them in any order.
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
		for range n { // this client has no Subscription for these messages
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

		// The broker still has the subscription but none of the acknowledged messages.
		publish(t, publisher, text("kept/2", "online again", 2))
		if d := next(t, c.Deliveries()); show(d.Message) != show(text("kept/2", "online again", 2)) {
			t.Errorf("got %s", show(d.Message))
		} else {
			d.Ack()
		}
		// After a takeover, the broker may leave the last acks of the old connection unread. The
		// client sends these acks at the latest with the first of two publications. When the broker
		// acknowledges the second, it has read them.
		publish(t, c, text("elsewhere", "", 1), text("elsewhere", "", 1))
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		c = dial(t, b.url, options)
		publish(t, publisher, text("kept/1", "the first", 1))
		if d := next(t, c.Deliveries()); show(d.Message) != show(text("kept/1", "the first", 1)) {
			t.Errorf("an acknowledged message came again: %s", show(d.Message))
		}
	})
}

// If messages arrive before the next client has subscribed, they wait for its Subscription. (mochi
// rejects a SUBSCRIBE with the identifier of a message in flight to the same client. The
// identifiers of our SUBSCRIBE packets are high, so this does not happen.)
func TestMessagesOfAKeptSessionGoToItsNextSubscription(t *testing.T) {
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

// A clean session deletes the kept session of the same client identifier.
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

// The next client on a Store sends the unfinished publications of the previous client and delivers
// their Receipts.
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
			if r := next(t, receipts); !errors.Is(r.Err, mqtt.ErrKept) || !errors.Is(r.Err, mqtt.ErrClosed) {
				t.Errorf("receipt at Close: got %v, want ErrKept because of ErrClosed", r.Err)
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
