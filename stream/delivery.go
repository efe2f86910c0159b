package stream

import "github.com/go-millrace/mqtt/frames"

// Delivery is a message that its consumer must acknowledge. The payload may share memory with other
// consumers and with other messages of the same read. Do not write to the payload. To keep a
// message for long, keep its Message.Clone.
type Delivery struct {
	frames.Message
	turn      uint8  // how often it was requeued
	Duplicate bool   // the DUP flag: the broker may have sent the message before
	ID        uint16 // the packet identifier; 0 at QoS 0

	order uint32 // of arrival in the session; see arrivedBefore
	seq   uint64 // the number of the delivery in flow.Receiver; 0 if no ack is expected
	from  *inbox // the inbox that held the message last
}

// Ack acknowledges the delivery, so that the broker may forget the message. It can be called from
// any goroutine, in any order, more than once, and after the connection or the client is gone. Acks
// are sent in the order in which the messages arrived, so one delivery that is never acknowledged
// withholds the acks of all later deliveries.
func (d Delivery) Ack() {
	if d.seq != 0 {
		d.from.all.acks.add(d.seq, d.turn)
	}
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
		d.from.all.acks.reject(d.seq, d.turn, code, reason)
	}
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

// arrivedBefore reports whether d arrived before e. Numbers wrap around after 4 billion messages,
// so the two must not be more than half of that apart.
func (d *Delivery) arrivedBefore(e *Delivery) bool { return int32(d.order-e.order) < 0 }

// Reply is the result of a request of Requests: the reply, or the reason why there is none. A reply
// is acknowledged already.
type Reply struct {
	Delivery     // empty if Err is set
	Tag      any // of the Publishing
	Err      error
}
