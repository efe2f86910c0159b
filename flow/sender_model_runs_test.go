package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

func (r *senderRun) addRun() {
	var run []frames.Message
	first := r.tokens + 1
	for range 1 + r.rnd.IntN(6) {
		r.tokens++
		run = append(run, message(frames.AtMostOnce, r.tokens))
		r.pubs = append(r.pubs, &pub{token: r.tokens, run: first, owned: true, seq: r.s.seq + uint64(len(run)), at: r.now})
		r.wires[r.tokens] = &wire{fresh: true}
	}
	r.logf("add run %d to %d", first, r.tokens)
	r.s.AddRun(run, first, r.now)
}

// nextRun sends some messages of a run. r.pubs[i] is the first message of the run that was not
// sent.
func (r *senderRun) nextRun(i int) {
	most := 1 + r.rnd.IntN(6)
	took := 0
	at := r.s.AtRun()
	r.s.NextRun(r.batch, func(m *frames.Message) (ok, more bool) {
		p := r.pubs[i+took]
		if p.seq <= r.lastSeq {
			r.fail("seq %d after seq %d", p.seq, r.lastSeq)
		}
		r.lastSeq, p.batch = p.seq, r.batch
		r.send(p, Outgoing{Type: frames.TypePublish, Publish: frames.Publish{Message: *m}})
		took++
		return true, took < most
	})
	r.logf("next of run %d: %d", r.pubs[i].run, took)
	if !at || took == 0 {
		r.fail("nothing of run %d", r.pubs[i].run)
	}
}

// withdrawRun withdraws one part of a run.
func (r *senderRun) withdrawRun() {
	var parts []Handle
	r.s.Each(func(h Handle, _ int) {
		if e, _ := r.s.Find(h); e.Run != nil {
			parts = append(parts, h)
		}
	})
	if len(parts) == 0 {
		return
	}
	h := pick(r.rnd, parts)
	e, _ := r.s.Find(h)
	gone, ok := r.s.Withdraw(h)
	r.logf("withdraw %d of run %d from %d: %v", e.Run.Len(), e.Owner, e.Run.From, gone)
	if !ok {
		r.fail("withdrawn: %v", ok)
	}
	i := slices.IndexFunc(r.pubs, func(p *pub) bool { return p.seq == h.seq })
	for k, e := range oneByOne(e) {
		p := r.pubs[i+k]
		if e.Owner != p.owner() || token(e.Message) != p.token || gone != (p.batch == 0) {
			r.fail("found %d of %d in place of %d; gone: %v", token(e.Message), e.Owner, p.token, gone)
		}
		p.owned = false
		clear(e.Message.Payload) // after Withdraw the owner may overwrite the payload
	}
	if gone {
		r.pubs = slices.Delete(r.pubs, i, i+e.Run.Len())
	}
}

// oneByOne splits a part of a run into its messages. The payload of a message is its token, and the
// owner is the token of the first message of the run.
func oneByOne(e Ended[int]) (all []Ended[int]) {
	if e.Run == nil {
		return []Ended[int]{e}
	}
	for k, m := range e.Run.Messages {
		one := Ended[int]{Message: m, Owner: e.Owner}
		if e.Owner != 0 && token(m) != e.Owner+e.Run.From+k {
			one.Owner = -1
		}
		all = append(all, one)
	}
	return all
}
