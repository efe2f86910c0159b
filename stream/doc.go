// Package stream is the session: goroutines, connections and the channels between them and the
// user. Package mqtt, the face, passes its types and methods on; they are documented here in full:
// [Options], [Subscription], [Delivery], [Publishing], [Receipt], [State], [Stats].
//
// # Goroutines
//
// Each session has three at most, two while it has little to write, and one while it waits to
// connect:
//
//   - The loop owns all protocol state (package flow). It is one select, and it never waits for a
//     user, the network or a disk. It writes a small batch without Store changes itself, as far as
//     the socket accepts it at once.
//   - The reader of a connection decodes all packets that one read returned, and passes them to the
//     loop as one batch. Before it runs the dialer, which makes the connection and ends.
//   - The writer commits the changes of a batch to the Store, then writes its bytes in one call.
//     Meanwhile the loop fills the next batch. It ends with a PINGRESP, and the next batch that
//     needs it starts another: an idle session does not keep its stack.
//
// Beside them there is one goroutine for each receive channel in use, for each PublishFrom, and for
// each Ack channel while it lags.
//
// # Owners
//
// The loop passes values between owners, each a struct of its own file with its invariant above it:
// connection (the way to the broker), terms (the values that it agreed on), outbox (bytes and Store
// changes on their way), intake (publications to be accepted), receipts (their ends), inboxes
// (deliveries not yet handed over), throttle (whether to read on), ending (how far the session is
// on its way to the end), clock. None of them knows the loop. ARCHITECTURE.md has the map.
//
// # Channels inside
//
//	channel           from -> to              closed by  bound
//	publishes, runs   users, stages -> loop   nobody     unbuffered; nil to the loop while the
//	                                                     queue is full
//	commands          users -> loop           nobody     unbuffered
//	wakeups           anyone -> loop          nobody     1: look at the shared lists
//	events            dialer, reader -> loop  nobody     unbuffered; nil to the loop while
//	                                                     reading pauses
//	batches, answers  loop -> writer -> loop  loop       1: there is one batch under way
//	closing           Close -> loop           Close      a level
//	intakeEnds, ending, quit, done            loop       levels, in this order
//
// # Locks
//
// Consumers and publishers share small lists with the loop, each with a lock of its own: the
// inboxes, the acknowledged deliveries (ackList), the calls of Publish (publishCalls), the newest
// State (stateFeed). No lock is held across a channel operation that can wait, a read, a write, or
// a call into code of the user.
package stream
