package stream

// ending is the stage that the end of the session has reached. It only moves forward.
//
// Shutdown goes through all four stages. Close, NoReconnect and a fatal error lead from any stage
// directly to over.
type ending byte

const (
	running  ending = iota
	settling        // no message is handed out; consumers ack the deliveries that they hold, and may publish
	emptying        // no publishing is accepted; accepted publications are completed
	over            // the loop ends
)

// advance moves to a later stage. An earlier stage as the argument has no effect.
func (e *ending) advance(to ending) { *e = max(*e, to) }

// delivers reports whether inbound messages are accepted.
func (e ending) delivers() bool { return e == running }

// accepts reports whether publications are accepted.
func (e ending) accepts() bool { return e < emptying }

// draining reports whether a Shutdown is waiting.
func (e ending) draining() bool { return e == settling || e == emptying }

// progress is the state that Shutdown waits for.
type progress struct {
	deliveries   int  // held by consumers, without an ack
	publications int  // without a Receipt
	unwritten    bool // bytes or changes wait for the writer
}

// next moves a Shutdown to its next stage if p allows it, and reports whether the stage has
// changed.
func (e *ending) next(p progress) bool {
	was := *e
	if *e == settling && p.deliveries == 0 {
		*e = emptying
	}
	if *e == emptying && p.publications == 0 && !p.unwritten {
		*e = over
	}
	return *e != was
}
