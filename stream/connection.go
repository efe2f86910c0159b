package stream

import (
	"context"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// connPhase is the one thing that is going on with the connection.
type connPhase byte

const (
	waiting connPhase = iota // for the next attempt, or for the end
	dialing                  // the reader makes an attempt
	up                       // connected
	failing                  // closed by us; the reader has not let go of it
	failed                   // the reader has let go of it; the writer may not have
)

// A connection is the present connection to the broker, or the way to the next one.
//
// Invariant: there is at most one attempt or connection. From up to failed there is a conn, in
// failing and failed a cause; reset leads back to waiting. Only the methods here change the phase.
type connection struct {
	phase connPhase
	conn  *link.Conn
	terms terms
	cause error

	keepAlive flow.KeepAlive
	resendAt  time.Duration // with Retry: when the first ack is overdue; 0 if none is awaited
	backoff   *flow.Backoff

	reader   *reader
	cancel   context.CancelFunc // of the attempt
	endpoint string             // of the present connection, or of the last one
	states   *stateFeed
	first    chan<- error // cap 1, for Dial: how the first attempt ended; nil when nobody waits
}

func newConnection(r *reader, t terms, b *flow.Backoff, endpoint string, first chan<- error) connection {
	return connection{
		reader: r, terms: t, backoff: b, cancel: func() {},
		endpoint: endpoint, states: newStateFeed(endpoint), first: first,
	}
}

// online reports whether the session counts as connected, which it does until reset.
func (c *connection) online() bool { return c.phase >= up }

// due returns when the next attempt is due, 0 for none.
func (c *connection) due() time.Duration { return c.backoff.Due() }

// dial begins an attempt if one is due.
func (c *connection) dial(now time.Duration) {
	if c.phase != waiting || c.due() == 0 || now < c.due() {
		return
	}
	c.dialNow()
}

func (c *connection) dialNow() {
	c.backoff.Start()
	c.phase = dialing
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.reader.connect(ctx)
}

// attemptFailed ends an attempt without success.
func (c *connection) attemptFailed(err error) {
	c.endAttempt()
	c.phase = waiting
	c.states.set(func(s *State) { s.Attempt++; s.Err = err })
	c.firstResult(err)
}

// endAttempt releases the context of an attempt, which holds memory.
func (c *connection) endAttempt() {
	c.cancel()
	c.cancel = func() {}
}

// begin takes a new connection into use. sent is when its CONNECT was sent.
func (c *connection) begin(conn *link.Conn, now, sent time.Duration) {
	c.endAttempt()
	c.phase, c.conn, c.endpoint = up, conn, conn.Endpoint
	c.terms = c.terms.agreed(conn)
	c.keepAlive = flow.NewKeepAlive(c.terms.keepAlive, sent, now)
	c.backoff.Up(now)
}

// announce shows that the session is connected.
func (c *connection) announce() {
	c.states.set(func(s *State) {
		s.Online, s.Resumed, s.Attempt, s.Err, s.Endpoint = true, c.terms.resumed, 0, nil, c.endpoint
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

// fail closes the connection, without DISCONNECT, so that the broker publishes the will. Other
// state is changed when the reader and the writer have let go.
func (c *connection) fail(err error) {
	if c.phase == up {
		c.phase, c.cause = failing, err
		c.conn.Abort()
	}
}

// readerGone records that the reader has let go of the connection, with the reason.
func (c *connection) readerGone(err error) {
	c.fail(err)
	c.phase = failed
}

// announceLost shows that the session is not connected, and why.
func (c *connection) announceLost(err error) {
	c.states.set(func(s *State) { s.Online, s.Resumed, s.Attempt, s.Err = false, false, 0, err })
}

// reset forgets the connection.
func (c *connection) reset() {
	c.endAttempt()
	c.phase, c.conn, c.cause, c.resendAt = waiting, nil, nil, 0
}

// linger closes our side of the connection and reads on until the broker has closed its own
// [MQTT-3.14.4-1]. A connection that is closed while bytes come in is reset, and a broker that is
// reset may drop everything that it has not read: the last acks, and the DISCONNECT that keeps the
// will from being published. LimitClose ends the wait for a broker that does not close.
func (c *connection) linger() {
	c.conn.CloseWrite()
	for e := (event{}); e.err == nil; {
		e = <-c.reader.events // packets count no more
	}
	c.conn.Close()
}

// pingAt returns when keep alive has something to do, 0 for never.
func (c *connection) pingAt(now time.Duration, paused bool) time.Duration {
	if c.phase != up {
		return 0
	}
	return c.keepAlive.Next(now, paused)
}

// code returns the reason code of the failure.
func (c *connection) code() frames.ReasonCode { return frames.CodeOf(c.cause) }
