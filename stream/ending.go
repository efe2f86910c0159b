package stream

// ending is the stage that the end of the session has reached. It only moves forward.
//
// Shutdown goes through settling and emptying. NoReconnect goes through finishing, unless a
// Shutdown is under way. Close leads from any stage directly to over.
type ending byte

const (
	running   ending = iota
	finishing        // the last connection has ended, and the messages that have arrived are handed over
	settling         // no message is handed out; consumers ack the deliveries that they hold, and may publish
	emptying         // no publishing is accepted; accepted publications are completed
	over             // the loop ends
)

// advance moves to a later stage. An earlier stage as the argument has no effect.
func (e *ending) advance(to ending) { *e = max(*e, to) }

// delivers reports whether inbound messages are accepted.
func (e ending) delivers() bool { return e == running }

// accepts reports whether publications are accepted. In the stage finishing, the loop still
// receives from the channel Publishes and refuses each publishing with a Receipt, since a consumer
// that is stuck in a send would take no more messages.
func (e ending) accepts() bool { return e == running || e == settling }

// waits reports whether the end of the session waits for users or the broker.
func (e ending) waits() bool { return running < e && e < over }

// progress is the state that the end of a session waits for.
type progress struct {
	deliveries   int  // held by consumers, without an ack
	publications int  // without a Receipt
	unwritten    bool // bytes or changes wait for the writer
	arrived      int  // messages that were not handed over, and deliveries held by consumers
}

// next moves the end of a session to its next stage if p allows it, and reports whether the stage
// has changed.
func (e *ending) next(p progress) bool {
	was := *e
	if *e == finishing && p.arrived == 0 {
		*e = over
	}
	if *e == settling && p.deliveries == 0 {
		*e = emptying
	}
	if *e == emptying && p.publications == 0 && !p.unwritten {
		*e = over
	}
	return *e != was
}

// lastCommits counts the commits that a session with NoReconnect still waits for after its last
// connection. They are the commit under way, and two more: one that repeats it, if it failed, and
// one of the changes that were collected meanwhile. Then every publication gets its Receipt.
type lastCommits int8

// begin begins the wait.
func (c *lastCommits) begin() { *c = 3 }

// waits reports whether the wait is not over.
func (c lastCommits) waits() bool { return c > 0 }

// over is called before each flush. It reports, once, that the wait is over.
func (c *lastCommits) over(o *outbox) bool {
	if !c.waits() || o.busy {
		return false
	}
	if *c--; c.waits() && !o.empty() {
		o.retryNow()
		return false
	}
	*c = 0
	return true
}
