package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// queue returns the publications that await their first transmission, in order, and their bytes.
func (r *senderRun) queue() (waiting []*pub, bytes int) {
	for _, p := range r.pubs {
		if p.waits() {
			m := message(p.qos, p.token)
			waiting, bytes = append(waiting, p), bytes+Cost(&m)
		}
	}
	return waiting, bytes
}

// room reports whether a message of some bytes may join a queue.
func (l QueueLimit) room(queue, bytes, message int) bool {
	switch {
	case queue >= l.Messages:
		return false
	case l.Bytes == 0:
		return true
	case l.Full == Block:
		return bytes < l.Bytes
	}
	return bytes+message <= l.Bytes
}

// checkRoom compares the bytes and the room of the queue with those of the model.
func (r *senderRun) checkRoom() {
	queue, bytes := r.queue()
	if r.limit.Bytes == 0 {
		bytes = 0
	}
	m := message(1, 1)
	m.Payload = make([]byte, r.rnd.IntN(400))
	want := r.limit.room(len(queue), bytes, Cost(&m))
	if fits := r.s.Fits(&m); r.s.QueuedBytes() != int64(bytes) || fits != want {
		r.fail("%d bytes are queued and %d fit: %v; want %d, %v", r.s.QueuedBytes(), Cost(&m), fits, bytes, want)
	}
}

// evict makes room for a message by ending the oldest publications that were not sent.
func (r *senderRun) evict() {
	m := frames.Message{Topic: "t", Payload: make([]byte, r.rnd.IntN(400))}
	queue, bytes := r.queue()
	var want []*pub
	possible := r.limit.Bytes == 0 || Cost(&m) <= r.limit.Bytes
	for i := 0; possible && !r.limit.room(len(queue)-len(want), bytes, Cost(&m)); i++ {
		if possible = i < len(queue); possible && !queue[i].earlier {
			first := message(0, queue[i].token)
			want, bytes = append(want, queue[i]), bytes-Cost(&first)
		}
	}
	r.logf("evict %d of %d for %d bytes", len(want), len(queue), Cost(&m))
	r.ends(slices.Clone(want), func(end func(Ended[int])) {
		if ok := r.s.Evict(&m, end); ok != possible {
			r.fail("room: %v, want %v", ok, possible)
		}
	})
}
