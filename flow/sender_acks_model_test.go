package flow

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// rightAck sends an ack that a conforming broker could send now.
func (r *senderRun) rightAck() {
	var could []*pub
	for _, p := range r.pubs {
		if p.id != 0 && p.batch != 0 && p.batch < r.batch {
			could = append(could, p)
		}
	}
	if len(could) == 0 {
		return
	}
	p := pick(r.rnd, could)
	switch {
	case p.qos == 1:
		r.ack(puback, p.id, r.publishCode())
	case p.released && r.rnd.IntN(4) > 0:
		r.ack(pubcomp, p.id, pick(r.rnd, []frames.ReasonCode{0, 0, 0, frames.PacketIdentifierNotFound}))
	case p.released:
		r.ack(pubrec, p.id, 0)
	default:
		r.ack(pubrec, p.id, r.publishCode())
	}
}

// publishCode returns a reason code of PUBACK and PUBREC.
func (r *senderRun) publishCode() frames.ReasonCode {
	return pick(r.rnd, []frames.ReasonCode{0, 0, 0, 0, frames.NoMatchingSubscribers, frames.NotAuthorized})
}

func (r *senderRun) anyAck() {
	id := r.ids.last - uint16(r.rnd.IntN(8))
	if len(r.pubs) > 0 && r.rnd.IntN(2) == 0 {
		id = pick(r.rnd, r.pubs).id
	} else if len(r.foreign) > 0 && r.rnd.IntN(4) == 0 {
		id = pick(r.rnd, r.foreign)
	}
	codes := []frames.ReasonCode{0, 0, 0, frames.NoMatchingSubscribers, frames.NotAuthorized, frames.PacketIdentifierNotFound}
	r.ack(pick(r.rnd, []frames.Type{puback, pubrec, pubcomp}), id, pick(r.rnd, codes))
}

func (r *senderRun) ack(kind frames.Type, id uint16, code frames.ReasonCode) {
	p, want := r.find(id), Violation
	if p != nil && p.batch == 0 && !p.sent {
		p = nil // the broker cannot have this publication
	}
	refused := code >= frames.UnspecifiedError
	switch {
	case p == nil && kind == pubrec && !refused:
		want = ReleaseUnknown
	case p == nil:
		want = Ignored
	case refused && !p.released && (kind == puback || kind == pubrec && p.qos == 2):
		want = Refused
	case refused && p.released && kind == pubcomp && !p.resumed:
		want = Mismatched
	case p.qos == 1 && kind == puback, p.released && kind == pubcomp:
		want = Confirmed
	case p.qos == 2 && kind == puback && !p.released:
		want = Downgraded
	case refused && p.released && kind == pubrec:
		want = Ignored
	case p.qos == 2 && kind == pubrec:
		want = Release
	}
	e, got := r.s.Acknowledge(kind, id, code, allHanded, r.now)
	r.logf("%v#%d %#02x: %d", kind, id, byte(code), got)
	if got != want {
		r.fail("%v#%d: outcome %d, want %d", kind, id, got, want)
	}
	switch {
	case got == Confirmed || got == Downgraded || got == Refused || got == Mismatched:
		if kind == pubcomp && got == Confirmed {
			code = p.code
		}
		if e.Code != code {
			r.fail("the code is %#02x, want %#02x", byte(e.Code), byte(code))
		}
		r.end(p, e)
	case e.Owner != 0 || e.ID != 0:
		r.fail("%d ended", e.Owner)
	case got == ReleaseUnknown:
		r.filling = append(r.filling, packet{released: true})
	case got == Release:
		if !p.released {
			p.released, p.sent, p.attempts, p.code = true, true, 0, code
			r.wait(p)
		}
		r.filling = append(r.filling, packet{token: p.token, released: true})
	}
}

func (r *senderRun) lost(keep bool) {
	handed := r.batch - 1
	r.logf("lost, handed %d, keep %v", handed, keep)
	var want []*pub
	for _, p := range r.pubs {
		if p.qos == 0 && p.batch != 0 && p.batch <= handed {
			want = append(want, p)
		}
	}
	for _, p := range r.pubs {
		p.resumed = p.released
		p.sent = p.sent || p.qos > 0 && p.batch != 0 && p.batch <= handed
		if p.qos > 0 && p.id != 0 && p.sent && !keep {
			want = append(want, p)
		}
	}
	r.ends(want, func(end func(Ended[int])) { r.s.Lost(handed, keep, end) })
	for _, p := range r.pubs {
		p.batch = 0
		if !keep {
			p.id = 0
		}
	}
	r.filling, r.lastSeq = nil, 0
	r.window = 1 + r.rnd.IntN(1+r.rnd.IntN(12)) // V17, V18
	r.logf("window %d", r.window)
	r.s.SetWindow(r.window)
	r.batch += uint64(r.rnd.IntN(2))
	if r.rnd.IntN(4) == 0 {
		r.logf("the broker has no session")
		var want []*pub
		for _, p := range r.pubs {
			if p.released {
				want = append(want, p)
			}
		}
		r.ends(want, r.s.SessionLost)
		for _, p := range r.pubs {
			p.sent, p.earlier, r.wires[p.token].fresh = false, p.sent || p.earlier, true
		}
	}
}

func (r *senderRun) overdue() {
	var wantNext time.Duration
	var want []*pub
	waited := false
	for _, p := range r.pubs {
		if p.qos == 0 || p.batch == 0 || r.retry == nil {
			continue
		}
		if p.due <= r.now {
			if p.batch < r.batch {
				p.batch, p.sent, p.attempts, p.resumed = r.batch, true, p.attempts+1, p.released
				want = append(want, p)
			}
			r.wait(p)
		}
		if !waited || p.due < wantNext {
			wantNext, waited = p.due, true
		}
	}
	next, ok := r.s.Overdue(r.batch, r.now, func(o Outgoing) {
		out := o.Single(0)
		r.logf("overdue at %v: %s", r.now, packetText(out))
		if len(want) == 0 {
			r.fail("%s is not overdue", packetText(out))
		}
		r.send(want[0], out)
		want = want[1:]
	})
	if len(want) > 0 {
		r.fail("%d is overdue", want[0].token)
	}
	if next != wantNext || ok != waited {
		r.fail("next at %v, %v, want %v, %v", next, ok, wantNext, waited)
	}
}
