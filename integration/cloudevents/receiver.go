package cloudeventsmqtt

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/protocol"

	"github.com/go-millrace/mqtt"
)

// Receiver receives the events of a Subscription. It is a protocol.Receiver.
type Receiver struct {
	sub      *mqtt.Subscription
	again    time.Duration
	reported sync.Once // the reason why sub has ended
}

var _ protocol.Receiver = (*Receiver)(nil)

// NewReceiver returns a Receiver. An event is acknowledged when its message is finished. If it is
// finished with an error, it comes again after the given time. An event that no one can read would
// come again for ever: use client.WithAckMalformedEvent. Client and Subscription stay the caller's
// to close.
func NewReceiver(sub *mqtt.Subscription, again time.Duration) *Receiver {
	return &Receiver{sub: sub, again: again}
}

// Receive waits for the next event. It returns io.EOF when ctx or the Subscription has ended. If
// the Subscription has failed, the first call returns the reason, and only the first, because the
// client of the SDK calls Receive again after each error but io.EOF.
func (r *Receiver) Receive(ctx context.Context) (binding.Message, error) {
	select {
	case d, ok := <-r.sub.Deliveries():
		if ok {
			return &message{d, r.again}, nil
		}
	case <-ctx.Done():
		return nil, io.EOF
	}
	err := io.EOF
	r.reported.Do(func() {
		if reason := r.sub.Err(); reason != nil {
			err = reason
		}
	})
	return nil, err
}

// message is an event in structured mode.
type message struct {
	delivery mqtt.Delivery
	again    time.Duration
}

func (m *message) ReadEncoding() binding.Encoding { return binding.EncodingStructured }

func (m *message) ReadStructured(ctx context.Context, w binding.StructuredWriter) error {
	return w.SetStructuredEvent(ctx, format.JSON, bytes.NewReader(m.delivery.Payload))
}

func (m *message) ReadBinary(context.Context, binding.BinaryWriter) error {
	return binding.ErrNotBinary
}

// Finish acknowledges the event, or puts it back when err says that it was not processed.
func (m *message) Finish(err error) error {
	if protocol.IsACK(err) {
		m.delivery.Ack()
	} else {
		m.delivery.Requeue(m.again)
	}
	return nil
}
