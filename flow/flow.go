// Package flow implements the delivery rules of QoS 1 and QoS 2 (MQTT 3.1.1, section 4.3) and of
// message ordering (section 4.6) as plain state: no goroutine, no channel, no lock, no clock. The
// caller passes the time as an argument and does all I/O.
//
//   - [Identifiers] assigns each PUBLISH, SUBSCRIBE and UNSUBSCRIBE a packet identifier that
//     nothing else in flight has.
//   - [Sender] keeps publications in order of acceptance, limits how many are outstanding, and
//     returns the next packet of each: the first transmission, the answer to an ack, the
//     retransmission after a reconnect.
//   - [Receiver] keeps inbound messages in order of arrival, suppresses the duplicate of a QoS 2
//     message, and releases acks in order of arrival.
//   - [Subscriptions] keeps the topic filters that are wanted, finds their owners by [Routes], and
//     returns the SUBSCRIBE and UNSUBSCRIBE packets that are due.
//   - [KeepAlive] decides when PINGREQ is due and when a broker is dead; [Backoff] when to connect
//     again.
//   - [Retry] computes how long to wait for an ack on a live connection.
//   - [Store] keeps a session beyond its connection. Sender and Receiver write each change that
//     must survive into a [Journal]; the session commits the journal before it sends the packets
//     that depend on it.
//
// A value of this package belongs to one goroutine at a time, except a [Store].
package flow
