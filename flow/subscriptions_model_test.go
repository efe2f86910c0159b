package flow

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// modelFilters is a short list, so that owners share filters. Each of the long filters needs a
// packet of its own.
var modelFilters = []string{"a", "b/c", "b/+", "#", "$share/g/a", strings.Repeat("x", 9000), strings.Repeat("y", 9000)}

var modelTopics = []string{"a", "b/c", "b", "$SYS/a", modelFilters[5]}

// An ownerModel is an owner that has not ended.
type ownerModel struct {
	filters []frames.Filter
	each    bool
	asking  bool
	leaving bool
	codes   map[int]frames.ReasonCode // the codes on this connection, by index of the filter
	sent    map[string][]uint32       // by filter, the identifiers of the SUBSCRIBEs that were sent since Add
}

// subscriptionsRun drives a Subscriptions and a broker.
type subscriptionsRun struct {
	s      *Subscriptions[int]
	ids    Identifiers
	broker *brokerModel

	keep     bool // the broker keeps the session
	trust    bool // a broker that has the session has its filters
	refusals bool
	silence  bool // some packets get no answer
	coded    bool // UNSUBACK has codes
	limits   bool // some connections refuse filters here
	limited  bool // this connection does
	largest  int  // the largest packet of this connection

	online bool
	now    time.Duration
	last   int // the newest owner
	owners map[int]*ownerModel
	wanted []int // the wanted owners in order of Add

	before map[string]bool // the filters that the session of the broker had before this client
	taken  map[string]bool // the filters of removed owners, which may be unsubscribed

	unsubacks map[string][]frames.ReasonCode // the refusals of UNSUBSCRIBE packets, by filter
}

func newSubscriptionsRun(t *rapid.T) *subscriptionsRun {
	r := &subscriptionsRun{
		broker:   newBrokerModel(),
		keep:     rapid.Bool().Draw(t, "keep"),
		trust:    rapid.Bool().Draw(t, "trust"),
		refusals: rapid.Bool().Draw(t, "refusals"),
		silence:  rapid.Bool().Draw(t, "silence"),
		coded:    rapid.Bool().Draw(t, "UNSUBACK codes"),
		limits:   rapid.Bool().Draw(t, "limits"),
		owners:   map[int]*ownerModel{},
		before:   map[string]bool{},
		taken:    map[string]bool{},

		unsubacks: map[string][]frames.ReasonCode{},
	}
	if r.keep {
		for _, topic := range modelFilters {
			if rapid.Bool().Draw(t, "held before") {
				r.before[topic], r.broker.filters[topic] = true, brokerFilter{2, uint32(foreignID + rapid.IntRange(0, 3).Draw(t, "identifier of an earlier process"))}
			}
		}
	}
	r.s = NewSubscriptions[int](&r.ids, nil, r.keep)
	return r
}

func (r *subscriptionsRun) add(t *rapid.T) {
	r.last++
	filters := make([]frames.Filter, rapid.IntRange(1, 4).Draw(t, "filters"))
	for i := range filters {
		filters[i].Topic = modelFilters[rapid.IntRange(0, len(modelFilters)-1).Draw(t, "filter")]
		filters[i].QoS = frames.QoS(rapid.IntRange(0, 2).Draw(t, "QoS"))
		filters[i].NoLocal = rapid.Bool().Draw(t, "no local")
		filters[i].RetainAsPublished = rapid.Bool().Draw(t, "retain as published")
		filters[i].RetainHandling = frames.RetainHandling(rapid.IntRange(0, 2).Draw(t, "retain handling"))
	}
	each := rapid.Bool().Draw(t, "each")
	r.owners[r.last] = &ownerModel{filters: filters, each: each, asking: true, codes: map[int]frames.ReasonCode{}, sent: map[string][]uint32{}}
	r.wanted = append(r.wanted, r.last)
	r.s.Add(r.last, filters, each)
}

// owner draws an owner, which may have ended. Owners that have not ended are drawn more often.
func (r *subscriptionsRun) owner(t *rapid.T) int {
	if len(r.owners) > 0 && rapid.IntRange(0, 5).Draw(t, "any owner") > 0 {
		return rapid.SampledFrom(slices.Sorted(maps.Keys(r.owners))).Draw(t, "owner")
	}
	return rapid.IntRange(0, r.last).Draw(t, "owner")
}

func (r *subscriptionsRun) abandon(t *rapid.T) {
	owner := r.owner(t)
	o := r.owners[owner]
	want := o != nil && o.asking
	if got := r.s.Abandon(owner); got != want {
		t.Fatalf("Abandon of %d: %v, want %v", owner, got, want)
	}
	if want {
		r.end(t, owner)
	}
}

func (r *subscriptionsRun) remove(t *rapid.T) {
	owner := r.owner(t)
	o := r.owners[owner]
	if got := r.s.Remove(owner); got != (o != nil) {
		t.Fatalf("Remove of %d: %v", owner, got)
	}
	if o != nil {
		r.leave(owner, o)
		for _, f := range o.filters {
			r.taken[f.Topic] = true
		}
	}
}

func (r *subscriptionsRun) leave(owner int, o *ownerModel) {
	o.leaving, o.asking = true, false
	r.wanted = slices.DeleteFunc(r.wanted, func(w int) bool { return w == owner })
}

func (r *subscriptionsRun) end(t *rapid.T, owner int) {
	o := r.owners[owner]
	if o == nil {
		t.Fatalf("%d ends, and it is no owner", owner)
	}
	r.leave(owner, o)
	delete(r.owners, owner)
}

// ended takes the owners that have ended, which must be leaving.
func (r *subscriptionsRun) ended(t *rapid.T) {
	for _, d := range r.s.Ended() {
		owner := d.Owner
		o := r.owners[owner]
		if o == nil || !o.leaving {
			t.Fatalf("%d has ended", owner)
		}
		tooLarge := d.Code == frames.PacketTooLarge // an UNSUBSCRIBE that the broker does not take
		if d.Code != frames.Success && !tooLarge && !slices.ContainsFunc(o.filters, func(f frames.Filter) bool {
			return slices.Contains(r.unsubacks[f.Topic], d.Code)
		}) {
			t.Fatalf("%d has ended with code %#02x, which no UNSUBACK had", owner, byte(d.Code))
		}
		r.end(t, owner)
	}
}

// lost ends the connection, after the broker has read some of the packets.
func (r *subscriptionsRun) lost(t *rapid.T) {
	for range rapid.IntRange(0, len(r.broker.sent)).Draw(t, "applied") {
		r.apply(t)
	}
	r.broker.lost()
	r.online = false
	r.s.Lost()
}

func (r *subscriptionsRun) connect(t *rapid.T) {
	present := r.keep && rapid.IntRange(0, 3).Draw(t, "session lost") > 0
	switch {
	case !present:
		clear(r.broker.filters)
		r.broker.unheard = false
		clear(r.before)
		clear(r.taken)
	case !r.trust && rapid.Bool().Draw(t, "restored from an older state"):
		for _, topic := range slices.Sorted(maps.Keys(r.broker.filters)) {
			if rapid.Bool().Draw(t, "lost filter") {
				delete(r.broker.filters, topic)
			}
		}
	}
	r.online = true
	for _, owner := range r.wanted {
		for i, code := range r.owners[owner].codes {
			if !present || !r.trust || code >= frames.UnspecifiedError {
				delete(r.owners[owner].codes, i)
			}
		}
	}
	r.limit(t)
	r.s.Connected(present, r.trust)
}

// send passes the next packet to the broker and reports whether there was one.
func (r *subscriptionsRun) send(t *rapid.T) bool {
	request, ok := r.s.Next(r.now)
	if !ok {
		return false
	}
	if slices.Contains(r.broker.inUse(), request.ID) {
		t.Fatalf("identifier %d is in use", request.ID)
	}
	if request.Again || (len(request.Filters) == 0) == (len(request.Topics) == 0) {
		t.Fatalf("request %+v", request)
	}
	if n := len(request.Filters) + len(request.Topics); n > 8 {
		t.Fatalf("%d filters in a packet", n)
	}
	for _, topic := range request.Topics {
		if _, wanted := r.highest()[topic]; wanted || r.keep && !r.taken[topic] {
			t.Fatalf("UNSUBSCRIBE for %.12q", topic)
		}
	}
	for _, f := range request.Filters {
		if _, wanted := r.highest()[f.Topic]; !wanted {
			t.Fatalf("SUBSCRIBE for %.12q", f.Topic)
		}
		r.checkOptions(t, f, request.Identifier)
	}
	request.Filters, request.Topics = slices.Clone(request.Filters), slices.Clone(request.Topics)
	r.transmit(t, request)
	return true
}

func (r *subscriptionsRun) apply(t *rapid.T) {
	silent := r.silence && rapid.IntRange(0, 3).Draw(t, "silent") == 0
	r.broker.apply(silent, r.coded, func() frames.ReasonCode {
		return rapid.SampledFrom([]frames.ReasonCode{0, frames.NoSubscriptionExisted, failure, refusal}).Draw(t, "UNSUBACK")
	}, func() bool {
		return r.refusals && rapid.IntRange(0, 3).Draw(t, "refused") == 0
	}, func(q frames.QoS) frames.QoS {
		return q - frames.QoS(rapid.IntRange(0, int(q)).Draw(t, "granted less"))
	})
}

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
			refusals, silence, limits := r.refusals, r.silence, r.limits
			t.Repeat(map[string]func(*rapid.T){
				"":        r.check,
				"add":     r.add,
				"remove":  r.remove,
				"abandon": r.abandon,
				"lost":    when(online, r.lost),
				"connect": when(func() bool { return !r.online }, r.connect),
				"next":    when(online, func(t *rapid.T) { r.send(t) }),
				"apply":   when(func() bool { return len(r.broker.sent) > 0 }, r.apply),
				"answer":  when(func() bool { return len(r.broker.applied) > 0 }, r.answer),
				"lapse":   when(online, r.lapse),
			})
			r.settle(t)
			r.refusals, r.silence, r.limits = refusals, silence, limits
		}
	})
}
