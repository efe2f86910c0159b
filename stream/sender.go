package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A sender is a flow.Sender that also deals with two kinds of trouble: a publication at which the
// broker closes every connection (Options.GiveUp), and a full queue (Options.Full).
type sender struct {
	*flow.Sender[owner]
	poison   *flow.Poison // nil without Options.GiveUp
	givenUp  uint64       // publications
	overflow overflow
}

// offline notes that a full queue holds up publications, since there is no connection.
func (s *sender) offline() {
	if s.overflow.full == flow.Block && !s.Room().Left() {
		s.overflow.block(s.Queued())
	}
}

// send adds publications to the batch. While a publication is suspected, it is sent alone, so that
// the next close tells whether it is the cause. The parameter asking reports whether a SUBSCRIBE or
// UNSUBSCRIBE awaits its answer.
func (s *sender) send(o *outbox, asking bool, now time.Duration, misfit func(flow.Ended[owner], error)) {
	if !s.onTrial(o, asking, now, misfit) {
		o.publications(s.Sender, now, misfit)
	}
}

// onTrial sends the suspected publication: after the answers to SUBSCRIBE and UNSUBSCRIBE, for
// which it waits until longestRequest. It returns false if other publications may be sent, since
// none is suspected.
func (s *sender) onTrial(o *outbox, asking bool, now time.Duration, misfit func(flow.Ended[owner], error)) bool {
	suspect, ok := s.poison.Alone()
	switch {
	case !ok:
		return false
	case s.Oldest() != suspect: // it has ended
		s.poison.Forget()
		return false
	case s.poison.WasSent(), now < s.trialAt(asking):
		return true
	}
	if !o.fits(s.Sender, now, misfit) {
		s.poison.Forget()
		return false
	}
	if out, ok := s.Next(); ok {
		s.Transmitted(o.transmit(&out, now), o.number(), now)
		s.poison.Sent()
	}
	return true
}

// trialAt returns the time at which the suspected publication is sent without the answers that it
// waits for, 0 for none.
func (s *sender) trialAt(asking bool) time.Duration {
	if _, ok := s.poison.Alone(); !ok || !asking || s.poison.WasSent() {
		return 0
	}
	return s.poison.Since() + longestRequest
}

// suspect records which publication the broker has closed the connection at. It is called before
// connection.fail with the error of a read or write. The writer has begun to send the batches up to
// reached.
func (s *sender) suspect(err error, asking bool, reached uint64, log *packetLog) {
	if s.poison == nil || !link.ClosedByBroker(err) {
		return
	}
	if _, alone := s.poison.Alone(); alone && asking {
		return // a SUBSCRIBE or UNSUBSCRIBE, sent meanwhile, may be the cause
	}
	if s.poison.Closed(s.Suspect(reached)) == 1 {
		log.Info("the broker closed the connection without any ack; the oldest publication is sent alone next")
	}
}

// giveUp ends the suspected publication if the broker has closed as often as Options.GiveUp allows.
// A publication past PUBREC is not given up.
func (s *sender) giveUp(cause error, r *receipts) {
	seq, closes, due := s.poison.Due()
	if !due {
		return
	}
	e, ok := s.GiveUp(seq)
	if !ok {
		return
	}
	s.poison.Forget()
	s.givenUp++
	r.log.Warn("a publication is given up, since the broker closed each connection on which it was sent",
		"topic", e.Message.Topic, "id", e.ID, "closes", closes, "error", cause)
	r.complete(&e, unconfirmed(&PoisonError{ID: e.ID, Topic: e.Message.Topic, Closes: closes, Err: cause}))
}

// admits makes room in the queue for m, or returns the reason why m is refused. The function flush
// sends publications that wait for nothing but the end of this turn.
func (s *sender) admits(m *frames.Message, r *receipts, flush func()) error {
	if s.Fits(m) {
		return nil
	}
	if !s.overflow.oversize(m) {
		for range 2 { // the second batch is filled while the first one is being written
			if flush(); s.Fits(m) {
				return nil
			}
		}
		evict := func(e flow.Ended[owner]) {
			s.overflow.evict(s.Queued() + 1)
			r.complete(&e, notSent(ErrEvicted))
		}
		if s.overflow.full == flow.EvictOldest && s.Evict(m, evict) {
			return nil
		}
	}
	return s.overflow.refuse(m, s.Queued())
}
