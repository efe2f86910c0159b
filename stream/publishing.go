package stream

import "github.com/go-millrace/mqtt/frames"

// Publishing is a message on its way out, as it is sent to Publishes.
type Publishing struct {
	frames.Message
	Tag any            // returned in the Receipt
	Ack chan<- Receipt // takes the Receipt; nil is Options.Ack
}

// Receipt is the end of one publication. Err is nil when the QoS exchange is complete: QoS 0 was
// written, QoS 1 has its PUBACK, QoS 2 its PUBCOMP.
type Receipt struct {
	frames.Message
	Tag any
	ID  uint16 // the packet identifier; 0 when it never had one
	Err error
}
