// Package stream is the session: goroutines, connections and the channels
// between them and the user. Package mqtt, the face, passes its types and
// methods on; they are documented here in full: [Options], [Subscription],
// [Delivery], [Publishing], [Receipt], [State], [Stats].
//
// # Goroutines
//
// Each session has three at most, and two while it has little to write (one, if it
// waits to connect):
//
//   - The loop owns all protocol state (package flow). It is one select, and it
//     never waits for a user, the network or a disk. A small batch that asks
//     nothing of the Store it writes itself, as far as the socket takes it at
//     once.
//   - The reader of a connection decodes all that one read returned, and hands it
//     to the loop as one batch. Before it there is the dialer, which makes the
//     connection and ends.
//   - The writer commits a batch's changes to the Store, then writes its bytes in
//     one call. While it does, the loop fills the next batch. It ends with a
//     PINGRESP, and the next batch that needs it starts another: an idle session
//     does not keep its stack.
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
//	events               dialer, reader -> loop  nobody   unbuffered; nil to the loop while reading pauses
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
