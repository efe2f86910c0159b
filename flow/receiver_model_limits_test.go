package flow

import (
	"fmt"
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// A refusedDelivery is a delivery that its consumer has rejected.
type refusedDelivery struct {
	seq    uint64
	code   frames.ReasonCode
	reason string
}

// reject rejects delivery seq, which belongs to m if it is pending.
func (r *receiverRun) reject(m *inMessage, seq uint64) {
	code := pick(r.rnd, []frames.ReasonCode{failure, refusal, exceeded})
	reason := ""
	if r.rnd.IntN(2) == 0 {
		reason = fmt.Sprint("reason ", seq)
	}
	r.logf("reject %d %#02x %q", seq, byte(code), reason)
	r.r.Reject(seq, code, reason)
	if m == nil {
		return
	}
	m.code = max(m.code, code)
	if m.conn == r.conn {
		m.refused = append(m.refused, refusedDelivery{seq, code, reason})
	}
}

// reason returns the reason of the first delivery with the highest code. An ack for a copy has
// none.
func (a *arrival) reason() (reason string) {
	if a.again {
		return ""
	}
	slices.SortFunc(a.refused, func(x, y refusedDelivery) int { return int(x.seq) - int(y.seq) })
	highest := frames.Success
	for _, d := range a.refused {
		if d.code > highest {
			highest, reason = d.code, d.reason
		}
	}
	return reason
}

// answered frees the identifier of a rejected QoS 2 message after the ack for its last copy.
func (r *receiverRun) answered(a *arrival) {
	if a.code == frames.Success || a.qos == qos1 || r.held[a.id] != a.inMessage {
		return
	}
	if !slices.ContainsFunc(r.arrivals, func(o *arrival) bool { return o.inMessage == a.inMessage }) {
		delete(r.held, a.id)
	}
}

// setQuota sets the quota of a new connection. Messages in doubt are of MQTT 3.1, which has none.
func (r *receiverRun) setQuota(resumed bool) {
	r.quota.limit, r.quota.resumed = int32(r.rnd.IntN(6)), resumed // 0: none
	for _, m := range r.held {
		if m.doubt {
			r.quota.limit = 0
		}
	}
	r.logf("quota %d, resumed %v", r.quota.limit, resumed)
	r.r.SetQuota(uint16(r.quota.limit), resumed)
}

// used returns how many messages count in the quota, and how many beside it.
func (r *receiverRun) used() (used, extra int) {
	add := func(c counted) {
		switch c {
		case inQuota:
			used++
		case besideQuota:
			extra++
		}
	}
	for _, a := range r.arrivals {
		add(a.counted)
	}
	for _, m := range r.held {
		add(m.counted)
	}
	return used, extra
}

// admits compares the answer of Admits with the model.
func (r *receiverRun) admits(qos frames.QoS, id uint16, dup bool) bool {
	used, _ := r.used()
	m := r.held[id]
	want := r.quota.limit == 0 || used < int(r.quota.limit) || dup && r.quota.resumed ||
		qos == qos2 && m != nil && m.counted != uncounted
	if got := r.r.Admits(qos, id, dup); got != want {
		r.fail("QoS %d #%d DUP %v is admitted: %v, want %v", qos, id, dup, got, want)
	}
	return want
}

// count counts a message that is not in arrivals or held yet.
func (r *receiverRun) count(dup bool) counted {
	switch {
	case r.quota.limit == 0:
		return uncounted
	case !dup || !r.quota.resumed:
		return inQuota
	}
	if used, extra := r.used(); used+extra >= int(r.quota.limit) {
		r.quota.surplus++
	}
	return besideQuota
}

func (r *receiverRun) checkQuota() {
	used, extra := r.used()
	if int(r.r.used) != used || int(r.r.extra) != extra || r.r.Surplus() != r.quota.surplus || r.quota.limit > 0 && used > int(r.quota.limit) {
		r.fail("used %d, beside %d, surplus %d; want %d, %d, %d of %d", r.r.used, r.r.extra, r.r.Surplus(),
			used, extra, r.quota.surplus, r.quota.limit)
	}
	if n := len(r.r.reasons); n > r.r.Unacked()*5 {
		r.fail("%d reasons are kept", n)
	}
}
