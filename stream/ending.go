package stream

// ending is how far the session has come on its way to the end. It only moves forward.
//
// Shutdown goes through all four; Close, NoReconnect and a fatal error go from any of them to over.
type ending byte

const (
	running  ending = iota
	settling        // nothing is handed out; consumers ack the deliveries they hold, and may publish
	emptying        // nothing is accepted; accepted publications come to their end
	over            // the loop ends
)

// advance moves to a later stage; an earlier one changes nothing.
func (e *ending) advance(to ending) { *e = max(*e, to) }

// delivers reports whether inbound messages are taken.
func (e ending) delivers() bool { return e == running }

// accepts reports whether publications are accepted.
func (e ending) accepts() bool { return e < emptying }

// draining reports whether Shutdown waits.
func (e ending) draining() bool { return e == settling || e == emptying }

// progress is the state that Shutdown waits for.
type progress struct {
	deliveries   int  // held by consumers
	publications int  // without a Receipt
	unwritten    bool // bytes or changes wait for the writer
}

// next moves Shutdown on and reports whether it did.
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
