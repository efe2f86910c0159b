package watermillmqtt

import (
	"encoding/json"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/go-millrace/mqtt"
)

// An envelope carries a Watermill message as JSON in the payload of an MQTT message, because MQTT
// 3.1.1 has no properties for its UUID and its metadata. The payload is in base64, as any bytes are
// in JSON.
type envelope struct {
	UUID     string           `json:"uuid"`
	Metadata message.Metadata `json:"metadata,omitempty"`
	Payload  []byte           `json:"payload"`
}

// seal returns the payload of the MQTT message for m.
func seal(m *message.Message) ([]byte, error) {
	return json.Marshal(envelope{m.UUID, m.Metadata, m.Payload})
}

// open returns a new Watermill message from the payload of m. A message can be acked or nacked
// once, so each try to process m needs a new one.
func open(m mqtt.Message) (*message.Message, error) {
	e, err := mqtt.JSON[envelope](m)
	if err != nil {
		return nil, err
	}
	if e.UUID == "" {
		return nil, errors.New("the envelope has no uuid")
	}
	opened := message.NewMessage(e.UUID, e.Payload)
	for key, value := range e.Metadata {
		opened.Metadata.Set(key, value)
	}
	return opened, nil
}
