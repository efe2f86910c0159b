package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// restore loads the session that the Store holds into sender and receiver.
func restore(o *Options, sender *flow.Sender[owner], receiver *flow.Receiver, r *receipts, c *connection) error {
	if o.Store == nil {
		return nil
	}
	snap, err := o.Store.Attach(o.ClientID)
	if err != nil {
		return fmt.Errorf("mqtt: store: %w", err)
	}
	if !o.KeepSession {
		return discardSession(o, snap, r)
	}
	c.restored(snap)
	for _, p := range snap.Publications {
		err := p.Message.Validate(o.validatesFor())
		if p.GivenUp() || hasError[*VersionError](err) {
			err = nil // the connection decides
		}
		if err == nil && !sender.Restore(p, owner{ack: o.Ack, shift: 1}, untilDeadline(p, o.V5.Expiry)) {
			err = errors.New("its place, QoS or packet identifier cannot occur in an intact store")
		}
		if err != nil {
			err = fmt.Errorf("mqtt: store: publication %d with packet identifier %d: %w", p.Seq, p.ID, err)
			return errors.Join(err, o.Store.Detach())
		}
	}
	for _, id := range snap.Received {
		receiver.Restore(id)
	}
	return nil
}

// untilDeadline returns when a stored publication expires, on the clock of a session that begins
// now. A clock that was set back since does not lengthen the message expiry interval. The interval
// of a message without one is the fallback; 0 is unknown.
func untilDeadline(p flow.Publication, fallback time.Duration) time.Duration {
	if p.Deadline.IsZero() {
		return 0
	}
	left, interval := time.Until(p.Deadline), fallback
	if p.Message.Properties != nil && p.Message.Properties.Expiry > 0 {
		interval = p.Message.Properties.Expiry
	}
	if interval > 0 {
		left = min(left, interval)
	}
	return max(1, left)
}

// discardSession ends the session that the Store holds, since the client asks for a clean session
// [MQTT-3.1.2-6]. It sends a Receipt for each stored publication.
func discardSession(o *Options, snap flow.Snapshot, r *receipts) error {
	if snap.Empty() && snap.Session == nil {
		return nil
	}
	if err := o.Store.Commit([]flow.Change{{Kind: flow.Cleared}}); err != nil {
		return errors.Join(fmt.Errorf("mqtt: store: %w", err), o.Store.Detach())
	}
	if snap.Empty() {
		return nil
	}
	r.log.Warn("the Store held a session, which was discarded for a clean session",
		"publications", len(snap.Publications), "received", len(snap.Received))
	for _, p := range snap.Publications {
		if p.GivenUp() {
			continue // it has its Receipt
		}
		fate := notSent(errDiscarded)
		if p.ID != 0 {
			fate = unconfirmed(errDiscarded)
		}
		r.complete(&flow.Ended[owner]{Message: p.Message, ID: p.ID, Owner: owner{ack: o.Ack, shift: 1}}, fate)
	}
	return nil
}

var errDiscarded = errors.New("mqtt: a clean session discarded the stored one")
