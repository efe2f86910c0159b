package mqtt_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Each situation causes the record, and shows in the fields, that OPERATIONS.md names.
func TestEachSituationShowsAsOperationsSays(t *testing.T) {
	text := read(t, "OPERATIONS.md")
	for _, s := range slices.Concat(whilePublishing, whileReceiving, aroundTheConnection, withAStore) {
		t.Run(s.record, func(t *testing.T) {
			if !strings.Contains(text, "`"+s.record+"`") {
				t.Error("OPERATIONS.md does not have this record")
			}
			synctest.Test(t, func(t *testing.T) {
				o := &observed{T: t, broker: streamtest.New(t, streamtest.AutoPing())}
				options := s.options
				options.Logger = slog.New(o)
				if options.DialContext == nil {
					options.DialContext = o.broker.Dial
				}
				if options.KeepAlive == 0 {
					options.KeepAlive = -1
				}
				var err error
				if o.Client, err = mqtt.Open(brokerURL, &options); err != nil {
					t.Fatal(err)
				}
				defer o.Close()
				s.happens(o)
				synctest.Wait()
				if !o.logged(s.record) {
					t.Errorf("the log has only %q", o.records)
				}
				if s.shows != nil && !s.shows(o.Stats()) {
					t.Errorf("the figures do not show it: %+v", o.Stats())
				}
			})
		})
	}
}

var whilePublishing = []situation{
	{
		record: "publications queue behind a Window of 1, so that each takes a round trip: a larger Window sends more at a time, " +
			"and may change their order when a connection is lost",
		happens: func(o *observed) { o.online(); o.publish(20) },
		shows:   func(st mqtt.Stats) bool { return st.Window == 1 && st.Queued == 19 },
	}, {
		record:  "the broker does not acknowledge a publication; when the Window is full, the others wait for it",
		options: mqtt.Options{Window: 2},
		happens: func(o *observed) { o.online(); o.publish(2); time.Sleep(2 * time.Minute) },
		shows: func(st mqtt.Stats) bool {
			return st.InFlight == st.Window && st.OldestInFlight == 2*time.Minute
		},
	}, {
		record:  "the queue is full, and new publications are refused until there is room",
		options: mqtt.Options{DialContext: noBroker, Queue: 2, Full: mqtt.Refuse},
		happens: func(o *observed) { o.publish(3) },
		shows:   func(st mqtt.Stats) bool { return st.NotQueued == 1 && st.NotSent == 1 && st.Queued == 2 },
	}, {
		record:  "the queue is full, and the oldest publications give way to new ones",
		options: mqtt.Options{DialContext: noBroker, Queue: 2, Full: mqtt.EvictOldest},
		happens: func(o *observed) { o.publish(3) },
		shows:   func(st mqtt.Stats) bool { return st.Evicted == 1 && st.Queued == 2 },
	}, {
		record:  "the queue is full and there is no connection, so new publications wait for room",
		options: mqtt.Options{DialContext: noBroker, Queue: 2},
		happens: func(o *observed) { o.publish(2) },
		shows:   func(st mqtt.Stats) bool { return !st.Online && st.Queued == 2 },
	}, {
		record:  "a publication failed and nobody is told, since neither Publishing.Ack nor Options.Ack is set",
		options: mqtt.Options{DialContext: noBroker, Queue: 1, Full: mqtt.Refuse},
		happens: func(o *observed) { o.publish(2) },
		shows:   func(st mqtt.Stats) bool { return st.Unreported == 1 },
	}, {
		record: "an Ack channel is full and its Receipts wait: give it room for all publications that await their Receipt",
		happens: func(o *observed) {
			o.online()
			ack := make(chan mqtt.Receipt, 1)
			for range 3 {
				o.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "t"}, Ack: ack}
			}
		},
		shows: func(st mqtt.Stats) bool { return st.Receipts == 2 },
	}, {
		record:  "nobody receives the Receipts of a PublishFrom or PublishBatches whose context has ended; they are dropped",
		options: mqtt.Options{Queue: 2},
		happens: func(o *observed) {
			o.online()
			ctx, cancel := context.WithCancel(o.Context())
			in := make(chan mqtt.Message)
			o.PublishFrom(ctx, in)
			for range 258 { // the output has room for 256 Receipts
				in <- mqtt.Message{Topic: "t"}
			}
			cancel()
			time.Sleep(10 * time.Second)
		},
		shows: func(st mqtt.Stats) bool { return st.Unreported > 0 },
	}, {
		record: "the broker acknowledges publications with a reason code that is not for them; it counts as success",
		happens: func(o *observed) {
			o.online()
			o.publish(1)
			p := streamtest.Next[frames.Publish](o.conn)
			o.conn.Send(frames.Ack{Kind: frames.TypePuback, ID: p.ID, AckReason: frames.AckReason{Code: 0x04}})
		},
		shows: func(st mqtt.Stats) bool { return st.Acknowledged == 1 },
	},
}

var whileReceiving = []situation{
	{
		record:  "no Subscription claims this topic: its messages wait for Messages, Deliveries or All of the client",
		happens: func(o *observed) { o.online(); o.arrive(2, 1) },
		shows:   func(st mqtt.Stats) bool { return st.Unclaimed == 2 },
	}, {
		record: "no Subscription claims a message, which holds back the acks of all later messages: subscribe, " +
			"receive from the channels of the client, or set DiscardUnclaimed",
		happens: func(o *observed) { o.online(); o.arrive(2, 1); time.Sleep(31 * time.Second) },
		shows:   func(st mqtt.Stats) bool { return st.Unacked == 2 && st.OldestUnacked == 31*time.Second },
	}, {
		record: "nobody receives the messages of a Subscription, which holds back the acks of all later messages: " +
			"receive them, or call Unsubscribe",
		happens: func(o *observed) { o.online(); o.subscribed(); o.arrive(2, 1); time.Sleep(31 * time.Second) },
		shows:   func(st mqtt.Stats) bool { return st.Unacked == 2 && st.HandedOver == 0 },
	}, {
		record: "a consumer does not acknowledge a message that it has received, which holds back the acks of all later messages",
		happens: func(o *observed) {
			o.online()
			deliveries := o.subscribed().Deliveries()
			o.arrive(1, 1)
			<-deliveries
			time.Sleep(31 * time.Second)
		},
		shows: func(st mqtt.Stats) bool { return st.OldestUnacked == 31*time.Second && st.HandedOver == 1 },
	}, {
		record:  "reading pauses, since more than MaxUnread bytes wait for consumers; filters names the Subscription with most of them",
		options: mqtt.Options{MaxUnread: 2048, MaxPacket: 2048},
		happens: func(o *observed) { o.online(); o.subscribed(); o.arrive(4, 1000); time.Sleep(2 * time.Second) },
		shows:   func(st mqtt.Stats) bool { return st.Paused && st.PausedFor >= time.Second && st.Behind },
	}, {
		record:  "a message above MaxPacket is acknowledged and dropped",
		options: mqtt.Options{Version: mqtt.V311, MaxPacket: 1024},
		happens: func(o *observed) { o.online(); o.subscribed(); o.arrive(1, 2000) },
		shows:   func(st mqtt.Stats) bool { return st.TooLarge == 1 && st.Online },
	}, {
		record: "the broker sends more QoS 1 and 2 messages than ReceiveMaximum before their exchange has ended; " +
			"they are accepted, up to MaxUnread",
		options: mqtt.Options{V5: mqtt.OptionsV5{ReceiveMaximum: 1}},
		happens: func(o *observed) { o.online(); o.subscribed(); o.arrive(3, 1) },
		shows:   func(st mqtt.Stats) bool { return st.Surplus == 2 },
	}, {
		record: "the broker refused filters of a declared subscription",
		happens: func(o *observed) {
			o.online()
			if _, err := o.Declare(mqtt.Filter{Topic: "t"}, mqtt.Filter{Topic: "secret"}); err != nil {
				o.Fatal(err)
			}
			p := streamtest.Next[frames.Subscribe](o.conn)
			o.conn.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0, frames.NotAuthorized}})
		},
	}, {
		record:  "PUBACK and PUBREC do not have this reason code; unspecified error is sent",
		happens: func(o *observed) { rejected(o, mqtt.ServerUnavailable, "") },
	}, {
		record:  "the reason of a rejected message is left out, since it is not valid",
		happens: func(o *observed) { rejected(o, mqtt.NotAuthorized, "\xff") },
	},
}

func rejected(o *observed, code mqtt.ReasonCode, reason string) {
	o.online()
	deliveries := o.subscribed().Deliveries()
	o.arrive(1, 1)
	d := <-deliveries
	d.Reject(code, reason)
}

var aroundTheConnection = []situation{
	{
		record: "connection lost",
		happens: func(o *observed) {
			o.online()
			o.conn.Send(frames.Disconnect{Code: frames.SessionTakenOver})
			synctest.Wait()
			if err := o.State().Err; !errors.Is(err, mqtt.SessionTakenOver) {
				o.Errorf("State.Err is %v", err)
			}
		},
		shows: func(st mqtt.Stats) bool { return st.Lost == 1 && !st.Online },
	}, {
		record:  "connection failed",
		options: mqtt.Options{DialContext: noBroker},
		happens: func(o *observed) {
			synctest.Wait()
			if s := o.State(); s.Err == nil || s.Attempt != 1 || time.Until(s.Next) <= 0 {
				o.Errorf("%+v", s)
			}
		},
		shows: func(st mqtt.Stats) bool { return st.Attempts == 1 && st.Connections == 0 },
	}, {
		record:  "the broker holds that this client has broken the protocol",
		happens: func(o *observed) { o.online(); o.conn.Send(frames.Disconnect{Code: frames.ProtocolViolation}) },
	}, {
		record:  "the broker has a session that this client does not know; it goes on with that session",
		options: mqtt.Options{ClientID: "pump", KeepSession: true},
		happens: func(o *observed) { o.broker.Handshake(true) },
	}, {
		record:  "the broker closed the connection without any ack; the oldest publication is sent alone next",
		options: mqtt.Options{ClientID: "pump", KeepSession: true, GiveUp: 2},
		happens: func(o *observed) { closedAt(o, 1) },
		shows:   func(st mqtt.Stats) bool { return st.Lost == 1 && st.Acknowledged == 0 },
	}, {
		record:  "a publication is given up, since the broker closed each connection on which it was sent",
		options: mqtt.Options{ClientID: "pump", KeepSession: true, GiveUp: 2},
		happens: func(o *observed) { closedAt(o, 2) },
		shows:   func(st mqtt.Stats) bool { return st.GivenUp == 1 && st.Unconfirmed == 1 },
	}, {
		record: "subscription not restored",
		happens: func(o *observed) {
			o.online()
			done := make(chan error, 1)
			go func() {
				_, err := o.Subscribe(o.Context(), mqtt.Filter{Topic: "t"})
				done <- err
			}()
			o.conn.Grant(streamtest.Next[frames.Subscribe](o.conn))
			if err := <-done; err != nil {
				o.Fatal(err)
			}
			o.conn.Drop()
			o.online()
			p := streamtest.Next[frames.Subscribe](o.conn)
			o.conn.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{frames.NotAuthorized}})
		},
	}, {
		record:  "the session ends when consumers have taken the messages that have arrived, or with Close",
		options: mqtt.Options{NoReconnect: true},
		happens: func(o *observed) { o.online(); o.subscribed(); o.arrive(1, 1); synctest.Wait(); o.conn.Drop() },
	}, {
		record:  "a function of Options.Observer panicked; later panics of Observer are not logged",
		options: mqtt.Options{Observer: &mqtt.Observer{Attempt: func(mqtt.Attempted) { panic("mine") }}},
		happens: func(o *observed) { o.online() },
		shows:   func(st mqtt.Stats) bool { return st.Online },
	},
}

// closedAt makes the broker close the connection at the same publication, n times in a row.
func closedAt(o *observed, n int) {
	o.publish(1)
	for i := range n {
		o.conn = o.broker.Handshake(i > 0)
		streamtest.Next[frames.Publish](o.conn)
		o.conn.Drop()
		synctest.Wait()
	}
}

// A diskStore is a Store whose commits take a time and then fail, if err is set.
type diskStore struct {
	mqtt.Store
	takes time.Duration
	err   error
}

func (s diskStore) Commit(changes []flow.Change) error {
	time.Sleep(s.takes)
	if s.err != nil {
		return s.err
	}
	return s.Store.Commit(changes)
}

var withAStore = []situation{
	{
		record: "a commit of the Store takes long; packets that depend on it wait",
		options: mqtt.Options{ClientID: "pump", KeepSession: true,
			Store: diskStore{Store: mqtt.NewMemoryStore(), takes: 3 * time.Minute}},
		happens: func(o *observed) { o.online(); o.publish(1); time.Sleep(2 * time.Minute) },
		shows:   func(st mqtt.Stats) bool { return st.StoreWaiting > time.Minute },
	}, {
		record: "a commit of the Store failed",
		options: mqtt.Options{ClientID: "pump", KeepSession: true,
			Store: diskStore{Store: mqtt.NewMemoryStore(), err: errors.New("no space left on device")}},
		happens: func(o *observed) { // the first commit may be that of the session, and the next comes a second later
			o.online()
			o.publish(1)
			time.Sleep(2 * time.Second)
		},
		shows: func(st mqtt.Stats) bool { return st.StoreFailing && st.NotSent == 1 && st.Commits == 0 },
	},
}
