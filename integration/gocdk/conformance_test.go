package gocdk

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jpillora/backoff"
	"go.uber.org/goleak"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/driver"
	"gocloud.dev/pubsub/drivertest"

	"github.com/go-millrace/mqtt"
)

func TestMain(m *testing.M) {
	if mosquittoPath() == "" {
		fmt.Println("mosquitto is not installed: only mochi is tested")
	}
	goleak.VerifyTestMain(m)
}

func TestTheGoCDKFindsADriverThatConforms(t *testing.T) {
	brokers := map[string]func(*testing.T) string{"mochi": startMochi}
	if mosquittoPath() != "" {
		brokers["mosquitto"] = startMosquitto
	}
	for name, start := range brokers {
		t.Run(name+"/straight", func(t *testing.T) {
			t.Parallel()
			addr := start(t)
			conform(t, addr, addr)
		})
		t.Run(name+"/cut", func(t *testing.T) {
			t.Parallel()
			broker := start(t)
			p := newProxy(t, broker)
			publishers := p.address()
			if name == "mochi" {
				// If mochi cannot write a PUBREC, it drops the message. It answers the second
				// PUBLISH with PUBREC all the same, so the client gets a PUBCOMP:
				//
				//	publisher   sent      PUBLISH 12          and the connection ends
				//	publisher   sent      PUBLISH 12, DUP     on the next connection
				//	publisher   received  PUBREC 12
				//	publisher   sent      PUBREL 12
				//	publisher   received  PUBCOMP 12
				//	subscriber  received  11 of 12 messages
				publishers = broker
			}
			conform(t, publishers, p.address())
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%d connections were cut", p.cuts)
			if p.cuts < 3 {
				t.Errorf("%d connections were cut, want at least 3", p.cuts)
			}
		})
	}
}

// conform runs the suite with these addresses for the clients of topics and of subscriptions.
func conform(t *testing.T, topics, subscriptions string) {
	newHarness := func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		return &harness{t: t, topics: "mqtt://" + topics, subscriptions: "mqtt://" + subscriptions}, nil
	}
	drivertest.RunConformanceTests(t, newHarness, []drivertest.AsTest{asTypes{}})
}

// harness makes topics and subscriptions at QoS 2, so that cuts cause no second copies.
type harness struct {
	t                     *testing.T
	topics, subscriptions string // URLs
}

// clients numbers the clients, so that each has a session of its own.
var clients atomic.Int64

var logPackets = flag.Bool("packets", false, "log the packets of every client")

func (h *harness) options() *mqtt.Options {
	id := "gocdk" + strconv.FormatInt(clients.Add(1), 10)
	level := slog.LevelInfo
	if *logPackets {
		level = slog.LevelDebug
	}
	return &mqtt.Options{
		ClientID:    id,
		KeepSession: true,
		Window:      20,
		Reconnect:   &backoff.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond, Jitter: true},
		Logger:      slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: level})).With("who", id),
	}
}

func (h *harness) CreateTopic(_ context.Context, testName string) (driver.Topic, func(), error) {
	dt, err := openTopic(h.topics, h.options(), testName, mqtt.ExactlyOnce)
	if err != nil {
		return nil, nil, err
	}
	return dt, func() { dt.Close() }, nil
}

// noName is not a valid topic name.
const noName = "no/#/name"

func (h *harness) MakeNonexistentTopic(context.Context) (driver.Topic, error) {
	return openTopic(h.topics, h.options(), noName, mqtt.ExactlyOnce)
}

func (h *harness) CreateSubscription(ctx context.Context, dt driver.Topic, _ string) (driver.Subscription, func(), error) {
	return h.subscribe(ctx, dt.(*topic).name)
}

func (h *harness) MakeNonexistentSubscription(ctx context.Context) (driver.Subscription, func(), error) {
	return h.subscribe(ctx, noName)
}

func (h *harness) subscribe(ctx context.Context, name string) (driver.Subscription, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := openSubscription(ctx, h.subscriptions, h.options(), mqtt.Filter{Topic: name, QoS: mqtt.ExactlyOnce})
	if err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}

func (h *harness) Close() {}

// MaxBatchSizes returns 0, which is no limit.
func (h *harness) MaxBatchSizes() (send, ack int) { return 0, 0 }

func (h *harness) SupportsMultipleSubscriptions() bool { return true }

// asTypes tests the types to which the driver converts.
type asTypes struct{}

func (asTypes) Name() string { return "types of this client" }

func (asTypes) TopicCheck(t *pubsub.Topic) error {
	var c *mqtt.Client
	return want(t.As(&c) && c != nil, "Topic.As does not convert to a Client")
}

func (asTypes) SubscriptionCheck(s *pubsub.Subscription) error {
	var c *mqtt.Client
	var sub *mqtt.Subscription
	return want(s.As(&c) && s.As(&sub) && c != nil && sub != nil, "Subscription.As does not convert")
}

func (asTypes) TopicErrorCheck(t *pubsub.Topic, err error) error {
	var invalid *mqtt.InvalidError
	return want(t.ErrorAs(err, &invalid), "Topic.ErrorAs does not convert to an InvalidError")
}

func (asTypes) SubscriptionErrorCheck(s *pubsub.Subscription, err error) error {
	var invalid *mqtt.InvalidError
	return want(s.ErrorAs(err, &invalid), "Subscription.ErrorAs does not convert to an InvalidError")
}

func (asTypes) MessageCheck(m *pubsub.Message) error {
	var d mqtt.Delivery
	return want(m.As(&d) && d.QoS == mqtt.ExactlyOnce, "Message.As does not convert to a Delivery")
}

func (asTypes) BeforeSend(as func(any) bool) error {
	var m mqtt.Message
	return want(as(&m) && len(m.Payload) > 0, "BeforeSend does not convert to a Message")
}

func (asTypes) AfterSend(as func(any) bool) error {
	var r mqtt.Receipt
	return want(as(&r) && r.ID != 0 && r.Err == nil, "AfterSend does not convert to a Receipt")
}

func want(ok bool, otherwise string) error {
	if !ok {
		return errors.New(otherwise)
	}
	return nil
}
