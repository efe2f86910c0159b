package watermillmqtt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/go-millrace/mqtt"
)

// SubscriberConfig configures NewSubscriber.
type SubscriberConfig struct {
	// Broker is the URL of the broker, as for mqtt.Open.
	Broker string

	// Group names the consumer group. It begins the client identifiers of its sessions.
	Group string

	// QoS is the highest QoS of the messages.
	QoS mqtt.QoS

	// NackDelay is when a message that was nacked is handed over again. 0 is at once, before all
	// messages behind it.
	NackDelay time.Duration

	// SubscribeTimeout bounds the wait for the broker's answer to a subscription. 0 is 30 s.
	SubscribeTimeout time.Duration

	// Store returns the Store of a session, so that at ExactlyOnce a message that was acked does
	// not come again with the next client of the session. nil keeps no state between clients.
	Store func(clientID string) (mqtt.Store, error)

	// Options of the clients. The Subscriber sets ClientID, KeepSession and Store itself.
	Options mqtt.Options

	// Logger is told about messages that cannot be decoded, and about the end of subscriptions. nil
	// logs nothing.
	Logger watermill.LoggerAdapter
}

// Subscriber is a message.Subscriber. It has a client for each subscription, since a message
// without an ack holds back the acks of all later messages of its client.
type Subscriber struct {
	config  SubscriberConfig
	ctx     context.Context // ends when Close is called
	end     context.CancelFunc
	mu      sync.Mutex // guards the step from running to closed
	running sync.WaitGroup
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber returns a Subscriber. It connects when Subscribe is called.
func NewSubscriber(config SubscriberConfig) (*Subscriber, error) {
	if config.Group == "" {
		return nil, errors.New("watermillmqtt: a Subscriber needs a Group")
	}
	if config.SubscribeTimeout == 0 {
		config.SubscribeTimeout = 30 * time.Second
	}
	if config.Logger == nil {
		config.Logger = watermill.NopLogger{}
	}
	s := &Subscriber{config: config}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s, nil
}

// SubscribeInitialize creates the session of the group for topic, unless it exists. Its messages
// wait for Subscribe.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, leave, err := s.enter(context.Background())
	if err != nil {
		return err
	}
	defer leave()
	client, _, err := s.attach(ctx, topic)
	if err != nil {
		return err
	}
	return client.Close()
}

// Subscribe returns the channel of the messages of topic, beginning with the messages that the
// session has collected. The channel is closed when ctx ends or the Subscriber is closed. The
// message that is not acked by then stays in the session.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	client, sub, err := s.attach(ctx, topic)
	if err != nil {
		leave()
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer leave()
		defer close(out)
		err := s.consume(ctx, sub, out)
		err = errors.Join(err, client.Close()) // sends the last ack, and leaves the session at the broker
		if err != nil {
			s.config.Logger.Error("subscription ended", err, watermill.LogFields{"topic": topic})
		}
	}()
	return out, nil
}

// Close ends all subscriptions and closes their channels.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// enter returns a context that ends with ctx or by Close, which waits for leave.
func (s *Subscriber) enter(ctx context.Context) (_ context.Context, leave func(), _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, nil, errors.New("watermillmqtt: the Subscriber is closed")
	}
	s.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(s.ctx, cancel)
	return ctx, func() {
		forget()
		cancel()
		s.running.Done()
	}, nil
}

// attach connects to the session of the group for topic and subscribes. Without Store the session
// lives at the broker only.
func (s *Subscriber) attach(ctx context.Context, topic string) (*mqtt.Client, *mqtt.Subscription, error) {
	o := s.config.Options
	o.ClientID = fmt.Sprintf("%s-%x", s.config.Group, sha256.Sum224([]byte(topic)))
	o.KeepSession = true
	if s.config.Store != nil {
		var err error
		if o.Store, err = s.config.Store(o.ClientID); err != nil {
			return nil, nil, err
		}
	}
	client, err := mqtt.Open(s.config.Broker, &o)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.SubscribeTimeout)
	defer cancel()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: topic, QoS: s.config.QoS})
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return client, sub, nil
}

// consume hands the messages of sub over to out until ctx or the client ends.
func (s *Subscriber) consume(ctx context.Context, sub *mqtt.Subscription, out chan<- *message.Message) error {
	for d, err := range sub.All(ctx) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if !s.handOver(ctx, d, out) {
			return nil // without an ack: the broker sends d to the next client of the session
		}
	} // the next turn acks d, unless it was put back
	return nil
}

// handOver passes d on until it is acked or put back. It returns false when ctx ends before.
func (s *Subscriber) handOver(ctx context.Context, d mqtt.Delivery, out chan<- *message.Message) bool {
	for {
		m, err := open(d.Message)
		if err != nil {
			s.config.Logger.Error("message dropped", err, watermill.LogFields{"topic": d.Topic})
			return true // with an ack: it would never become readable
		}
		switch process(ctx, m, out) {
		case acked:
			return true
		case ended:
			return false
		}
		if s.config.NackDelay > 0 {
			d.Requeue(s.config.NackDelay)
			return true
		}
	}
}

// outcome is the fate of a message.
type outcome int

const (
	acked outcome = iota
	nacked
	ended // the subscription ended first
)

// process offers m to the consumer and waits for its answer. The context of m ends with process.
func process(ctx context.Context, m *message.Message, out chan<- *message.Message) outcome {
	mctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(mctx)
	select {
	case out <- m:
	case <-ctx.Done():
		return ended
	}
	select {
	case <-m.Acked():
		return acked
	case <-m.Nacked():
		return nacked
	case <-ctx.Done():
	}
	select { // an ack just before the end counts
	case <-m.Acked():
		return acked
	default:
		return ended
	}
}
