package stream

import (
	"errors"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// outcomes count the publications that end with an error, time the others, and show all of them to
// the Observer.
//
// Invariant: each publication counts once. A withdrawn publication counts when it is withdrawn, and
// not when it ends later.
type outcomes struct {
	clock    *clock
	timings  *timings
	observer *observer

	notSent, unconfirmed, failed uint64

	row []Published // scratch
}

// ended records the end of a run. It is called before the Receipt is passed on, since the user may
// write to the payload after that.
func (o *outcomes) ended(e *flow.Ended[owner], err error) {
	if e.Owner.withdrawn() {
		return
	}
	took := o.clock.now - e.At
	if err != nil {
		o.count(err, uint64(e.Len()))
	} else {
		o.timings.published(e.Message.QoS, took, e.Len())
	}
	if o.observer.seesPublished() {
		o.show(e, err, took)
	}
}

func (o *outcomes) count(err error, n uint64) {
	switch {
	case errors.Is(err, ErrNotSent):
		o.notSent += n
	case errors.Is(err, ErrUnconfirmed):
		o.unconfirmed += n
	default:
		o.failed += n
	}
}

// show passes the publications to the Observer.
func (o *outcomes) show(e *flow.Ended[owner], err error, took time.Duration) {
	p := Published{Receipt: Receipt{Message: e.Message, ID: e.ID, Code: e.Code, Err: err},
		Accepted: o.clock.epoch.Add(e.At), Took: took}
	switch e.Owner.tag.(type) {
	case *stage, *publishCall, receiptTag:
	default:
		p.Tag = e.Owner.tag
	}
	o.row = append(o.row, p)
	for _, p.Message = range e.Rest {
		o.row = append(o.row, p)
	}
	o.observer.published(o.row)
	clear(o.row)
	o.row = o.row[:0]
}

// snapshot sets the fields of st that count outcomes.
func (o *outcomes) snapshot(st *Stats) {
	st.NotSent, st.Unconfirmed, st.Failed = o.notSent, o.unconfirmed, o.failed
}
