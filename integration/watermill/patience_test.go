package watermillmqtt_test

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// reconnectMessages is how many messages TestReconnect publishes.
const reconnectMessages = 10_000

// patience stands between TestReconnect and the adapter. That test compares the messages that it
// has received with those whose Publish has returned, as soon as it has received the last one. A
// message is often received before the PUBACK for its publisher arrives, so the test would miss a
// message that it has published. patience holds the last message back until each Publish has
// returned, and for a moment more, in which the test takes note of it.
type patience struct {
	mu        sync.Mutex
	published int
	all       chan struct{} // closed when every Publish has returned
}

func newPatience() *patience { return &patience{all: make(chan struct{})} }

type patientPublisher struct {
	message.Publisher
	*patience
}

func (p patientPublisher) Publish(topic string, messages ...*message.Message) error {
	err := p.Publisher.Publish(topic, messages...)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.published += len(messages); p.published == reconnectMessages {
		close(p.all)
	}
	return nil
}

type patientSubscriber struct {
	message.Subscriber
	*patience
}

func (s patientSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		seen := make(map[string]bool)
		for m := range in {
			if seen[m.UUID] = true; len(seen) == reconnectMessages {
				<-s.all
				time.Sleep(time.Second)
			}
			select {
			case out <- m:
			case <-m.Context().Done():
			}
		}
	}()
	return out, nil
}
