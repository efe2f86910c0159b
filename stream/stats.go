package stream

// Stats are counters since the session began and gauges of the moment.
type Stats struct {
	// Counters.
	Sent         uint64 // PUBLISH packets put on their way, those sent again included
	Acknowledged uint64 // QoS 1 and 2 publications whose exchange was completed
	Received     uint64 // PUBLISH packets received, second copies included
	Dropped      uint64 // QoS 0 messages that went for want of room (ReceiveBytes)
	Discarded    uint64 // messages acknowledged and dropped since nobody claims them
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
	InboxBytes   int  // what they cost of ReceiveBytes
	Unclaimed    int  // those of them that no Subscription claims
	Paused       bool // reading waits for consumers
	Subscribed   int  // Subscriptions in force or asked for
	Online       bool
	StoreFailing bool // the last commit to the Store failed; it is tried again
}

// Stats returns what the session counts. After its end it returns the last.
func (s *Session) Stats() Stats {
	var st Stats
	if !s.call(func(l *loop) { st = l.snapshot() }) {
		<-s.done
		return *s.last
	}
	return st
}

func (l *loop) snapshot() Stats {
	st := l.stats
	st.Queued = l.sender.Queued() + len(l.waiting.row)
	st.InFlight = l.sender.InFlight()
	st.Receipts = int(l.s.takers.waiting.Load())
	st.Unacked = l.receiver.Unacked()
	st.Paused = l.paused
	st.Subscribed = len(l.subs.desired)
	st.Online = l.online
	st.StoreFailing = l.commitErr != nil
	b := l.s.boxes
	b.mu.Lock()
	defer b.mu.Unlock()
	st.Dropped = b.dropped
	st.Inbox, st.InboxBytes, st.Unclaimed = b.count, b.bytes, l.s.unclaimed.count
	return st
}
