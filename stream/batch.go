package stream

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// flush hands the batch to the writer, if it is free: changes always, bytes
// with a connection.
func (l *loop) flush() {
	if l.writing || l.now < l.commitAt || l.failed != nil && !l.over {
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
	l.inHand, l.writing = l.next, true
	l.startWriter()
	l.s.batches <- l.inHand // cap 1, and the writer is idle
	l.next = batch{number: l.inHand.number + 1, buffers: buffers{l.spare.changes[:0], l.spare.bytes[:0]}}
	l.spare = buffers{}
}

// startWriter sees to it that there is a writer.
func (l *loop) startWriter() {
	l.rest = false
	s := l.s
	if s.batches != nil {
		return
	}
	batches, writes := make(chan batch, 1), make(chan written, 1)
	s.batches, s.writes = batches, writes
	s.core.Go(func() { s.runWriter(batches, writes) })
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
		l.sender.Written(l.inHand.number, func(e flow.Ended[owner]) {
			l.receipt(e.Owner, Receipt{Message: e.Message})
		})
	}
	l.synced(l.inHand.number, w.commit)
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
// that may stay full; its other changes stay owed.
func (l *loop) uncommitted(err error) {
	l.taken = min(l.taken, l.inHand.number-1)
	l.commitErr, l.commitAt = err, l.now+time.Second
	l.log.Error("store", "error", err)
	l.fail(err)
	l.sender.Unstored(l.inHand.changes, func(e flow.Ended[owner]) {
		l.receipt(e.Owner, Receipt{Message: e.Message, Err: notSent(err)})
	})
	owed := slices.DeleteFunc(l.inHand.changes, func(c flow.Change) bool { return c.Kind == flow.Accepted })
	l.next.changes, l.inHand.changes = append(owed, l.next.changes...), nil
}
