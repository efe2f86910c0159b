package flow

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// dayBegins is the time of day at which the clock of the session is 0.
var dayBegins = time.Unix(1_000_000, 0)

func (p *pub) expiry() Expiry {
	if p.until == 0 {
		return Expiry{}
	}
	return Expiry{At: p.until, Wall: dayBegins.Add(p.until)}
}

// outstanding returns how many publications count in the window.
func (r *senderRun) outstanding() (n int) {
	for _, p := range r.pubs {
		if p.qos > 0 && p.batch != 0 {
			n++
		}
	}
	return n
}

// expire ends the publications that expire before they are sent.
func (r *senderRun) expire() {
	r.logf("expire at %v", r.now)
	var want []*pub
	for _, p := range r.pubs {
		if p.waits() && p.until != 0 && p.until <= r.now {
			want = append(want, p)
		}
	}
	r.ends(want, func(end func(Ended[int])) { r.s.Expire(r.now, end) })
	if at := r.s.ExpiresAt(); at != 0 && at <= r.now {
		r.fail("Expire is due at %v again", at)
	}
}

// checkExpiry checks that Expire is called in time.
func (r *senderRun) checkExpiry() {
	at := r.s.ExpiresAt()
	for _, p := range r.pubs {
		if p.waits() && p.until != 0 && (at == 0 || at > p.until) {
			r.fail("Expire is due at %v, and %d expires at %v", at, p.token, p.until)
		}
	}
}

// first compares the message that First returns with the first publication that was not
// transmitted.
func (r *senderRun) first() *pub {
	m, until, sent := r.s.First()
	i := slices.IndexFunc(r.pubs, func(p *pub) bool { return p.batch == 0 })
	if i < 0 || r.pubs[i].released {
		if m != nil || sent {
			r.fail("first is %v, sent %v", m, sent)
		}
		return nil
	}
	p := r.pubs[i]
	if m == nil || token(*m) != p.token || m.QoS != p.qos || until != p.until || sent != p.sent {
		r.fail("first is %v until %v, sent %v, want %+v", m, until, sent, *p)
	}
	return p
}

// drop ends the first publication, which the connection cannot carry.
func (r *senderRun) drop() {
	if p := r.first(); p != nil {
		r.logf("drop %d", p.token)
		r.ends([]*pub{p}, func(end func(Ended[int])) { end(r.s.Drop()) })
	}
}

// lower lowers the QoS of the first publication.
func (r *senderRun) lower() {
	p, q := r.first(), frames.QoS(r.rnd.IntN(2))
	if p == nil || p.qos <= q || p.sent && q == frames.AtMostOnce {
		return
	}
	r.logf("lower %d to QoS %d", p.token, q)
	r.s.Lower(q)
	p.qos, p.lowered = q, true
	if q == frames.AtMostOnce {
		p.id = 0
	}
}
