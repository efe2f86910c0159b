package watermillmqtt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/go-millrace/mqtt"
)

// PublisherConfig configures NewPublisher.
type PublisherConfig struct {
	// Broker is the URL of the broker, as for mqtt.Open.
	Broker string

	// QoS of the messages. At AtLeastOnce, Publish sends a message again if it cannot know whether
	// the message has arrived. ExactlyOnce needs Options.KeepSession to survive a lost connection.
	QoS mqtt.QoS

	// Options of the client.
	Options mqtt.Options

	// CloseTimeout bounds how long Close waits for running calls of Publish. 0 is 10 s.
	CloseTimeout time.Duration
}

// Publisher is a message.Publisher.
type Publisher struct {
	config PublisherConfig
	client *mqtt.Client
	close  func() error // once
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher, which connects by itself. Its error concerns the arguments.
func NewPublisher(config PublisherConfig) (*Publisher, error) {
	client, err := mqtt.Open(config.Broker, &config.Options)
	if err != nil {
		return nil, err
	}
	if config.CloseTimeout == 0 {
		config.CloseTimeout = 10 * time.Second
	}
	p := &Publisher{config: config, client: client}
	p.close = sync.OnceValue(p.shutdown)
	return p, nil
}

// Publish publishes the messages in order, and returns when the broker has acknowledged all of
// them. The context of a message bounds the wait for it. After an error the rest is not sent.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		if err := p.publish(topic, m); err != nil {
			return fmt.Errorf("publishing message %s: %w", m.UUID, err)
		}
	}
	return nil
}

func (p *Publisher) publish(topic string, m *message.Message) error {
	payload, err := seal(m)
	if err != nil {
		return err
	}
	for {
		err := p.client.Publish(m.Context(), mqtt.Message{Topic: topic, Payload: payload, QoS: p.config.QoS})
		if err == nil || m.Context().Err() != nil || !p.mayRepeat(err) {
			return err
		}
	}
}

// mayRepeat reports whether the message may be sent again after err: it was not sent, or it may
// arrive twice.
func (p *Publisher) mayRepeat(err error) bool {
	if mqtt.Retryable(err) {
		return true
	}
	return p.config.QoS == mqtt.AtLeastOnce && errors.Is(err, mqtt.ErrUnconfirmed) && !errors.Is(err, mqtt.ErrClosed)
}

// Close waits for the messages that are being published, and disconnects.
func (p *Publisher) Close() error { return p.close() }

func (p *Publisher) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.config.CloseTimeout)
	defer cancel()
	return p.client.Shutdown(ctx)
}
