package flow

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// addRun adds a run of messages, all at QoS 0 or all above.
func (r *senderRun) addRun() {
	var run []frames.Message
	first, above := r.tokens+1, r.rnd.IntN(2) == 0
	until := time.Duration(0)
	if r.rnd.IntN(3) == 0 {
		until = r.now + time.Duration(1+r.rnd.IntN(4000))*time.Millisecond
	}
	for range 1 + r.rnd.IntN(6) {
		r.tokens++
		p := &pub{token: r.tokens, run: first, owned: true, at: r.now, until: until}
		if above {
			p.qos = frames.QoS(1 + r.rnd.IntN(2))
		}
		p.stored = p.qos
		run = append(run, message(p.qos, r.tokens))
		p.seq = r.s.seq + uint64(len(run))
		r.pubs = append(r.pubs, p)
		r.wires[r.tokens] = &wire{fresh: true}
	}
	r.logf("add run %d to %d, above QoS 0: %v, until %v", first, r.tokens, above, until)
	r.runs[first] = run
	r.s.AddRun(run, first, r.now, r.pubs[len(r.pubs)-1].expiry())
}

// withdrawRun withdraws one part of a run.
func (r *senderRun) withdrawRun() {
	var parts []Handle
	r.s.Each(func(h Handle, _ int) {
		if i := r.at(h.seq); i >= 0 && r.pubs[i].run != 0 {
			parts = append(parts, h)
		}
	})
	if len(parts) == 0 {
		return
	}
	h := pick(r.rnd, parts)
	e, _ := r.s.Find(h)
	gone, ok := r.s.Withdraw(h)
	r.logf("withdraw %d from %d of run %d: %v", e.Len(), token(e.Message), e.Owner, gone)
	if !ok {
		r.fail("withdrawn: %v", ok)
	}
	i := r.at(h.seq)
	for k, e := range oneByOne(e) {
		p := r.pubs[i+k]
		if e.Owner != p.owner() || token(e.Message) != p.token || gone != p.waits() {
			r.fail("found %d of %d in place of %d; gone: %v", token(e.Message), e.Owner, p.token, gone)
		}
		p.owned = false
		clear(r.runs[p.run][p.token-p.run].Payload) // after Withdraw the owner may overwrite the payload
	}
	if gone {
		r.pubs = slices.Delete(r.pubs, i, i+e.Len())
	}
}

// at returns the index of the publication with a sequence number, or -1.
func (r *senderRun) at(seq uint64) int {
	return slices.IndexFunc(r.pubs, func(p *pub) bool { return p.seq == seq })
}

// oneByOne splits a run that has ended into its messages.
func oneByOne(e Ended[int]) (all []Ended[int]) {
	for k := range e.Len() {
		one := e
		if one.Seq, one.Rest = e.Seq+uint64(k), nil; k > 0 {
			one.Message = e.Rest[k-1]
		}
		all = append(all, one)
	}
	return all
}
