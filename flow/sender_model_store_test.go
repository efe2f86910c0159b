package flow

import (
	"slices"
	"time"
)

// wire records the transmissions of one publication, over all connections and restarts.
type wire struct {
	dup      bool // it may have been sent, so DUP is correct
	fresh    bool // not sent since the broker lost the session
	released bool
}

// packet is a packet in the batch.
type packet struct {
	token    int // 0: a PUBREL for an unknown identifier
	released bool
	dup      bool
}

// take acts as the writer, which commits before it writes.
func (r *senderRun) take() {
	r.logf("take batch %d", r.batch)
	r.commit()
	for _, out := range r.filling {
		w := r.wires[out.token]
		switch {
		case w == nil:
		case out.released:
			w.released = true
		case w.released:
			r.fail("PUBLISH of %d after its PUBREL", out.token)
		case out.dup && !w.dup:
			r.fail("DUP on %d, which was never sent", out.token)
		case !out.dup && !w.fresh:
			r.fail("no DUP on %d, which was sent", out.token)
		default:
			w.dup, w.fresh = true, false
		}
	}
	r.filling = nil
	r.batch++
}

func (r *senderRun) commit() {
	_ = r.store.Commit(r.uncommitted)
	r.uncommitted, r.saved = nil, r.kept()
}

// kept returns the publications that a store must hold.
func (r *senderRun) kept() (all []Publication) {
	for _, p := range r.pubs {
		if p.qos > 0 {
			all = append(all, Publication{Seq: p.seq, Message: message(p.stored, p.token), Deadline: p.expiry().Wall, ID: p.id, Released: p.released})
		}
	}
	return all
}

// crash loses all uncommitted changes.
func (r *senderRun) crash() {
	r.logf("crash, %d changes not committed", len(r.uncommitted))
	r.uncommitted = nil
	r.restart()
}

// drain ends the session without a crash and starts a new session from the same store.
func (r *senderRun) drain() {
	keep := r.rnd.IntN(2) == 0
	r.lost(keep)
	r.check()
	r.commit()
	r.logf("drain")
	want := slices.Clone(r.pubs)
	r.s.Drain(func(e Ended[int], sent bool) {
		for _, e := range oneByOne(e) {
			if len(want) == 0 || sent == want[0].waits() {
				r.fail("%d drained, sent %v", token(e.Message), sent)
			}
			r.end(want[0], e)
			want = want[1:]
		}
	})
	if len(want) > 0 || r.s.Len()+r.s.Queued()+r.s.InFlight() != 0 || r.ids.Len() != len(r.foreign) || r.journal.Len() != 0 {
		r.fail("%d left in the model, %d in the sender, %d identifiers", len(want), r.s.Len(), r.ids.Len())
	}
	r.restart()
}

func (r *senderRun) restart() {
	_ = r.store.Detach()
	snap, err := r.store.Attach("a")
	if err != nil {
		r.fail("%v", err)
	}
	r.compare("the store", snap.Publications, r.saved)
	r.open()
	r.pubs = nil
	r.mirror = NewMemoryStore()
	for _, was := range snap.Publications {
		p := &pub{token: token(was.Message), qos: was.Message.QoS, stored: was.Message.QoS, seq: was.Seq, id: was.ID,
			released: was.Released, resumed: was.Released, sent: was.ID != 0, owned: true}
		if !was.Deadline.IsZero() {
			p.until = was.Deadline.Sub(dayBegins)
		}
		if !r.s.Restore(was, p.token, p.until) {
			r.fail("%+v was rejected", was)
		}
		r.pubs = append(r.pubs, p)
		r.wires[p.token].dup = true // the store does not record whether it was sent
		_ = r.mirror.Commit([]Change{{Kind: Accepted, Seq: was.Seq, Message: was.Message, Deadline: was.Deadline}})
		if was.ID != 0 {
			_ = r.mirror.Commit([]Change{{Kind: Assigned, Seq: was.Seq, ID: was.ID}})
		}
		if was.Released {
			_ = r.mirror.Commit([]Change{{Kind: Released, Seq: was.Seq}})
		}
	}
}

// check verifies the invariants after every step.
func (r *senderRun) check() {
	at := len(r.uncommitted)
	r.uncommitted = r.journal.MoveTo(r.uncommitted)
	_ = r.mirror.Commit(r.uncommitted[at:])
	var journaled []Publication
	for _, p := range r.mirror.publications {
		journaled = append(journaled, p)
	}
	slices.SortFunc(journaled, func(a, b Publication) int { return int(a.Seq) - int(b.Seq) })
	r.compare("the journal", journaled, r.kept())

	visited := 0
	r.s.Each(func(h Handle, _ int) {
		e, _ := r.s.Find(h)
		visited += e.Len()
	})
	queued, inFlight := 0, 0
	for _, p := range r.pubs {
		if p.waits() {
			queued++
		}
		if p.id != 0 {
			inFlight++
		}
	}
	if visited != len(r.pubs) || r.s.Queued() != queued || r.s.InFlight() != inFlight || r.s.Len() != len(r.pubs) ||
		r.ids.Len() != inFlight+len(r.foreign) {
		r.fail("queued %d, in flight %d, all %d, identifiers %d; want %d, %d, %d, %d", r.s.Queued(), r.s.InFlight(),
			r.s.Len(), r.ids.Len(), queued, inFlight, len(r.pubs), inFlight+len(r.foreign))
	}
	if n := r.outstanding(); r.s.window.outstanding != n || n > r.window {
		r.fail("%d outstanding, want %d, window %d", r.s.window.outstanding, n, r.window)
	}
	r.checkExpiry()
	r.checkRoom()
	r.checkOldest("queued", r.s.OldestQueued, (*pub).waits)
	r.checkOldest("in flight", r.s.OldestInFlight, func(p *pub) bool { return p.id != 0 })
}

// checkOldest compares the result of oldest with the first suitable publication.
func (r *senderRun) checkOldest(name string, oldest func() (uint64, time.Duration), suits func(*pub) bool) {
	want := &pub{}
	if i := slices.IndexFunc(r.pubs, suits); i >= 0 {
		want = r.pubs[i]
	}
	if seq, at := oldest(); seq != want.seq || at != want.at {
		r.fail("the oldest %s is %d of %v, want %d of %v", name, seq, at, want.seq, want.at)
	}
}

func (r *senderRun) compare(what string, got, want []Publication) {
	if !slices.EqualFunc(got, want, func(a, b Publication) bool {
		return a.Seq == b.Seq && a.ID == b.ID && a.Released == b.Released && a.Deadline.Equal(b.Deadline) &&
			a.Message.QoS == b.Message.QoS && token(a.Message) == token(b.Message)
	}) {
		r.fail("%s holds %+v, want %+v", what, got, want)
	}
}
