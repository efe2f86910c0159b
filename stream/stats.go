package stream

import "time"

// Stats are the counters of a session since it began, and the present values of its gauges.
type Stats struct {
	// Counters.
	Sent         uint64 // PUBLISH packets encoded to be sent, retransmissions included
	Acknowledged uint64 // QoS 1 and 2 publications whose exchange was completed
	Received     uint64 // PUBLISH packets received, second copies included
	Dropped      uint64 // QoS 0 messages dropped for lack of room (ReceiveBytes)
	Discarded    uint64 // messages acknowledged and dropped: unclaimed, by Unsubscribe, or by the end of Latest
	Superseded   uint64 // messages acknowledged and dropped by Latest for newer ones
	TooLarge     uint64 // PUBLISH packets above MaxPacket, acknowledged and dropped; on MQTT 5 they end the connection
	GivenUp      uint64 // publications given up because the broker closed every connection at them (GiveUp)
	Surplus      uint64 // messages that the broker sent in excess of ReceiveMaximum (MQTT 5)
	NotQueued    uint64 // publications refused because the queue was full (Full)
	Evicted      uint64 // queued publications that gave way to newer ones (Full)
	LateReplies  uint64 // replies for which no request waits; they are acknowledged
	Unreported   uint64 // failed publications without an Ack channel, or without a receiver after the end of PublishFrom
	BytesIn      uint64 // bytes of MQTT packets received, without CONNACK
	BytesOut     uint64 // bytes of MQTT packets sent, without CONNECT
	Writes       uint64 // batches handed to the connection
	Reads        uint64 // batches received from the connection
	Connections  uint64 // connections established
	Attempts     uint64 // connection attempts begun
	Lost         uint64 // connections lost; a connection that the end of the session closes does not count
	Resent       uint64 // the part of Sent with the DUP flag (section 3.3.1.1)
	NotSent      uint64 // publications that ended with ErrNotSent, but not before the session had accepted or refused them
	Unconfirmed  uint64 // publications that ended with ErrUnconfirmed
	Failed       uint64 // publications that ended with any other error: ErrRefused, ErrKept, DowngradedError
	HandedOver   uint64 // messages sent to a channel or passed to a range loop; All counts up to 63 of them later
	Requeued     uint64 // calls of Requeue that had an effect
	Commits      uint64 // commits of the Store that succeeded

	// Gauges.
	Queued         int           // publications accepted and not yet sent
	QueuedBytes    int           // their bytes, counted as for QueueBytes; 0 without QueueBytes
	OldestQueued   time.Duration // how long ago the oldest of them was accepted
	InFlight       int           // QoS 1 and 2 publications that await their ack
	OldestInFlight time.Duration // how long ago the oldest of them was accepted
	Window         int           // how many may await it on the last connection: the lower of Options.Window and Receive Maximum
	Receipts       int           // Receipts that wait for room in their channels
	Unacked        int           // QoS 1 and 2 deliveries of this connection whose ack was not yet sent
	OldestUnacked  time.Duration // the age of the oldest of them, which holds back the acks of the others
	Inbox          int           // messages received and not yet handed over
	InboxBytes     int           // their bytes, counted as for ReceiveBytes
	UnreadBytes    int           // the part of InboxBytes that is QoS 1 and 2, bounded by MaxUnread; without Latest
	InboxMemory    int           // InboxBytes, and the rest of the read buffers that the messages keep in memory
	Unclaimed      int           // messages in Inbox that no Subscription claims
	Paused         bool          // reading waits for consumers
	PausedFor      time.Duration // how long it has waited
	Behind         bool          // calls end with ErrBehind, since nothing was read for a second
	Subscribed     int           // Subscriptions granted or asked for
	Online         bool
	StoreWaiting   time.Duration // how long a commit to the Store has been under way
	StoreFailing   bool          // the last commit to the Store failed and will be repeated
}

// counters are the counters of Stats that the loop keeps. The outbox and the inboxes keep the
// others.
type counters struct {
	acknowledged, received     uint64
	tooLarge, discarded        uint64
	bytesIn, bytesOut          uint64
	writes, reads, connections uint64
	attempts, lost, requeued   uint64
	commits                    uint64
}

// stats returns Stats with these counters.
func (c *counters) stats() Stats {
	return Stats{
		Acknowledged: c.acknowledged, Received: c.received, TooLarge: c.tooLarge, Discarded: c.discarded,
		BytesIn: c.bytesIn, BytesOut: c.bytesOut,
		Writes: c.writes, Reads: c.reads, Connections: c.connections,
		Attempts: c.attempts, Lost: c.lost, Requeued: c.requeued, Commits: c.commits,
	}
}

// packets returns how many PUBLISH packets were sent and received, or wait to be sent.
func (c *counters) packets(sent uint64, wait int) uint64 { return sent + c.received + uint64(wait) }
