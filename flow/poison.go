package flow

import "time"

// A Poison finds the PUBLISH at which a broker closes every connection. A nil Poison suspects
// nothing.
//
// Invariant: closes is above 0 exactly while a publication is suspected. Then the broker closed the
// last closes connections on which the publication was sent, none of them brought an ack, and on
// all but the first of them it was the only publication. A connection that ended in another way, or
// before the publication was sent, is not counted and changes nothing.
type Poison struct {
	limit  int    // closes in a row, at least 2
	seq    uint64 // the suspected publication; 0: none
	closes int

	// Of the present connection.
	since time.Duration // when it began
	acked bool          // an ack has come
	sent  bool          // the suspected publication was sent
}

// NewPoison returns a Poison that allows fewer than limit closes in a row, nil if limit is 0.
func NewPoison(limit int) *Poison {
	if limit == 0 {
		return nil
	}
	return &Poison{limit: limit}
}

// Connected begins a connection at the time now.
func (p *Poison) Connected(now time.Duration) {
	if p != nil {
		p.since, p.acked, p.sent = now, false, false
	}
}

// Since returns when the connection began.
func (p *Poison) Since() time.Duration { return p.since }

// Alone returns the sequence number of the suspected publication: until its ack, no other
// publication may be sent on this connection. It returns false if none is suspected.
func (p *Poison) Alone() (seq uint64, ok bool) {
	if p == nil {
		return 0, false
	}
	return p.seq, p.closes > 0
}

// Sent records that the suspected publication was sent on this connection.
func (p *Poison) Sent() { p.sent = true }

// WasSent reports whether the suspected publication was sent on this connection.
func (p *Poison) WasSent() bool { return p.sent }

// Acked records a PUBACK, PUBREC or PUBCOMP, which shows that the broker goes on.
func (p *Poison) Acked() {
	if p != nil {
		p.acked = true
		p.Forget()
	}
}

// Forget ends the suspicion, since the publication has ended or the broker goes on.
func (p *Poison) Forget() { p.seq, p.closes = 0, 0 }

// Closed records that the broker closed the connection, on which seq is the oldest publication that
// was sent; 0 is none. It returns the number of closes in a row, 0 if this close does not count.
func (p *Poison) Closed(seq uint64) (closes int) {
	switch {
	case p.acked || seq == 0:
		return 0
	case seq != p.seq:
		p.seq, p.closes = seq, 0
	}
	p.closes++
	return p.closes
}

// Due returns the suspected publication if the broker has closed as often as allowed.
func (p *Poison) Due() (seq uint64, closes int, due bool) {
	if p == nil || p.closes < p.limit {
		return 0, 0, false
	}
	return p.seq, p.closes, true
}
