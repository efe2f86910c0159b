package flow

import (
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// answer passes one answer of the broker to the Subscriptions.
func (r *subscriptionsRun) answer(t *rapid.T) {
	a := r.broker.answer(t)
	if a.codes != nil {
		r.suback(t, a)
		return
	}
	owner, ended, err := r.s.Unsuback(a.request.ID)
	if err != nil {
		t.Fatal(err)
	}
	if ended {
		if o := r.owners[owner]; o == nil || !o.leaving {
			t.Fatalf("%d ends by an UNSUBACK", owner)
		}
		r.end(t, owner)
	}
}

// suback compares the Answer with all codes for the owner since its filters were last requested.
func (r *subscriptionsRun) suback(t *rapid.T, a brokerAnswer) {
	got, err := r.s.Suback(a.request.ID, a.codes)
	if err != nil {
		t.Fatal(err)
	}
	want := Unchanged
	var refused []frames.Filter
	if o := r.owners[got.Owner]; o != nil {
		for i, code := range got.Codes {
			if f := o.filters[got.First+i]; f.Topic != a.request.Filters[i].Topic {
				t.Fatalf("the code for filter %q is reported for filter %q", a.request.Filters[i].Topic, f.Topic)
			}
			o.codes[got.First+i] = code
		}
		want, refused = o.result()
	}
	if got.Result != want || len(got.Refused) != len(refused) {
		t.Fatalf("owner %d: result %d, refused %v, want %d, %v", got.Owner, got.Result, got.Refused, want, refused)
	}
	for _, f := range refused { // got.Refused is in the order of the answers
		if !slices.Contains(got.Refused, f) {
			t.Fatalf("owner %d: refused %v, want %v", got.Owner, got.Refused, refused)
		}
	}
	switch want {
	case Granted:
		r.owners[got.Owner].asking = false
	case Rejected, Revoked:
		r.end(t, got.Owner)
	}
}

func (o *ownerModel) result() (result Result, refused []frames.Filter) {
	if o.leaving || len(o.codes) < len(o.filters) {
		return Unchanged, nil
	}
	for i, code := range o.codes {
		if code >= frames.UnspecifiedError {
			refused = append(refused, o.filters[i])
		}
	}
	switch {
	case len(refused) > 0 && o.asking:
		return Rejected, refused
	case len(refused) > 0:
		return Revoked, refused
	case o.asking:
		return Granted, nil
	}
	return Unchanged, nil
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
	if n := len(r.broker.inUse()); r.s.UnderWay() != n || r.ids.Len() != n {
		t.Fatalf("%d requests under way, %d identifiers in use, want %d", r.s.UnderWay(), r.ids.Len(), n)
	}
	for topic := range r.highest() {
		if slices.Contains(r.s.unsubscribed, topic) {
			t.Fatalf("%.5q is wanted, and its messages are dropped", topic)
		}
	}
}

// settle lets the broker grant every request. Then it checks that the broker has exactly the
// filters of the wanted owners, except for filters refused earlier, which are in stranded.
func (r *subscriptionsRun) settle(t *rapid.T) {
	r.refusals = false
	if !r.online {
		r.restore(t)
		r.check(t)
	}
	for r.send(t) || len(r.broker.sent)+len(r.broker.applied) > 0 {
		if len(r.broker.sent) > 0 {
			r.apply(t)
		}
		r.answer(t)
		r.check(t)
	}
	if len(r.s.Leaving()) > 0 || r.s.UnderWay() > 0 {
		t.Fatalf("leaving: %v, under way: %d", r.s.Leaving(), r.s.UnderWay())
	}
	highest := r.highest()
	for topic, q := range highest {
		if got, has := r.broker.filters[topic]; !has || got < q {
			t.Fatalf("the broker has %.12q: %v, with QoS %d, want %d", topic, has, got, q)
		}
	}
	for topic := range r.broker.filters {
		if _, want := highest[topic]; !want && !r.broker.stranded[topic] {
			t.Fatalf("the broker has %.12q, and nobody wants it", topic)
		}
	}
	for owner, o := range r.owners {
		if o.asking {
			t.Fatalf("%d was not granted", owner)
		}
	}
}

// The model has no Retry, with which a repeated SUBSCRIBE can arrive after a newer SUBSCRIBE for
// the same filter.
func TestSubscriptionsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newSubscriptionsRun(t)
		when := func(ready func() bool, step func(t *rapid.T)) func(t *rapid.T) {
			return func(t *rapid.T) {
				if !ready() {
					t.Skip()
				}
				step(t)
			}
		}
		online := func() bool { return r.online }
		for range 4 { // each round begins when all requests are answered
			refusals := r.refusals
			t.Repeat(map[string]func(*rapid.T){
				"":        r.check,
				"add":     r.add,
				"remove":  r.remove,
				"abandon": r.abandon,
				"lost":    when(online, r.lost),
				"restore": when(func() bool { return !r.online }, r.restore),
				"next":    when(online, func(t *rapid.T) { r.send(t) }),
				"apply":   when(func() bool { return len(r.broker.sent) > 0 }, r.apply),
				"answer":  when(func() bool { return len(r.broker.applied) > 0 }, r.answer),
			})
			r.settle(t)
			r.refusals = refusals
		}
	})
}
