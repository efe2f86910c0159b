package stream

import (
	"context"
	"errors"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A reauth is the re-authentication of a connection (MQTT 5, section 4.12.1). It is quiet: from its
// first AUTH to the last one no other packet but DISCONNECT is sent, since mosquitto answers any
// other packet with the end of the connection. Only a pause of reading makes an exchange last until
// PINGREQ is due, which is sent then. Code of the user runs on a goroutine of its own.
//
// Invariant: at most one re-authentication is under way. Each call that waits for it gets one
// result.
type reauth struct {
	authenticate func(context.Context) (Exchange, error) // Options.V5.Authenticate
	limit        time.Duration                           // Options.ConnectTimeout; 0 is unlimited
	life         *life
	tell         func(number int, r authResult, err error) // passes a result to the loop

	auth   *link.Authentication // of the connection, or of the re-authentication under way
	phase  authPhase
	packet *frames.Auth  // to be written when the connection is free
	number int           // of the re-authentication, so that late results have no effect
	wait   time.Duration // how long the Exchange may take to begin, and then the rest
	endBy  time.Duration // 0: while the first AUTH waits
	dueAt  time.Duration // when the next one begins by itself; 0: never
	cancel context.CancelCauseFunc
	ctx    context.Context
	calls  []chan<- error // cap 1
}

// authPhase is the phase of a re-authentication.
type authPhase byte

const (
	authNone   authPhase = iota // none is under way
	authMakes                   // the user makes an Exchange
	authReady                   // the first packet is to be written
	authAwaits                  // the broker is to answer, or the next packet is to be written
	authWorks                   // the user works on the broker's answer
)

// begin takes the authentication of a new connection.
func (r *reauth) begin(auth *link.Authentication, now time.Duration) {
	if r == nil {
		return
	}
	r.auth = auth
	r.plan(now)
}

// plan lets the next re-authentication begin at nine tenths of the time that the Exchange allows.
func (r *reauth) plan(now time.Duration) {
	r.dueAt = 0
	if r.auth == nil || r.auth.ExpiresAt.IsZero() {
		return
	}
	left := time.Until(r.auth.ExpiresAt)
	r.dueAt = now + max(time.Second, left-left/10)
}

// join makes a call wait for the re-authentication, and starts one if none is under way.
func (r *reauth) join(reply chan<- error, now, keepAlive time.Duration) {
	if r == nil || r.auth == nil {
		reply <- errNoAuth
		return
	}
	r.calls = append(r.calls, reply)
	r.start(now, keepAlive)
}

// leave forgets a call that has stopped waiting.
func (r *reauth) leave(reply chan<- error) {
	if r == nil {
		return
	}
	for i, c := range r.calls {
		if c == reply {
			r.calls = append(r.calls[:i], r.calls[i+1:]...)
			return
		}
	}
}

// start begins a re-authentication, unless one is under way. From its first AUTH on it may take
// ConnectTimeout, and at most half the keep alive, since no PINGREQ is sent meanwhile. The limit
// starts anew after a pause of reading for consumers. To make the Exchange may take as long.
func (r *reauth) start(now, keepAlive time.Duration) {
	if r.phase != authNone {
		return
	}
	limit := r.limit
	if half := keepAlive / 2; limit == 0 || half > 0 && half < limit {
		limit = half
	}
	if limit == 0 {
		limit = defaultConnectTimeout
	}
	r.phase, r.dueAt, r.wait, r.endBy = authMakes, 0, limit, now+limit
	r.number++
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	method, ctx := r.auth.Method, r.ctx
	r.work(func() (authResult, error) {
		x, err := link.BeginAuthentication(ctx, r.authenticate)
		if err != nil {
			return authResult{}, err
		}
		if x.Method != method { // [MQTT-4.12.1-1]
			return authResult{}, errors.New("mqtt: authentication: the method of a connection cannot change")
		}
		again := x.Again()
		return authResult{auth: x, packet: &again}, nil
	})
}

// An authResult is the result of code of the user.
type authResult struct {
	auth   *link.Authentication // new
	packet *frames.Auth         // to be sent
	done   bool                 // the broker is accepted
}

// work runs code of the user and passes its result to the loop.
func (r *reauth) work(f func() (authResult, error)) {
	number, tell := r.number, r.tell
	r.life.start(authHelper, func() {
		result, err := f()
		tell(number, result, err)
	})
}

// result handles the result of code of the user.
func (r *reauth) result(number int, result authResult, err error, maxPacket int, now time.Duration) error {
	switch {
	case number != r.number || r.phase == authNone: // of a connection that has ended
		return nil
	case err != nil:
		return &authError{err}
	case result.done:
		r.phase = authNone
		r.cancel(nil)
		r.answer(nil)
		r.plan(now)
		return nil
	}
	bytes, err := result.packet.Append(nil, frames.V5)
	switch {
	case err != nil:
		return &authError{prefixed(err)}
	case len(bytes) > maxPacket: // [MQTT-3.2.2-15]
		return &authError{prefixed(&frames.TooLargeError{Size: len(bytes), Limit: maxPacket})}
	}
	if r.phase = authAwaits; result.auth != nil {
		r.auth, r.phase, r.endBy = result.auth, authReady, 0
	}
	r.packet = result.packet
	return nil
}

// received handles an AUTH of the broker.
func (r *reauth) received(a *frames.Auth) error {
	if r == nil {
		return errUnsolicitedAuth
	}
	if r.phase != authAwaits || r.packet != nil {
		return errUnsolicitedAuth // [MQTT-4.12.0-6]
	}
	if err := link.CheckAuth(a, r.auth.Method, frames.ContinueAuthentication, frames.Success); err != nil {
		return err
	}
	r.phase = authWorks
	x, ctx := r.auth, r.ctx
	r.work(func() (authResult, error) {
		if a.Code == frames.Success {
			return authResult{done: true}, x.Finish(a.Data)
		}
		answer, err := x.Continue(ctx, a)
		return authResult{packet: &answer}, err
	})
	return nil
}

// quiet reports whether no packet but AUTH may be sent.
func (r *reauth) quiet() bool { return r != nil && r.phase >= authAwaits }

// take returns the AUTH to be written now, once. The first one waits while paused is set, since its
// answer would stay unread.
func (r *reauth) take(now time.Duration, paused bool) *frames.Auth {
	if r == nil {
		return nil
	}
	if r.phase == authReady {
		if paused {
			return nil
		}
		r.phase, r.endBy = authAwaits, now+r.wait
	}
	p := r.packet
	r.packet = nil
	return p
}

// check starts a re-authentication that is due, and returns an error for one that takes too long.
func (r *reauth) check(now, keepAlive time.Duration) error {
	if r == nil {
		return nil
	}
	if r.dueAt != 0 && now >= r.dueAt {
		r.start(now, keepAlive)
	}
	if r.phase != authNone && r.endBy != 0 && now >= r.endBy {
		r.cancel(errAuthLate)
		return &authError{errAuthLate}
	}
	return nil
}

// unread starts the limit anew for a re-authentication that waits for the broker, whose answer may
// lie unread while reading is paused for consumers. A pause for the writer does not do that: it may
// last until the exchange ends, since no ack is sent before.
func (r *reauth) unread(now time.Duration) {
	if r != nil && r.phase == authAwaits && r.packet == nil {
		r.endBy = now + r.wait
	}
}

// at returns the time of the next check, 0 for none.
func (r *reauth) at() time.Duration {
	if r == nil {
		return 0
	}
	if r.phase != authNone {
		return r.endBy
	}
	return r.dueAt
}

// lost ends a re-authentication together with its connection.
func (r *reauth) lost(cause error) {
	if r == nil {
		return
	}
	if cause == nil {
		cause = errNotConnected
	}
	if r.phase != authNone {
		r.cancel(cause)
	}
	r.auth, r.phase, r.packet, r.dueAt = nil, authNone, nil, 0
	r.answer(cause)
}

// stop ends the work of the user's code, since the session ends.
func (r *reauth) stop(cause error) {
	if r == nil {
		return
	}
	if r.phase != authNone {
		r.cancel(cause)
	}
	r.answer(cause)
}

// abandon ends the re-authentication under way, and reports whether it was quiet.
func (r *reauth) abandon() (quiet bool) {
	if r == nil {
		return false
	}
	quiet, r.phase, r.packet = r.quiet(), authNone, nil
	return quiet
}

// answer ends the calls that wait.
func (r *reauth) answer(err error) {
	if r == nil {
		return
	}
	for _, reply := range r.calls {
		reply <- err
	}
	r.calls = nil
}

var (
	errUnsolicitedAuth = &frames.ProtocolError{Type: frames.TypeAuth, Reason: "came without an authentication under way [MQTT-4.12.0-6]"}

	errNoAuth   = errors.New("mqtt: the connection has no enhanced authentication (Options.V5.Authenticate)")
	errAuthLate = errors.New("mqtt: the re-authentication takes too long")
)

// An authError is a re-authentication that has failed.
type authError struct{ err error }

func (e *authError) Error() string { return e.err.Error() }
func (e *authError) Unwrap() error { return e.err }

// Code returns the reason code for DISCONNECT.
func (*authError) Code() frames.ReasonCode { return frames.ImplementationSpecificError }
