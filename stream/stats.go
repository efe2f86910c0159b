package stream

// Stats are counters since the session began and gauges of the moment.
type Stats struct {
	// Counters.
	Sent         uint64 // PUBLISH packets put on their way, those sent again included
	Acknowledged uint64 // QoS 1 and 2 publications whose exchange was completed
	Received     uint64 // PUBLISH packets received, second copies included
	Dropped      uint64 // QoS 0 messages dropped for lack of room (ReceiveBytes)
	Discarded    uint64 // messages acknowledged and dropped because nobody claims them
	BytesIn      uint64 // on the wire, after CONNECT and CONNACK
	BytesOut     uint64
	Writes       uint64 // batches handed to the connection
	Reads        uint64 // batches that the connection delivered
	Connections  uint64 // established

	// Gauges.
	Queued       int  // publications accepted and not yet sent
	InFlight     int  // QoS 1 and 2 publications that await their ack
	Receipts     int  // Receipts that their channels have not taken
	Unacked      int  // QoS 1 and 2 deliveries of this connection whose ack has not left
	Inbox        int  // messages received and not handed over
	InboxBytes   int  // their share of ReceiveBytes
	Unclaimed    int  // messages in Inbox that no Subscription claims
	Paused       bool // reading waits for consumers
	Subscribed   int  // Subscriptions granted or asked for
	Online       bool
	StoreFailing bool // the last commit to the Store failed; it is tried again
}

// counters are the counters of Stats that the loop keeps. The outbox and the inboxes keep the
// others.
type counters struct {
	acknowledged, received, discarded uint64
	bytesIn, bytesOut                 uint64
	writes, reads, connections        uint64
}

// stats returns Stats with these counters.
func (c *counters) stats() Stats {
	return Stats{
		Acknowledged: c.acknowledged, Received: c.received, Discarded: c.discarded,
		BytesIn: c.bytesIn, BytesOut: c.bytesOut,
		Writes: c.writes, Reads: c.reads, Connections: c.connections,
	}
}
