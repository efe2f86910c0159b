package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// Run is messages of QoS 0 that AddRun took, or a part of them. The nil Run stands
// for a single message.
type Run struct {
	Messages []frames.Message
	From     int // how many of those that AddRun took are before them
}

// Len returns how many messages there are.
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

// MinRun is how many messages are worth a row.
const MinRun = 16

// AddRun accepts messages of QoS 0, of which nothing has to be kept one by one, as a
// single entry: they are in line, on their way and at their end together, in as few
// parts as batches make of them. The Sender keeps the slice: none of the messages
// must change before it has ended or was withdrawn.
func (s *Sender[T]) AddRun(messages []frames.Message, owner T) {
	if len(messages) == 0 {
		return
	}
	i := s.allocSlot()
	e := &s.entries[i]
	e.run, e.owner, e.seq = &Run{Messages: messages}, owner, s.seq+1
	s.enqueue(i)
	s.seq += uint64(len(messages))
	s.queued += len(messages)
	s.runExtra += len(messages) - 1
}

// AtRun reports whether a row is to be transmitted next: by NextRun, not by Next.
func (s *Sender[T]) AtRun() bool { return s.cursor != 0 && s.entries[s.cursor].run != nil }

// NextRun is Next when AtRun, for as much of the row as put takes, which returns
// false with the last.
func (s *Sender[T]) NextRun(batch uint64, put func(*frames.Message) bool) {
	messages, n := s.entries[s.cursor].run.Messages, 0
	for more := true; more && n < len(messages); n++ {
		more = put(&messages[n])
	}
	s.transmitQoS0(s.split(s.cursor, n), batch)
}

// split takes the first n messages out of the row that is next, into a slot of their
// own unless they are all.
func (s *Sender[T]) split(i int32, n int) int32 {
	if n == s.entries[i].run.Len() {
		return i
	}
	part := s.allocSlot() // may move the entries
	e, p := &s.entries[i], &s.entries[part]
	run := e.run
	*p = *e
	p.run = &Run{run.Messages[:n], run.From}
	run.Messages, run.From = run.Messages[n:], run.From+n
	e.seq += uint64(n)
	s.publications.InsertBefore(s.links, part, i)
	s.cursor = part
	s.runExtra--
	return part
}

// launch takes QoS 0 out of the line as part of batch.
func (s *Sender[T]) transmitQoS0(i int32, batch uint64) {
	e := &s.entries[i]
	s.cursor = s.links[i].Next
	s.publications.Remove(s.links, i)
	s.unwritten.PushBack(s.links, i)
	s.queued -= e.run.Len()
	e.state, e.batch = published, batch
}
