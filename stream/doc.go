// Package stream implements the session: its goroutines, its connections, and the channels to the
// user. Package mqtt is its documented face. The elements of channels are documented here:
// [Delivery], [Publishing], [Receipt], [State], [Stats].
//
// # Goroutines
//
// Each session has at most three goroutines. It has two while it has little to write, and one while
// it waits for the next attempt to connect:
//
//   - The loop owns all protocol state (package flow). It runs one select statement, and never
//     waits for a user, the network or a disk. The loop itself writes a small batch without Store
//     changes, as far as the socket accepts the bytes at once. While it sleeps with nothing to
//     send, a caller of Publish takes its place for one such write at QoS 0 (lonePath).
//   - The reader of a connection decodes all packets that one read returned, and passes them to the
//     loop as one batch. The goroutine of the dialer, which makes the connection, ends when the
//     reader starts.
//   - The writer commits the changes of a batch to the Store, then writes its bytes in one call.
//     While a commit takes long, packets that do not depend on it are written by a goroutine that
//     ends with the write. Meanwhile the loop fills the next batch. A PINGRESP, the sign of an idle
//     session, ends the writer, so that its stack is freed. The next batch that needs a writer
//     starts a new one.
//
// In addition there is one goroutine while the log handler runs, one while an Exchange of a
// re-authentication works, one for the replies to requests, and one for each receive channel in
// use, each PublishFrom, PublishBatches and Requests, and each Ack channel whose receiver lags
// behind. A channel of Merge counts as one for each of its Subscriptions, at the session of each.
//
// # Owners
//
// The loop passes values between owners. An owner is a struct in a file of its own, with its
// invariant above it: connection (the present connection to the broker, or the next attempt), terms
// (the parameters of that connection), outbox (bytes and Store changes to be written), intake
// (publications to be accepted), receipts (the results of publications), inboxes (deliveries not
// yet handed over), throttle (whether to read on), ending (how far the end of the session has
// come), clock. None of them knows the loop. ARCHITECTURE.md has the map.
//
// # Channels inside
//
//	channel           from -> to              closed by  bound
//	publishes, runs   users, stages -> loop   nobody     unbuffered; nil to the loop while the
//	                                                     queue is full
//	wakeups           anyone -> loop          nobody     1: look at the shared lists, and whether
//	                                                     Close was called
//	events            dialer, reader -> loop  nobody     unbuffered; nil to the loop while
//	                                                     reading pauses
//	jobs, answers     loop -> writer -> loop  loop 1 and 2: at most one batch and, among the
//	                                                     answers, one early write
//	ending, done                              loop       levels, in this order; made when somebody
//	                                                     waits
//
// # Locks
//
// Consumers and publishers share small lists with the loop, each with a lock of its own: the
// inboxes, the acknowledged deliveries (ackList), the calls of Publish (publishCalls), the
// commands, the newest State (stateFeed). No lock is held across a channel operation that can wait,
// a read, a write, or a call into code of the user. The token of lonePath, which a caller of
// Publish takes for one write that does not wait, is the only exception.
package stream
