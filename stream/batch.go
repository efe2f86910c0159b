package stream

import (
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// flush has the batch written, if the writer is free: changes always, bytes
// with a connection. What a failed batch left owed goes first and alone, under
// the number of that batch.
func (l *loop) flush() {
	if l.writing || l.now < l.commitAt || l.failed != nil && !l.over {
		return
	}
	if len(l.owed) > 0 {
		owed := l.owed
		l.owed = nil
		l.hand(batch{number: l.next.number - 1, buffers: buffers{changes: owed}})
		return
	}
	l.next.changes = l.journal.MoveTo(l.next.changes)
	if len(l.next.changes) == 0 && len(l.next.bytes) == 0 {
		return
	}
	if len(l.next.bytes) > 0 {
		l.next.conn = l.link.conn
		l.taken = l.next.number
		l.keep.sent(l.now)
		l.stats.Writes++
		l.stats.BytesOut += uint64(len(l.next.bytes))
	}
	full := l.next
	l.next = batch{number: full.number + 1, buffers: buffers{l.spare.changes[:0], l.spare.bytes[:0]}}
	l.spare = buffers{}
	l.hand(full)
}

// smallBatch is how much the loop itself may write. To pass a batch to the writer
// and to hear from it takes two changes of goroutine, mostly between cores, and
// with a window of 100 the broker waits for both: a fifth of the time. A larger
// batch is worth them, since the loop fills the next one meanwhile.
const smallBatch = 16 << 10

// hand has b written: at once, if it is small, asks nothing of the store and the
// socket takes all of it, otherwise by the writer, which is started if it rests.
func (l *loop) hand(b batch) {
	s := l.s
	l.inHand, l.writing = b, true
	if len(b.changes) == 0 && len(b.bytes) <= smallBatch {
		n := l.link.try(b.bytes)
		if n == len(b.bytes) {
			l.wrote(written{})
			return
		}
		b.bytes = b.bytes[n:]
	}
	l.rest = false
	if s.batches == nil {
		batches, writes := make(chan batch, 1), make(chan written, 1)
		s.batches, s.writes = batches, writes
		s.core.Go(func() { s.runWriter(batches, writes) })
	}
	s.batches <- b // cap 1, and the writer is idle
}

// restWriter ends a writer that has nothing to do for long: an idle session does
// not keep its stack and its channels.
func (l *loop) restWriter() {
	if l.rest && !l.writing {
		l.endWriter()
	}
}

func (l *loop) endWriter() {
	l.rest = false
	if l.s.batches != nil {
		close(l.s.batches)
		l.s.batches, l.s.writes = nil, nil
	}
}

// wrote takes the writer's answer.
func (l *loop) wrote(w written) {
	l.writing = false
	switch {
	case w.commit != nil:
		l.uncommitted(w.commit)
	case w.write != nil:
		l.commitErr = nil
		l.fail(w.write)
	case l.inHand.conn == nil:
		l.commitErr = nil
	default:
		l.commitErr = nil
		l.keep.sent(l.now)
		l.sender.Written(l.inHand.number, func(e flow.Ended[owner]) { l.ended(&e, nil) })
	}
	if w.commit == nil {
		l.synced(l.inHand.number, nil)
	}
	clear(l.inHand.changes)
	l.spare = l.inHand.buffers
	l.inHand = batch{}
	if cap(l.spare.bytes) > 4*batchBytes {
		l.spare.bytes = nil
	}
}

// uncommitted takes note that the store did not take the batch: nothing of it
// has happened. Its bytes go with the connection [MQTT-4.8.0-2]. What was
// accepted in it ends with the error rather than wait, half accepted, for a disk
// that may stay full; the store is owed the rest. When what is owed fails again,
// what was accepted meanwhile ends unoffered: else ever more would be owed.
func (l *loop) uncommitted(err error) {
	again := l.commitErr != nil
	l.taken = min(l.taken, l.inHand.number-1)
	l.commitErr, l.commitAt = err, l.now+time.Second
	l.log.Error("store", "error", err)
	l.fail(err)
	end := func(e flow.Ended[owner]) {
		e.ID = 0 // it never left
		l.ended(&e, notSent(err))
	}
	l.sender.Unstored(l.inHand.changes, end)
	if again {
		l.sender.Unoffered(end)
	}
	l.owed, l.inHand.changes = l.inHand.changes, nil
	l.synced(math.MaxUint64, err)
}
