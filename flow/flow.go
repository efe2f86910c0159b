// Package flow decides who may be in flight, and in what order. It holds the
// rules of QoS 1 and QoS 2 (MQTT 3.1.1, section 4.3) and of message ordering
// (section 4.6) as plain state: no goroutine, no channel, no lock, no clock.
// Time comes in as an argument, bytes never come in at all.
//
//   - [Identifiers] gives each PUBLISH, SUBSCRIBE and UNSUBSCRIBE a packet
//     identifier that nothing else in flight has.
//   - [Sender] keeps publications in the order in which they were accepted,
//     lets at most a window of them be outstanding, and knows for each one
//     what must be sent next: now, after an ack, after a reconnect.
//   - [Receiver] keeps what arrived in order of arrival, suppresses the second
//     copy of a QoS 2 message, and lets acks leave in order of arrival.
//   - [Retry] says how long to wait for an ack on a live connection.
//   - [Store] keeps a session beyond its connection; the state machines write
//     what must survive into a [Journal], and the session commits the journal
//     before the bytes that depend on it leave.
//
// A value of this package belongs to one goroutine at a time, [Store] excepted.
package flow
