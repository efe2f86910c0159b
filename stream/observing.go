package stream

import (
	"log/slog"
	"sync/atomic"
)

// An observer calls the functions of an Observer and recovers their panics. A nil observer has no
// functions.
type observer struct {
	Observer
	log      *slog.Logger // of the session
	panicked atomic.Bool  // a panic was logged
}

// newObserver returns an observer for a copy of o, nil if o is nil, and the logger of the session,
// whose records pass through a queue to the observer and to the logger of the user.
func newObserver(o *Observer, user *slog.Logger, life *life) (*observer, *slog.Logger) {
	if o == nil {
		return nil, logThrough(user, life)
	}
	made := &observer{Observer: *o}
	if o.Warned != nil {
		user = slog.New(warnings{user.Handler(), made})
	}
	made.log = logThrough(user, life)
	return made, made.log
}

func (o *observer) seesPublished() bool { return o != nil && o.Published != nil }

func (o *observer) published(row []Published) {
	defer o.recovered("Published")
	o.Published(row)
}

func (o *observer) seesDelivered() bool { return o != nil && o.Delivered != nil }

func (o *observer) delivered(row []Delivered) {
	defer o.recovered("Delivered")
	o.Delivered(row)
}

func (o *observer) seesAcked() bool { return o != nil && o.Acked != nil }

func (o *observer) acked(row []Acked) {
	defer o.recovered("Acked")
	o.Acked(row)
}

// seesDeliveries reports whether the Observer needs the times of deliveries.
func (o *observer) seesDeliveries() bool { return o.seesDelivered() || o.seesAcked() }

func (o *observer) warned(r slog.Record) {
	defer o.recovered("Warned")
	o.Warned(r)
}

// recovered recovers a panic of a function of the user, and logs the first one. It must be
// deferred.
func (o *observer) recovered(function string) {
	if v := recover(); v != nil && !o.panicked.Swap(true) {
		o.log.Error("a function of Options.Observer panicked; later panics of Observer are not logged", "function", function, "panic", v)
	}
}

// attempted shows the end of a connection attempt.
func (o *observer) attempted(a Attempted) {
	if o == nil || o.Attempt == nil {
		return
	}
	defer o.recovered("Attempt")
	o.Attempt(a)
}
