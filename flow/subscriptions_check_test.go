package flow

import (
	"maps"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// answer passes one answer of the broker to the Subscriptions.
func (r *subscriptionsRun) answer(t *rapid.T) {
	a := r.broker.answer(t)
	if a.request.Topics == nil {
		r.suback(t, a)
		return
	}
	for i, topic := range a.request.Topics {
		if a.codes != nil && a.codes[i] >= frames.UnspecifiedError {
			r.unsubacks[topic] = append(r.unsubacks[topic], a.codes[i])
		}
	}
	if err := r.s.Unsuback(a.request.ID, a.codes); err != nil {
		t.Fatal(err)
	}
}

// suback compares the Answers with all codes for the owners on this connection.
func (r *subscriptionsRun) suback(t *rapid.T, a brokerAnswer) {
	touched := map[int]bool{}
	answers, err := r.s.Suback(a.request.ID, a.codes, func(owner, index int, code frames.ReasonCode) {
		o := r.owners[owner]
		if o == nil || o.leaving {
			t.Fatalf("a code for %d, which is not wanted", owner)
		}
		if _, has := o.codes[index]; has {
			t.Fatalf("filter %d of %d is answered twice", index, owner)
		}
		at := slices.IndexFunc(a.request.Filters, func(f frames.Filter) bool { return f.Topic == o.filters[index].Topic })
		if at < 0 || a.codes[at] != code || a.request.Filters[at].QoS < o.filters[index].QoS {
			t.Fatalf("code %d for filter %d of %d", code, index, owner)
		}
		o.codes[index] = code
		touched[owner] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range answers {
		want, refused := r.owners[got.Owner].result()
		if got.Result != want || !slices.Equal(got.Refused, refused) || !touched[got.Owner] {
			t.Fatalf("owner %d: result %d, refused %v, want %d, %v", got.Owner, got.Result, got.Refused, want, refused)
		}
		delete(touched, got.Owner)
		r.owners[got.Owner].asking = false
		if want == Rejected || want == Revoked {
			r.end(t, got.Owner)
		}
	}
	for owner := range touched {
		if want, _ := r.owners[owner].result(); want != 0 {
			t.Fatalf("owner %d: no answer, want %d", owner, want)
		}
	}
}

func (o *ownerModel) result() (result Result, refused []frames.Filter) {
	if o.leaving || len(o.codes) < len(o.filters) {
		return 0, nil
	}
	for i, f := range o.filters {
		if o.codes[i] >= frames.UnspecifiedError {
			refused = append(refused, f)
		}
	}
	switch {
	case len(refused) > 0 && o.each:
		return Partly, refused
	case len(refused) > 0 && o.asking:
		return Rejected, refused
	case len(refused) > 0:
		return Revoked, refused
	case o.asking || o.each:
		return Granted, nil
	}
	return 0, nil
}

// lapse lets a PINGREQ be answered long after all packets were sent. A packet that the broker has
// not applied yet may lapse, too.
func (r *subscriptionsRun) lapse(t *rapid.T) {
	r.s.Pinged()
	r.s.Ponged()
	r.now += time.Minute
	ended, _, next := r.s.Lapse(r.now, time.Minute)
	if next != 0 || r.s.UnderWay() != 0 {
		t.Fatalf("%d requests are under way, next %v", r.s.UnderWay(), next)
	}
	for _, e := range ended {
		o := r.owners[e.Owner]
		if o == nil || o.leaving != (e.Type == frames.TypeUnsubscribe) || !o.leaving && (!o.asking || o.each) {
			t.Fatalf("%d ends without an answer to %v", e.Owner, e.Type)
		}
		r.end(t, e.Owner)
	}
}

// highest returns the filters of the wanted owners, each with its highest QoS.
func (r *subscriptionsRun) highest() map[string]frames.QoS {
	highest := map[string]frames.QoS{}
	for _, owner := range r.wanted {
		for _, f := range r.owners[owner].filters {
			highest[f.Topic] = max(highest[f.Topic], f.QoS)
		}
	}
	return highest
}

// check verifies the invariants; it runs after every step.
func (r *subscriptionsRun) check(t *rapid.T) {
	r.ended(t)
	r.checkMessages(t)
	for _, topic := range modelTopics {
		var want []int
		for owner, o := range r.owners {
			if slices.ContainsFunc(o.filters, func(f frames.Filter) bool { return f.Match(topic) }) {
				want = append(want, owner)
			}
		}
		got := slices.Clone(r.s.Lookup(topic))
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Fatalf("topic %.5q is for %v, want %v", topic, got, want)
		}
	}
	var wanted []int
	r.s.EachWanted(func(owner int, asking bool) {
		wanted = append(wanted, owner)
		if o := r.owners[owner]; o == nil || o.asking != asking {
			t.Fatalf("%d is asking: %v", owner, asking)
		}
	})
	leaving := r.s.Leaving()
	if !slices.Equal(wanted, r.wanted) || r.s.Wanted() != len(wanted) || len(leaving)+len(wanted) != len(r.owners) {
		t.Fatalf("wanted %v, leaving %v; want %v of %d", wanted, leaving, r.wanted, len(r.owners))
	}
	if n := len(r.broker.inUse()); r.ids.Len() != n || r.s.UnderWay() > n {
		t.Fatalf("%d requests under way, %d identifiers in use, want %d", r.s.UnderWay(), r.ids.Len(), n)
	}
	highest := r.highest()
	for _, x := range r.s.parting {
		if _, wanted := highest[x.topic]; wanted || r.keep && !r.taken[x.topic] {
			t.Fatalf("messages for %.5q are dropped", x.topic)
		}
	}
}

// settle lets the broker answer and grant every request of a new connection. Then it checks that
// the broker has the filters of the wanted owners, and others only if they belong to a kept
// session.
func (r *subscriptionsRun) settle(t *rapid.T) {
	r.refusals, r.silence, r.limits = false, false, false
	if r.online && r.limited {
		r.lost(t)
	}
	if r.online && len(r.broker.silent) > 0 {
		r.lost(t)
	}
	if !r.online {
		r.check(t)
		r.connect(t)
		r.check(t)
	}
	for r.send(t) || len(r.broker.sent)+len(r.broker.applied) > 0 {
		if len(r.broker.sent) > 0 {
			r.apply(t)
		}
		r.answer(t)
		r.check(t)
	}
	if len(r.s.Leaving()) > 0 || r.s.UnderWay() > 0 || len(r.s.parting) > 0 {
		t.Fatalf("leaving: %v, under way: %d, to unsubscribe: %d", r.s.Leaving(), r.s.UnderWay(), len(r.s.parting))
	}
	highest := r.highest()
	for _, owner := range r.wanted {
		o := r.owners[owner]
		if o.asking {
			t.Fatalf("%d was not answered", owner)
		}
		for i, f := range o.filters {
			if o.codes[i] >= frames.UnspecifiedError {
				continue
			}
			if got, has := r.broker.filters[f.Topic]; !has || got.qos < f.QoS {
				t.Fatalf("the broker has %.12q: %v, with QoS %d, want %d", f.Topic, has, got, highest[f.Topic])
			}
		}
	}
	for topic := range r.broker.filters {
		if _, want := highest[topic]; !want && !r.keep {
			t.Fatalf("the broker has %.12q, and nobody wants it", topic)
		}
	}
	if len(r.s.filters) > len(highest) {
		t.Fatalf("%d filters are remembered, %d are wanted", len(r.s.filters), len(highest))
	}
	for topic := range r.before {
		if _, has := r.broker.filters[topic]; !has && !r.taken[topic] && r.trust {
			t.Fatalf("%.12q was taken out of the session", topic)
		}
	}
	r.checkCopies(t)
	maps.DeleteFunc(r.before, func(topic string, _ bool) bool { return r.taken[topic] })
	clear(r.taken)
}
