package flow

import (
	"maps"
	"slices"
	"strings"

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
	asking  bool
	leaving bool
	codes   map[int]frames.ReasonCode // the codes since its filters were last requested, by index of the filter
}

// subscriptionsRun drives a Subscriptions and a broker.
type subscriptionsRun struct {
	s      *Subscriptions[int]
	ids    Identifiers
	broker *brokerModel

	keep     bool // the client asks the broker to keep the session
	v31      bool // the broker does not say whether it has kept the session
	refusals bool

	online bool
	last   int // the newest owner
	owners map[int]*ownerModel
	wanted []int // the wanted owners in order of Add
}

func newSubscriptionsRun(t *rapid.T) *subscriptionsRun {
	r := &subscriptionsRun{
		broker:   newBrokerModel(),
		keep:     rapid.Bool().Draw(t, "keep"),
		v31:      rapid.Bool().Draw(t, "3.1"),
		refusals: rapid.Bool().Draw(t, "refusals"),
		owners:   map[int]*ownerModel{},
	}
	r.s = NewSubscriptions[int](&r.ids, nil)
	return r
}

func (r *subscriptionsRun) add(t *rapid.T) {
	r.last++
	filters := make([]frames.Filter, rapid.IntRange(1, 4).Draw(t, "filters"))
	for i := range filters {
		filters[i].Topic = modelFilters[rapid.IntRange(0, len(modelFilters)-1).Draw(t, "filter")]
		filters[i].QoS = frames.QoS(rapid.IntRange(0, 2).Draw(t, "QoS"))
	}
	r.owners[r.last] = &ownerModel{filters: filters, asking: true, codes: map[int]frames.ReasonCode{}}
	r.wanted = append(r.wanted, r.last)
	r.s.Add(r.last, filters, r.online)
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
	if got := r.s.Abandon(owner, r.online || r.keep); got != want {
		t.Fatalf("Abandon of %d: %v, want %v", owner, got, want)
	}
	if want {
		r.end(t, owner)
	}
}

func (r *subscriptionsRun) remove(t *rapid.T) {
	owner := r.owner(t)
	o := r.owners[owner]
	ended := r.s.Remove(owner, r.online, r.keep)
	switch {
	case o == nil:
		if !ended {
			t.Fatalf("%d ends a second time", owner)
		}
	case o.leaving:
		if ended {
			t.Fatalf("%d ends without UNSUBACK", owner)
		}
	case ended:
		r.end(t, owner)
	default:
		r.leave(owner, o)
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

// lost ends the connection, after the broker has read some of the packets.
func (r *subscriptionsRun) lost(t *rapid.T) {
	for range rapid.IntRange(0, len(r.broker.sent)).Draw(t, "applied") {
		r.apply(t)
	}
	r.broker.lost()
	r.online = false
	if !r.keep {
		r.broker.forget()
	}
	for _, owner := range r.s.Lost(r.keep) {
		if o := r.owners[owner]; o == nil || !o.leaving {
			t.Fatalf("%d ends with the connection", owner)
		}
		r.end(t, owner)
	}
}

func (r *subscriptionsRun) restore(t *rapid.T) {
	present := r.keep && rapid.IntRange(0, 3).Draw(t, "session lost") > 0
	if !present {
		r.broker.forget()
	}
	kept := present || r.keep && r.v31
	all := !kept || r.v31
	r.online = true
	for _, owner := range r.wanted {
		if o := r.owners[owner]; all || o.asking || len(o.codes) < len(o.filters) {
			clear(o.codes)
		}
	}
	for _, owner := range r.s.Restore(kept, all) {
		r.end(t, owner)
	}
}

// send passes the next packet to the broker and reports whether there was one.
func (r *subscriptionsRun) send(t *rapid.T) bool {
	request, ok := r.s.Next(0)
	if !ok {
		return false
	}
	if slices.Contains(r.broker.inUse(), request.ID) {
		t.Fatalf("identifier %d is in use", request.ID)
	}
	if request.Again || (len(request.Filters) == 0) == (len(request.Topics) == 0) {
		t.Fatalf("request %+v", request)
	}
	request.Filters, request.Topics = slices.Clone(request.Filters), slices.Clone(request.Topics)
	r.broker.sent = append(r.broker.sent, request)
	return true
}

func (r *subscriptionsRun) apply(t *rapid.T) {
	r.broker.apply(func() bool {
		return r.refusals && rapid.IntRange(0, 3).Draw(t, "refused") == 0
	}, func(q frames.QoS) frames.QoS {
		return q - frames.QoS(rapid.IntRange(0, int(q)).Draw(t, "granted less"))
	})
}
