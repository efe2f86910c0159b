// Package stream is the session: goroutines, connections and the channels
// between them and the user. Package mqtt, the face, passes its types and
// methods on; they are documented here in full: [Options], [Subscription],
// [Delivery], [Publishing], [Receipt], [State], [Stats].
//
// # Goroutines
//
// Each session has three, and two while it has nothing to write:
//
//   - The loop owns all protocol state (package flow). It is one select, and it
//     never waits for a user, the network or a disk.
//   - The reader makes connections when the loop asks for one, decodes all that
//     one read returned, and hands it to the loop as one batch.
//   - The writer commits a batch's changes to the Store, then writes its bytes in
//     one call. While it does, the loop fills the next batch. It ends with a
//     PINGRESP, and the next batch starts another: an idle session does not keep
//     its stack.
//
// Beside them there is one goroutine for each receive channel that was asked
// for, for each PublishFrom, and for each Ack channel that lags, while it lags.
//
// # Channels inside
//
//	channel              from -> to            closed by  bound
//	publishes, intakes   users -> loop         nobody     unbuffered; nil to the loop while the queue is full
//	calls                users -> loop         nobody     unbuffered
//	pokes                anyone -> loop        nobody     1: look at the settled list, at the inboxes, at the laggards
//	dials                loop -> reader        loop       1: the reader is idle when it is sent
//	events               reader -> loop        nobody     unbuffered; nil to the loop while reading pauses
//	batches, writes      loop -> writer -> loop  loop     1: there is one batch under way
//	closing              Close -> loop         Close
//	intakeEnds, ending, quit, done             loop       levels, in this order
//
// # Locks
//
// What consumers and the loop share has small locks of its own: the inboxes
// (boxes), the list of settled deliveries (settler), the board of the newest
// State. None is held across a channel operation that can wait, across a read
// or write, or across a call into code of the user.
package stream
