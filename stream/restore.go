package stream

import (
	"errors"
	"fmt"

	"github.com/go-millrace/mqtt/flow"
)

// restore loads the session that the Store holds into sender and receiver.
func restore(o *Options, sender *flow.Sender[owner], receiver *flow.Receiver, r *receipts) error {
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
	for _, p := range snap.Publications {
		err := p.Message.Validate(o.Version)
		if err == nil && !sender.Restore(p, owner{ack: o.Ack}) {
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

// discardSession ends the session that the Store holds, since the client asks for a clean session
// [MQTT-3.1.2-6]. It sends a Receipt for each stored publication.
func discardSession(o *Options, snap flow.Snapshot, r *receipts) error {
	if snap.Empty() {
		return nil
	}
	if err := o.Store.Commit([]flow.Change{{Kind: flow.Cleared}}); err != nil {
		return errors.Join(fmt.Errorf("mqtt: store: %w", err), o.Store.Detach())
	}
	r.log.Warn("the Store held a session, which was discarded for a clean session",
		"publications", len(snap.Publications), "received", len(snap.Received))
	for _, p := range snap.Publications {
		fate := notSent(errDiscarded)
		if p.ID != 0 {
			fate = unconfirmed(errDiscarded)
		}
		r.send(owner{ack: o.Ack}, Receipt{Message: p.Message, ID: p.ID, Err: fate})
	}
	return nil
}

var errDiscarded = errors.New("mqtt: a clean session discarded the stored one")
