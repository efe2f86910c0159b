package stream

import (
	"log/slog"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Observer has functions that a session calls for its events. A nil function is not called. A slice
// has one or more events. The slice, and the payloads and properties in it, are valid only during
// the call: do not write to them, and clone the parts that you keep.
//
// The functions run on the goroutines of the session. They must return soon and must not wait for
// the session: a call that blocks stops publishing, keep alive and acks. Calls of Delivered may
// overlap, and so may calls of Warned; calls of each other function do not. The session holds no
// lock during a call, and recovers a panic. It logs the first panic at Error.
type Observer struct {
	// Published is called when publications have ended, just before their Receipts are passed on.
	// Those that an argument or ctx ends before the session has accepted or refused them are not
	// shown.
	Published func([]Published)

	// Delivered is called when messages were handed over to a consumer: sent to a channel, or
	// passed to a range loop. For All and AllBatches it runs on the goroutine of the range loop.
	Delivered func([]Delivered)

	// Acked is called when consumers have acknowledged or rejected QoS 1 and 2 deliveries of the
	// present connection. If a consumer is quick, it may see an ack before Delivered has seen the
	// message.
	Acked func([]Acked)

	// Attempt is called when a connection attempt has ended, but not by Close.
	Attempt func(Attempted)

	// Warned is called for each record that the session logs at Warn or above, at any level of
	// Options.Logger, and without a Logger too.
	Warned func(slog.Record)
}

// Published is a publication that has ended.
type Published struct {
	Receipt                // without the Tag of a request
	Accepted time.Time     // when the session accepted or refused the message; from a Store: when the session began
	Took     time.Duration // from Accepted to the end of the publication
}

// Delivered is a message that was handed over to a consumer.
type Delivered struct {
	frames.Message
	ID        uint16        // the packet identifier; 0 at QoS 0
	Duplicate bool          // the DUP flag
	Received  time.Time     // when the read that returned the message had ended; for a requeued message, when it was put back
	Waited    time.Duration // from Received to the hand-over
}

// Acked is a QoS 1 or 2 delivery that its consumer has acknowledged or rejected. Its ack is sent
// when all earlier deliveries are acknowledged too.
type Acked struct {
	Topic      string
	QoS        frames.QoS
	ID         uint16
	Code       frames.ReasonCode // Success, or the code of Reject
	HandedOver time.Time         // to the consumer
	Took       time.Duration     // from HandedOver to the ack; 0 for Messages and Latest, which ack each message at its hand-over
}

// Attempted is a connection attempt that has ended. An attempt tries the endpoints one after
// another.
type Attempted struct {
	Endpoint string         // of the new connection, without user, password and query; after a failure, of the last connection
	Version  frames.Version // of the new connection; 0 after a failure
	Resumed  bool           // the broker had the session
	Number   int            // 1 for the first attempt since the last connection
	Began    time.Time
	Took     time.Duration // from Began to CONNACK, or to the failure
	Err      error         // nil for a new connection; otherwise it names the endpoints and phases
}
