package flow

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Run is a series of QoS 0 messages accepted by one AddRun, or a part of such a series. A nil Run
// represents a single message.
type Run struct {
	Messages []frames.Message
	From     int // the index of Messages[0] in the slice passed to AddRun
}

// Len returns the number of messages.
func (r *Run) Len() int {
	if r == nil {
		return 1
	}
	return len(r.Messages)
}

// clone copies the messages with their payloads.
func (r *Run) clone() *Run {
	if r == nil {
		return nil
	}
	c := &Run{slices.Clone(r.Messages), r.From}
	for i := range c.Messages {
		c.Messages[i] = c.Messages[i].Clone()
	}
	return c
}

// MinRun is the smallest number of messages for which a run is cheaper than single publications.
const MinRun = 16

// AddRun accepts QoS 0 messages at the time now as a single entry, since none of them needs state
// of its own. The messages are queued, sent and ended together; a run is split only where a batch
// ends. The Sender keeps the slice, so the caller must not change a message until it has ended or
// was withdrawn.
func (s *Sender[T]) AddRun(messages []frames.Message, owner T, now time.Duration) {
	if len(messages) == 0 {
		return
	}
	i := s.allocSlot()
	e := &s.entries[i]
	e.run, e.owner, e.seq, e.at = &Run{Messages: messages}, owner, s.seq+1, now
	s.enqueue(i)
	s.seq += uint64(len(messages))
	s.queue(e)
	s.runExtra += len(messages) - 1
}

// AtRun reports whether the next publication is a run, to be sent by NextRun instead of Next.
func (s *Sender[T]) AtRun() bool { return s.cursor != 0 && s.entries[s.cursor].run != nil }

// NextRun passes the messages of the next run to put and records that they are in batch. It stops
// before the message for which put returns false for ok, and after the one for which put returns
// false for more. The first message must be ok. Call NextRun only if AtRun returns true.
func (s *Sender[T]) NextRun(batch uint64, put func(*frames.Message) (ok, more bool)) {
	messages, n := s.entries[s.cursor].run.Messages, 0
	for more := true; more && n < len(messages); n++ {
		var ok bool
		if ok, more = put(&messages[n]); !ok {
			break
		}
	}
	s.transmitQoS0(s.split(s.cursor, n), batch)
}

// split moves the first n messages of the run in slot i into a new slot and returns that slot, for
// the caller to take it out of the queue. If the run has only n messages, split returns i.
func (s *Sender[T]) split(i int32, n int) int32 {
	if n == s.entries[i].run.Len() {
		return i
	}
	part := s.allocSlot() // may reallocate s.entries
	e, p := &s.entries[i], &s.entries[part]
	run := e.run
	*p = *e
	p.run = &Run{run.Messages[:n], run.From}
	run.Messages, run.From = run.Messages[n:], run.From+n
	e.seq += uint64(n)
	s.publications.InsertBefore(s.links, part, i)
	if s.cursor == i {
		s.cursor = part
	}
	s.runExtra--
	return part
}

// transmitQoS0 moves QoS 0 messages from publications to unwritten, as part of batch.
func (s *Sender[T]) transmitQoS0(i int32, batch uint64) {
	e := &s.entries[i]
	s.leave(i)
	s.unwritten.PushBack(s.links, i)
	s.dequeue(e)
	e.state, e.batch = published, batch
}
