package stream

import (
	"math"

	"github.com/go-millrace/mqtt/frames"
)

// A rejection is the reason why a consumer refuses a message.
type rejection struct {
	code   frames.ReasonCode
	reason string
}

// Reject refuses the delivery with a reason code and a reason string, which may be empty (MQTT 5,
// sections 3.4 and 3.5). It takes effect like Ack, in order of arrival, and the broker drops the
// message. To get the message again, leave it unacknowledged or use Requeue. Before MQTT 5, and at
// QoS 0, Reject is the same as Ack. When several Subscriptions have the message, the highest of
// their codes is sent after the last of them has answered.
//
// The codes are UnspecifiedError, ImplementationSpecificError, NotAuthorized, TopicNameInvalid,
// QuotaExceeded and PayloadFormatInvalid. Any other code is sent as UnspecifiedError. A reason
// string that the standard forbids is left out.
func (d Delivery) Reject(code frames.ReasonCode, reason string) {
	if d.seq != 0 {
		d.from.all.acks.reject(d.seq, d.turn, rejection{code, reason})
	}
}

// checked returns the code to send, and leaves out a reason that cannot be sent.
func (r *rejection) checked(log *packetLog) frames.ReasonCode {
	if frames.ValidString("reason string", r.reason) != nil || len(r.reason) > math.MaxUint16 {
		log.Warn("the reason of a rejected message is left out, since it is not valid", "code", r.code.Error())
		r.reason = ""
	}
	switch r.code {
	case frames.UnspecifiedError, frames.ImplementationSpecificError, frames.NotAuthorized,
		frames.TopicNameInvalid, frames.QuotaExceeded, frames.PayloadFormatInvalid:
		return r.code
	}
	log.Warn("PUBACK and PUBREC do not have this reason code; unspecified error is sent", "code", int(r.code))
	return frames.UnspecifiedError
}

// Reply returns a message for the response topic of the delivery, with its correlation data and QoS
// (MQTT 5, section 4.10), or false if the delivery asks for no response.
func (d Delivery) Reply(payload []byte) (m frames.Message, ok bool) {
	if d.Properties == nil || d.Properties.ResponseTopic == "" {
		return m, false
	}
	m = frames.Message{Topic: d.Properties.ResponseTopic, Payload: payload, QoS: d.QoS}
	if d.Properties.Correlation != nil {
		m.Properties = &frames.Properties{Correlation: d.Properties.Correlation}
	}
	return m, true
}
