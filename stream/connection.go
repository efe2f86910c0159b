package stream

import (
	"context"
	"errors"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// connPhase is the phase of the present connection or attempt.
type connPhase byte

const (
	phaseWaiting connPhase = iota // no connection and no attempt
	phaseDialing                  // the reader makes an attempt
	phaseUp                       // connected
	phaseFailing                  // closed by us; the reader still uses it
	phaseFailed                   // the reader has ended; the writer may still use it
)

// A connection is the present connection to the broker, or the attempt to make the next one.
//
// Invariant: there is at most one attempt or connection. From phaseUp on, conn is set; after
// phaseUp, cause is set too. The method reset returns to phaseWaiting. Only the methods of
// connection change the phase.
type connection struct {
	phase  connPhase
	bye    frames.ReasonCode // of the DISCONNECT to be written, Success for none
	conn   *link.Conn
	terms  terms
	wanted *terms // that the Options ask for, if a connection of MQTT 5 has changed them; else nil
	cause  error

	keepAlive flow.KeepAlive
	resendAt  time.Duration // with Retry: the time at which the first ack is overdue; 0 if no ack is awaited
	lapseAt   time.Duration // the time at which a SUBACK or UNSUBACK is overdue; 0 if none is awaited
	lateAck   lateAck
	reauth    *reauth   // nil without OptionsV5.Authenticate
	farewell  *Farewell // nil: a plain DISCONNECT
	backoff   *flow.Backoff

	reader   *reader
	cancel   context.CancelFunc // ends the attempt
	dialed   time.Duration      // when the last attempt began
	endpoint string             // of the present connection, or of the last one
	states   *stateFeed
	first    chan<- error // cap 1, the result of the first attempt, for Dial; nil when no Dial waits
}

func newConnection(r *reader, t terms, b *flow.Backoff, endpoint string, first chan<- error) connection {
	return connection{
		reader: r, terms: t, backoff: b, cancel: func() {},
		endpoint: endpoint, states: newStateFeed(endpoint), first: first,
	}
}

// restored sets the parts of the terms that a Store has kept.
func (c *connection) restored(snap flow.Snapshot) {
	if c.terms.clientID == "" {
		c.terms.clientID = snap.Owner
	}
	if snap.Session != nil {
		c.terms.pinned = snap.Session.Version
	}
}

// online reports whether the session counts as connected: from begin until reset.
func (c *connection) online() bool { return c.phase >= phaseUp }

// awaitsPingresp reports whether a PINGREQ was sent that has no answer yet.
func (c *connection) awaitsPingresp() bool {
	_, awaits := c.keepAlive.Pending()
	return awaits && c.phase == phaseUp
}

// lost returns the reason why the session is not connected, nil while it is.
func (c *connection) lost() error {
	if c.phase == phaseUp {
		return nil
	}
	return c.states.reason("the connection has just been lost")
}

// cannotTell returns the reason why a DISCONNECT with properties cannot be sent, nil if it can.
func (c *connection) cannotTell() error {
	switch {
	case c.phase == phaseUp && c.terms.version >= frames.V5:
		return nil
	case c.cause != nil:
		return c.cause
	}
	return c.states.reason("the connection has another version")
}

// due returns the time of the next attempt, 0 for none.
func (c *connection) due() time.Duration { return c.backoff.Due() }

// dial begins an attempt if one is due, and reports whether it has.
func (c *connection) dial(now time.Duration) (begun bool) {
	if c.phase != phaseWaiting || c.due() == 0 || now < c.due() {
		return false
	}
	c.dialed = now
	c.dialNow()
	return true
}

func (c *connection) dialNow() {
	c.backoff.Start()
	c.phase = phaseDialing
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	s := c.states.State()
	c.reader.connect(ctx, c.terms.request(s.Attempt+1, s.Err))
}

// attemptFailed records that an attempt has failed. The next one begins at the time next.
func (c *connection) attemptFailed(err error, next time.Time) {
	c.endAttempt()
	c.phase = phaseWaiting
	c.states.set(func(s *State) { s.Attempt++; s.Err, s.Next = err, next })
	c.firstResult(err)
}

// endAttempt cancels the context of an attempt, which frees its memory.
func (c *connection) endAttempt() {
	c.cancel()
	c.cancel = func() {}
}

// begin takes a new connection into use, whose CONNECT was sent at the time sent.
func (c *connection) begin(conn *link.Conn, now, sent time.Duration) {
	c.endAttempt()
	c.phase, c.conn, c.endpoint = phaseUp, conn, conn.Endpoint
	wanted := c.terms
	if c.wanted != nil {
		wanted = *c.wanted
	} else if conn.Version >= frames.V5 {
		c.wanted = &wanted
	}
	c.terms = wanted.agreed(conn)
	c.lateAck = lateAck{}
	c.reauth.begin(conn.Auth, now)
	c.keepAlive = flow.NewKeepAlive(c.terms.keepAlive, c.terms.pingLimit, sent, now)
	c.backoff.Up(now)
}

// announce publishes the State of a connected session.
func (c *connection) announce() {
	c.states.set(func(s *State) {
		s.Online, s.Resumed, s.Attempt, s.Err, s.Endpoint = true, c.terms.resumed, 0, nil, c.endpoint
		s.Version, s.Server, s.Next = c.terms.version, c.terms.server, time.Time{}
	})
	c.firstResult(nil)
}

// firstResult tells Dial how the first attempt ended.
func (c *connection) firstResult(err error) {
	if c.first != nil {
		c.first <- err // cap 1, sent once
		c.first = nil
	}
}

// fail closes the connection. All other state stays as it is until the reader and the writer no
// longer use the connection. On MQTT 5 a broker that has broken the standard gets a DISCONNECT with
// the reason first, see takeBye; the broker publishes the will all the same [MQTT-3.14.4-3].
func (c *connection) fail(err error) {
	if c.phase != phaseUp {
		return
	}
	if violation, ok := err.(*frames.ProtocolError); ok {
		err = prefixed(violation)
	}
	c.phase, c.cause = phaseFailing, err
	if c.bye = c.reasonFor(err); c.bye == frames.Success {
		c.conn.Abort()
		return
	}
	c.conn.LimitClose() // once, since each call begins the limit anew
}

// reasonFor returns the reason code that the broker is to be told, Success for none. With a will
// there is none: every DISCONNECT makes mosquitto and mochi discard the will, against section
// 3.14.4.
func (c *connection) reasonFor(err error) frames.ReasonCode {
	var fault interface{ Code() frames.ReasonCode }
	if c.terms.version < frames.V5 || c.conn.HasWill || !errors.As(err, &fault) {
		return frames.Success
	}
	return fault.Code()
}

// leaving reports whether a DISCONNECT is to be written.
func (c *connection) leaving() bool { return c.bye != frames.Success }

// takeBye returns the reason code of a DISCONNECT that is to be written now, once.
func (c *connection) takeBye() (code frames.ReasonCode, ok bool) {
	code, c.bye = c.bye, frames.Success
	return code, code != frames.Success
}

// said closes a failing connection after its last write. While a write is under way, it limits the
// time of the write. If the reader still reads, the broker may close its side first: to close at
// once while bytes come in would reset the connection, and the broker might not read the
// DISCONNECT.
func (c *connection) said(writing bool) {
	if writing {
		c.conn.LimitClose()
		return
	}
	if c.phase != phaseFailing || !c.conn.HalfClose() {
		c.conn.Abort()
	}
}

// readerGone records that the reader has ended with err.
func (c *connection) readerGone(err error) {
	c.fail(err)
	c.phase = phaseFailed
}

// announceLost publishes the State of a session that has lost its connection because of err.
// The next attempt begins at the time next.
func (c *connection) announceLost(err error, next time.Time) {
	c.states.set(func(s *State) {
		s.Online, s.Resumed, s.Attempt, s.Err, s.Server, s.Next = false, false, 0, err, nil, next
	})
}

// reset forgets the connection.
func (c *connection) reset() {
	c.reauth.lost(c.cause)
	c.endAttempt()
	c.bye = frames.Success
	c.phase, c.conn, c.cause, c.resendAt, c.lapseAt, c.lateAck = phaseWaiting, nil, nil, 0, 0, lateAck{}
}

// linger closes our side of the connection and reads on until the broker has closed its side
// [MQTT-3.14.4-1]. If we closed the whole connection while bytes come in, TCP would reset it. After
// a reset the broker may drop everything that it has not read: the last acks, and the DISCONNECT
// that keeps it from publishing the will. LimitClose ends the wait for a broker that does not close
// its side.
func (c *connection) linger() {
	c.conn.CloseWrite()
	for e := (event{}); e.err == nil; {
		e = <-c.reader.events // packets are ignored from here on
	}
	c.conn.Close()
}

// pingAt returns the time of the next keep alive check, 0 for none.
func (c *connection) pingAt(now time.Duration, paused bool) time.Duration {
	if c.phase != phaseUp {
		return 0
	}
	if c.reauth.quiet() {
		if at := c.keepAlive.SilentAt(); at > now {
			return at
		}
		return 0 // PINGREQ waits for the writer
	}
	return c.keepAlive.Next(now, paused)
}

// alone returns the packet that a re-authentication lets out alone, nil for none: an AUTH, or a
// PINGREQ when a pause of reading lets an exchange last for the keep alive [MQTT-3.1.2-20].
func (c *connection) alone(now time.Duration, paused bool) frames.Packet {
	if auth := c.reauth.take(now, paused); auth != nil {
		return *auth
	}
	if at := c.keepAlive.SilentAt(); c.reauth.quiet() && at != 0 && now >= at {
		return frames.Pingreq{}
	}
	return nil
}

// code returns the reason code of the failure.
func (c *connection) code() frames.ReasonCode { return frames.CodeOf(c.cause) }
