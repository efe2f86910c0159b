package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// foreignID is the first identifier of an earlier process.
const foreignID = 1_000_000

// limit sets the rules of a new connection: some brokers take no shared filters, no wildcards or no
// large packets.
func (r *subscriptionsRun) limit(t *rapid.T) {
	r.limited, r.largest = r.limits && rapid.Bool().Draw(t, "limited"), frames.MaxPacket
	if !r.limited {
		r.s.Limit(nil, frames.MaxPacket)
		return
	}
	r.largest = 100
	r.s.Limit(r.refuse, r.largest)
}

func (r *subscriptionsRun) refuse(f frames.Filter, _ uint32) error {
	switch {
	case len(f.Topic) > 50:
		return frames.PacketTooLarge
	case strings.HasPrefix(f.Topic, "$share/"):
		return frames.SharedSubscriptionsNotSupported
	}
	return nil
}

// transmit passes a request to the broker, or refuses it in place of the broker.
func (r *subscriptionsRun) transmit(t *rapid.T, request Request) {
	for _, f := range request.Filters {
		if want := r.limited && r.refuse(f, 0) != nil; want != (request.Refused != nil) {
			t.Fatalf("SUBSCRIBE for %.12q is refused with %v, want %v", f.Topic, request.Refused, want)
		}
	}
	if request.Refused != nil {
		codes := make([]frames.ReasonCode, len(request.Filters))
		for i := range codes {
			codes[i] = request.Refused.(frames.ReasonCode)
		}
		r.suback(t, brokerAnswer{request, codes})
		return
	}
	if b, err := request.Packet(frames.V5, true).Append(nil, frames.V5); request.Topics == nil && (err != nil || len(b) > r.largest) {
		t.Fatalf("SUBSCRIBE for %v has %d bytes: %v", request.Filters, len(b), err)
	}
	for _, f := range request.Filters {
		for _, owner := range r.wanted {
			sent := r.owners[owner].sent
			sent[f.Topic] = append(sent[f.Topic], request.Identifier)
		}
	}
	r.broker.sent = append(r.broker.sent, request)
}

// checkOptions checks the options of a SUBSCRIBE that has the identifier of its owner.
func (r *subscriptionsRun) checkOptions(t *rapid.T, f frames.Filter, id uint32) {
	noLocal, asPublished, handling := true, false, frames.SendNoRetained
	for _, owner := range r.wanted {
		for _, want := range r.owners[owner].filters {
			if want.Topic != f.Topic {
				continue
			}
			noLocal, asPublished = noLocal && want.NoLocal, asPublished || want.RetainAsPublished
			if owner == int(id) {
				handling = min(handling, want.RetainHandling)
			}
		}
	}
	if f.NoLocal != noLocal || f.RetainAsPublished != asPublished || f.RetainHandling > handling {
		t.Fatalf("SUBSCRIBE %+v of %d, want no local %v, as published %v, retain handling up to %v", f, id, noLocal, asPublished, handling)
	}
	if r.owners[int(id)] == nil {
		t.Fatalf("identifier %d, which no owner has", id)
	}
}

// copies returns the identifiers of each copy of a message that the broker sends: one copy for all
// filters, or one for each.
func (b *brokerModel) copies(topic string, one bool) (copies [][]uint32) {
	var all []uint32
	for _, filter := range slices.Sorted(maps.Keys(b.filters)) {
		if !frames.Match(filter, topic) {
			continue
		}
		var ids []uint32
		if id := b.filters[filter].id; id != 0 {
			ids = []uint32{id}
		}
		copies, all = append(copies, ids), append(all, ids...)
	}
	if one && len(copies) > 0 {
		return [][]uint32{all}
	}
	return copies
}

// has reports whether the broker has a filter of an owner that matches topic, from a SUBSCRIBE for
// the owner or of an earlier process.
func (b *brokerModel) has(o *ownerModel, topic string) bool {
	return slices.ContainsFunc(o.filters, func(f frames.Filter) bool {
		held, has := b.filters[f.Topic]
		return has && frames.Match(f.Topic, topic) && (slices.Contains(o.sent[f.Topic], held.id) || held.id >= foreignID)
	})
}

// checkMessages checks that no owner misses a message, whichever requests are under way.
func (r *subscriptionsRun) checkMessages(t *rapid.T) {
	for _, topic := range modelTopics {
		for _, one := range []bool{true, false} {
			got := map[int]int{}
			copies := r.broker.copies(topic, one)
			for _, ids := range copies {
				for _, owner := range r.s.LookupFor(topic, ids) {
					got[owner]++
				}
			}
			for owner, o := range r.owners {
				if r.broker.has(o, topic) && got[owner] == 0 {
					t.Fatalf("owner %d misses the message for %.5q with identifiers %v", owner, topic, copies)
				}
				if one && got[owner] > 1 {
					t.Fatalf("owner %d gets a message for %.5q %d times", owner, topic, got[owner])
				}
			}
		}
	}
}

// checkCopies checks, when no answer is missing or was lost and the session has no filter of an
// earlier process, that an owner gets a copy if and only if it has the identifier of a filter of
// the owner (V64).
func (r *subscriptionsRun) checkCopies(t *rapid.T) {
	highest := r.highest()
	for topic, held := range r.broker.filters {
		_, wanted := highest[topic]
		if !wanted || held.id >= foreignID || r.broker.unheard {
			return
		}
	}
	for _, topic := range modelTopics {
		for _, ids := range r.broker.copies(topic, false) {
			var want []int
			for owner, o := range r.owners {
				if len(ids) == 0 || slices.ContainsFunc(o.filters, func(f frames.Filter) bool {
					held, has := r.broker.filters[f.Topic]
					return has && held.id == ids[0] && frames.Match(f.Topic, topic)
				}) {
					want = append(want, owner)
				}
			}
			got := slices.Sorted(slices.Values(r.s.LookupFor(topic, ids)))
			if slices.Sort(want); !slices.Equal(got, want) && len(r.s.Lookup(topic)) > 1 && len(ids) > 0 {
				t.Fatalf("topic %.5q with identifiers %v is for %v, want %v", topic, ids, got, want)
			}
		}
	}
}
