package flow

import (
	"math"

	"github.com/go-millrace/mqtt/frames"
)

// Overhead is the number of bytes that Cost adds to the topic, payload and properties of a message.
const Overhead = 128

// Cost returns the bytes that a waiting message counts for, such as in QueueLimit.Bytes.
func Cost(m *frames.Message) int {
	n := len(m.Payload) + len(m.Topic) + Overhead
	if m.Properties != nil {
		n += frames.PropertiesMemory(m.Properties)
	}
	return n
}

// Room is the room that is left in a queue.
type Room struct {
	messages int
	bytes    int64 // math.MaxInt64: not limited
	whole    bool  // a message must fit completely; false with Block
}

// Left reports whether there is room for a message of some size.
func (r Room) Left() bool { return r.messages > 0 && r.bytes > 0 }

// Take reports whether there is room for m, and subtracts the room that m takes.
func (r *Room) Take(m *frames.Message) bool {
	if r.messages > 0 && (r.bytes == math.MaxInt64 || r.takeBytes(m)) {
		r.messages--
		return true
	}
	return false
}

func (r *Room) takeBytes(m *frames.Message) bool {
	left := r.bytes - int64(Cost(m))
	if r.bytes <= 0 || r.whole && left < 0 {
		return false
	}
	r.bytes = left
	return true
}
