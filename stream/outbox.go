package stream

import (
	"math"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// An outbox encodes packets, and holds the bytes and changes on their way to the connection and the
// Store: the batch being filled, the batch being written, and the changes of a failed commit.
//
// Invariant: at most one batch is being written. Its changes are committed before its bytes are
// written, except for packets that depend on no uncommitted change, which overtake a slow commit.
// The changes of a failed commit are committed again, alone and before any other batch.
type outbox struct {
	log          *packetLog
	terms        *terms // of the connection, only read
	conn         wire   // nil without a connection
	err          error  // a packet could not be encoded for the connection
	sent, resent uint64 // PUBLISH packets, and the number of them with DUP
	alone        packetCount

	journal     *flow.Journal // collects the changes of the next batch; nil if nothing outlives the client
	filling     batch
	current     batch // being written, if busy
	ackingBytes int32 // the part of filling.bytes that answers packets of the broker
	busy        bool
	idle        bool          // the writer may end
	quiet       bool          // no batch is passed on, since only AUTH may be sent
	early       earlyWrite    // busy only while a batch is being written
	began       time.Duration // when current became busy
	spare       buffers       // of the last batch, to be used again

	handed uint64        // the number of the last batch whose bytes were handed to the connection
	failed *failedCommit // nil if the last commit succeeded

	writer writer
	syncs  []syncCall

	properties *frames.Properties // of the message that is being encoded
	aliases    *outAliases        // nil if the broker takes no aliases
}

// A packetCount counts packets that were written alone.
type packetCount struct{ packets, bytes uint64 }

// A syncCall waits for the commit of a batch.
type syncCall struct {
	number uint64
	reply  chan<- error // cap 1
}

const (
	// batchBytes bounds the publications in a batch. Acks are added even to a full batch.
	batchBytes = 64 << 10

	// smallBatch is the size in bytes of the largest batch that the loop writes itself, if the
	// socket accepts all of it at once. Passing a batch to the writer and getting its answer takes
	// two switches between goroutines, mostly between cores. With a window of 100 the broker waits
	// for both switches, which costs a fifth of the time. A larger batch is worth the switches,
	// since the loop fills the next batch meanwhile.
	smallBatch = 16 << 10
)

func newOutbox(log *packetLog, store flow.Store, journal *flow.Journal) outbox {
	return outbox{log: log, journal: journal, filling: batch{number: 1}, writer: writer{store: store}}
}

// connected begins a connection.
func (o *outbox) connected(conn wire, t *terms) {
	o.conn, o.terms = conn, t
	if o.aliases = nil; t.server != nil {
		o.aliases = newOutAliases(min(int(t.aliases), t.server.TopicAliases))
	}
}

// disconnected ends a connection and drops the bytes that wait for it.
func (o *outbox) disconnected() {
	o.conn, o.err, o.quiet = nil, nil, false
	o.dropBytes()
}

// dropBytes drops the bytes that wait for the connection.
func (o *outbox) dropBytes() {
	o.filling.bytes, o.filling.examined, o.filling.ping, o.ackingBytes = o.filling.bytes[:0], 0, false, 0
}

// number returns the number of the batch being filled.
func (o *outbox) number() uint64 { return o.filling.number }

// full reports whether the batch being filled has no room for another publication.
func (o *outbox) full() bool { return len(o.filling.bytes) >= batchBytes }

// backlog returns how many bytes the batch being filled has.
func (o *outbox) backlog() int { return len(o.filling.bytes) }

// ackBytes returns how many bytes of the batch being filled answer packets of the broker.
func (o *outbox) ackBytes() int { return int(o.ackingBytes) }

// writing reports whether bytes are being written or wait to be written.
func (o *outbox) writing() bool {
	return o.early.busy || len(o.filling.bytes) > 0 || len(o.current.bytes) > 0
}

// sending reports whether bytes are on their way to the connection, or wait for the connection
// alone.
func (o *outbox) sending(now time.Duration) bool {
	if o.committing(now) == 0 {
		return o.writing()
	}
	return o.early.busy || o.current.ping || o.filling.ping // PINGREQ overtakes the commit
}

// empty reports whether nothing waits for the Store or the connection.
func (o *outbox) empty() bool {
	return !o.busy && len(o.filling.bytes) == 0 && !o.failed.waits() && o.journal.Len() == 0
}

// flush passes the batch being filled to the Store and the connection, unless another batch is
// being written. Without a connection the batch has only changes. flush returns how many bytes it
// passed on, and whether the batch is already written.
func (o *outbox) flush(now time.Duration) (bytes int, done bool) {
	switch {
	case o.quiet:
		return 0, false
	case o.busy:
		return o.overtake(now), false
	case now < o.retryAt():
		return 0, false
	}
	if o.failed.waits() {
		return 0, o.write(o.failed.again(), now)
	}
	o.filling.kinds, o.filling.examined = o.journal.Kinds(), 0
	o.filling.changes = o.journal.MoveTo(o.filling.changes)
	if len(o.filling.changes) == 0 && len(o.filling.bytes) == 0 {
		return 0, false
	}
	full := o.filling
	if bytes = len(full.bytes); bytes > 0 {
		o.handed = full.number
	}
	o.filling = batch{number: full.number + 1, buffers: buffers{o.spare.changes[:0], o.spare.bytes[:0]}}
	o.spare, o.ackingBytes = buffers{}, 0
	return bytes, o.write(full, now)
}

// disconnect writes a DISCONNECT with a reason code as the last packet of a connection, unless a
// batch is being committed or written. The packets that wait are not sent any more. It reports
// whether the write is under way.
func (o *outbox) disconnect(code frames.ReasonCode, now time.Duration) (writing bool) {
	if o.busy || o.early.busy {
		return false
	}
	if o.writeAlone(frames.Disconnect{Code: code}, now) {
		o.release()
	}
	return o.busy
}

// writeAlone writes a packet before those that wait. No batch is being written. It reports whether
// the packet is already written.
func (o *outbox) writeAlone(p frames.Packet, now time.Duration) (done bool) {
	bytes, err := p.Append(nil, o.terms.version)
	if err != nil {
		o.err = prefixed(err)
		return false
	}
	o.log.sentPacket(p, len(bytes))
	o.alone.packets++
	o.alone.bytes += uint64(len(bytes))
	return o.write(batch{number: o.handed, buffers: buffers{bytes: bytes}}, now)
}

// write tries to write b at once, if b is small and has no changes. It returns true if the
// connection accepted all bytes. Otherwise it passes b to the writer.
func (o *outbox) write(b batch, now time.Duration) (done bool) {
	o.current, o.busy, o.began = b, true, now
	if len(b.changes) == 0 && len(b.bytes) <= smallBatch {
		n := o.conn.TryWrite(b.bytes)
		if n == len(b.bytes) {
			return true
		}
		b.bytes = b.bytes[n:]
	}
	o.idle = false
	o.writer.write(job{b, o.conn}, now)
	return false
}

// committing returns how long a commit of the Store has been under way, 0 if there is none.
func (o *outbox) committing(now time.Duration) time.Duration {
	if !o.busy {
		return 0
	}
	return o.writer.gate.age(now)
}

// age returns how long the current batch has been on its way to the Store and the connection, 0 if
// there is none.
func (o *outbox) age(now time.Duration) time.Duration {
	if !o.busy {
		return 0
	}
	return now - o.began
}

// sentUpTo returns the number of the last batch whose packets the broker may have.
func (o *outbox) sentUpTo(now time.Duration) uint64 {
	if o.committing(now) > 0 {
		return min(o.handed, o.current.number-1)
	}
	return o.handed
}

// heldUp reports whether a commit of the Store, and not the connection, holds up a PINGREQ.
func (o *outbox) heldUp(now time.Duration) bool { return !o.early.busy && o.committing(now) > 0 }

// warnOfSlowCommit logs, once for each commit, that the Store takes longer than keep alive.
func (o *outbox) warnOfSlowCommit(now, keepAlive time.Duration) {
	if keepAlive == 0 {
		keepAlive = defaultKeepAlive
	}
	age := o.committing(now)
	if age < keepAlive || o.writer.gate.reported {
		return
	}
	o.writer.gate.reported = true
	o.log.Warn("a commit of the Store takes long; packets that depend on it wait", "for", age)
}

// answers returns the channel of the writer's answers, nil while there is no writer.
func (o *outbox) answers() <-chan written { return o.writer.answers }

// done records the result of a batch whose commit has not failed, or of an early write. It returns
// the number of the batch, and whether bytes and a PINGREQ were written.
func (o *outbox) done(w written) (number uint64, bytes, ping bool) {
	if w.early {
		ping = o.early.ping
		o.early = earlyWrite{}
		return 0, true, ping
	}
	ping = o.current.ping
	number, bytes = o.committed()
	return number, bytes, ping
}

// committed records that the current batch was committed, and written if it had bytes. It returns
// the number of the batch and whether the batch had bytes.
func (o *outbox) committed() (number uint64, hadBytes bool) {
	number, hadBytes = o.current.number, len(o.current.bytes) > 0
	if !o.failed.waits() { // otherwise this is a packet that was written alone
		o.failed = nil
	}
	o.answerSyncs(number, nil)
	o.release()
	return number, hadBytes
}

// uncommitted records that the commit of the current batch failed, so that its bytes were not
// written. A second later the outbox commits the changes that revise returns.
func (o *outbox) uncommitted(err error, now time.Duration, revise func([]flow.Change) []flow.Change) {
	number := o.current.number
	o.handed = min(o.handed, number-1)
	o.failed = &failedCommit{number, revise(o.current.changes), o.current.kinds, err, now + commitRetry}
	o.answerSyncs(math.MaxUint64, err)
	o.current.changes = nil
	o.release()
}

// release makes the buffers of the current batch the spare ones.
func (o *outbox) release() {
	clear(o.current.changes)
	o.spare = o.current.buffers
	o.current, o.busy = batch{}, false
	if cap(o.spare.bytes) > 4*batchBytes {
		o.spare.bytes = nil
	}
}

// sync sends a result to reply when the changes made so far are committed, or a commit fails.
func (o *outbox) sync(reply chan<- error) {
	switch {
	case o.journal.Len() > 0:
		o.syncs = append(o.syncs, syncCall{o.filling.number, reply})
	case o.failed.waits():
		o.syncs = append(o.syncs, syncCall{o.failed.number, reply})
	case o.busy && len(o.current.changes) > 0:
		o.syncs = append(o.syncs, syncCall{o.current.number, reply})
	default:
		reply <- nil
	}
}

// dropSync forgets a call of Sync whose caller has stopped waiting.
func (o *outbox) dropSync(reply chan<- error) {
	o.syncs = slices.DeleteFunc(o.syncs, func(c syncCall) bool { return c.reply == reply })
}

// answerSyncs sends err to the calls of Sync that wait for a batch with a number up to number.
func (o *outbox) answerSyncs(number uint64, err error) {
	done := 0
	for done < len(o.syncs) && o.syncs[done].number <= number {
		o.syncs[done].reply <- err
		done++
	}
	o.syncs = slices.Delete(o.syncs, 0, done)
}

// shrink frees the memory of an idle session. The writer ends after its next answer.
func (o *outbox) shrink(unused bool) {
	if unused {
		o.spare = buffers{}
	}
	o.idle = true
}

// rest ends the writer if nothing was written since shrink.
func (o *outbox) rest() {
	if o.idle && !o.busy {
		o.idle = false
		o.writer.rest()
	}
}

// end stops the writer and returns when its goroutine is gone. No answer of the writer may be
// outstanding.
func (o *outbox) end() {
	o.writer.rest()
	o.writer.running.Wait()
}
