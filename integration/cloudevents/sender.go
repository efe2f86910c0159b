package cloudeventsmqtt

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	cecontext "github.com/cloudevents/sdk-go/v2/context"
	"github.com/cloudevents/sdk-go/v2/protocol"

	"github.com/go-millrace/mqtt"
)

// Sender publishes events. It is a protocol.Sender.
type Sender struct {
	client mqtt.Publisher
	topic  string
	qos    mqtt.QoS
}

var _ protocol.Sender = (*Sender)(nil)

// NewSender returns a Sender that publishes to topic, unless the context of Send has another topic
// from cecontext.WithTopic. The client stays the caller's to close.
func NewSender(client mqtt.Publisher, topic string, qos mqtt.QoS) *Sender {
	return &Sender{client, topic, qos}
}

// Send publishes m and finishes it. It returns nil when the broker has acknowledged m; at QoS 0,
// when m has been written.
func (s *Sender) Send(ctx context.Context, m binding.Message, transformers ...binding.Transformer) (err error) {
	defer func() { err = errors.Join(err, m.Finish(err)) }()
	var p payload
	if _, err := binding.Write(ctx, m, &p, nil, transformers...); err != nil {
		return err
	}
	topic := s.topic
	if t := cecontext.TopicFrom(ctx); t != "" {
		topic = t
	}
	return s.client.Publish(ctx, mqtt.Message{Topic: topic, Payload: p, QoS: s.qos})
}

// payload is a binding.StructuredWriter.
type payload []byte

func (p *payload) SetStructuredEvent(_ context.Context, f format.Format, event io.Reader) (err error) {
	if f.MediaType() != format.JSON.MediaType() {
		return fmt.Errorf("cloudeventsmqtt: the format is %s, and MQTT 3.1.1 can name none but JSON", f.MediaType())
	}
	*p, err = io.ReadAll(event)
	return err
}
