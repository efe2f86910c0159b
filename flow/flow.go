// Package flow implements the delivery rules of QoS 1 and QoS 2 (MQTT 3.1.1, section 4.3) and of
// message ordering (section 4.6) as plain state, without goroutines, channels, locks or clocks. The
// caller passes the time as an argument and does all I/O.
//
//   - [Identifiers] assigns each PUBLISH, SUBSCRIBE and UNSUBSCRIBE a packet identifier that no
//     other packet in flight uses.
//   - [Sender] keeps publications in order of acceptance, limits how many are outstanding, and
//     decides which packet to send: a first transmission, the PUBREL that answers a PUBREC, or a
//     retransmission after a reconnect.
//   - [Receiver] keeps inbound messages in order of arrival, suppresses duplicates of QoS 2
//     messages, and releases acks in order of arrival.
//   - [Subscriptions] keeps the topic filters that each owner wants, finds the owners for a topic
//     with [Routes], and returns the SUBSCRIBE and UNSUBSCRIBE packets that are due.
//   - [KeepAlive] decides when PINGREQ is due and when a connection is dead; [Backoff] decides when
//     to connect again.
//   - [Retry] computes how long to wait for an ack on a live connection.
//   - [Store] keeps a session after its connection has ended. Sender and Receiver write each change
//     that must survive into a [Journal]; the session commits the journal before it sends the
//     packets that depend on it.
//
// A value of this package belongs to one goroutine at a time, except a [Store].
package flow
