package stream

import (
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// usage is the number of bytes that waiting messages count with. QoS 0 messages are counted apart,
// since they are dropped when there are too many, while too many others make reading pause.
type usage struct {
	qos0   int
	unread int // of QoS 1 and 2
}

// add counts n more bytes, or fewer if n is negative, for messages of the level q.
func (u *usage) add(q frames.QoS, n int) {
	if q == frames.AtMostOnce {
		u.qos0 += n
	} else {
		u.unread += n
	}
}

// A tally counts waiting messages.
type tally struct {
	count int
	used  usage
}

// add counts a message of the level q that counts with n bytes.
func (t *tally) add(q frames.QoS, n int) {
	t.count++
	t.used.add(q, n)
}

// subtract reverses add for one message.
func (t *tally) subtract(q frames.QoS, n int) {
	t.count--
	t.used.add(q, -n)
}

func (u usage) total() int { return u.qos0 + u.unread }

// noUsage is never reached. As the answer of throttle.decide it means that no consumer has to wake
// the loop.
var noUsage = usage{-1, -1}

// reaches reports whether one of the two numbers has fallen to its mark.
func (u usage) reaches(mark usage) bool { return u.qos0 <= mark.qos0 || u.unread <= mark.unread }

func cost(d *Delivery) int { return flow.Cost(&d.Message) }
