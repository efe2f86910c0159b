package flow

import (
	"math"
	"time"

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

// Full is the fate of a new publication for which the queue has no room.
type Full byte

const (
	Block       Full = iota // it waits for room
	Refuse                  // it is refused
	EvictOldest             // the queued publications accepted first give way to it
)

// QueueLimit bounds the publications that await their first transmission. With Block they may be
// above Bytes by a part of the last one, since its size is unknown before it is received.
type QueueLimit struct {
	Messages int
	Bytes    int // counted with Cost; 0: not limited
	Full     Full
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

// A backlog counts the messages that await their first transmission, and limits them.
//
// Invariant: bytes is 0 if nothing waits, or if the limit has no bytes. expireAt is 0 exactly if
// expiring is, and otherwise at or before the first deadline.
type backlog struct {
	limit    QueueLimit
	messages int
	bytes    int64
	expiring int // messages that have a deadline
	expireAt time.Duration
}

// setLimit sets the limits of an empty backlog.
func (b *backlog) setLimit(l QueueLimit) { b.limit = l }

// waiting returns the number of messages.
func (b *backlog) waiting() int { return b.messages }

// waitingBytes returns the bytes of the messages, 0 if they are not limited.
func (b *backlog) waitingBytes() int64 { return b.bytes }

// room returns the room that is left.
func (b *backlog) room() Room {
	r := Room{messages: b.limit.Messages - b.messages, bytes: math.MaxInt64}
	if b.limit.Bytes > 0 {
		r.bytes, r.whole = int64(b.limit.Bytes)-b.bytes, b.limit.Full != Block
	}
	return r
}

// relaxed reports whether no more than half of the limits is in use.
func (b *backlog) relaxed() bool {
	return b.messages <= b.limit.Messages/2 && (b.limit.Bytes == 0 || b.bytes <= int64(b.limit.Bytes/2))
}

// tooLarge reports whether m alone is above the limit in bytes.
func (b *backlog) tooLarge(m *frames.Message) bool {
	return b.limit.Bytes > 0 && Cost(m) > b.limit.Bytes
}

// add counts messages that have the same deadline; 0 is none.
func (b *backlog) add(messages []frames.Message, until time.Duration) {
	b.messages += len(messages)
	if b.limit.Bytes > 0 || until != 0 {
		b.addLimited(messages, until)
	}
}

// subtract undoes add.
func (b *backlog) subtract(messages []frames.Message, until time.Duration) {
	b.messages -= len(messages)
	if b.limit.Bytes > 0 || until != 0 {
		b.subtractLimited(messages, until)
	}
}

func (b *backlog) addLimited(messages []frames.Message, until time.Duration) {
	if b.limit.Bytes > 0 {
		b.bytes += costs(messages)
	}
	if until != 0 {
		b.expiring += len(messages)
		b.expireBy(until)
	}
}

func (b *backlog) subtractLimited(messages []frames.Message, until time.Duration) {
	if b.messages == 0 {
		b.bytes = 0 // also if the user has changed properties meanwhile
	} else if b.limit.Bytes > 0 {
		b.bytes -= costs(messages)
	}
	if until == 0 {
		return
	}
	if b.expiring -= len(messages); b.expiring == 0 {
		b.expireAt = 0
	}
}

func costs(messages []frames.Message) (n int64) {
	for k := range messages {
		n += int64(Cost(&messages[k]))
	}
	return n
}

// expiresAt returns a time at or before the first deadline, 0 if there is none.
func (b *backlog) expiresAt() time.Duration { return b.expireAt }

// beginExpiry reports whether a deadline may have passed at the time now. If so, it forgets the
// first deadline, and the caller must call expireBy for every deadline after now.
func (b *backlog) beginExpiry(now time.Duration) bool {
	if b.expireAt == 0 || now < b.expireAt {
		return false
	}
	b.expireAt = 0
	return true
}

// expireBy records the deadline of a message.
func (b *backlog) expireBy(at time.Duration) {
	if b.expireAt == 0 || at < b.expireAt {
		b.expireAt = at
	}
}
