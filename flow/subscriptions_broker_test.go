package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// A brokerModel applies SUBSCRIBE and UNSUBSCRIBE packets in the order of sending. It keeps one QoS
// for each filter, from the last SUBSCRIBE. If the broker refuses a filter, an earlier subscription
// to this filter stays.
type brokerModel struct {
	filters map[string]frames.QoS
	sent    []Request      // packets sent and not applied yet
	applied []brokerAnswer // answers that the client has not received yet

	// Filters that were refused in this session. When an owner ends, no UNSUBSCRIBE is sent for the
	// filters that were refused to this owner. The broker may therefore keep such a filter from
	// another SUBSCRIBE.
	stranded map[string]bool
}

// A brokerAnswer is a SUBACK or an UNSUBACK.
type brokerAnswer struct {
	request Request
	codes   []frames.ReasonCode // of a SUBACK
}

func newBrokerModel() *brokerModel {
	return &brokerModel{filters: map[string]frames.QoS{}, stranded: map[string]bool{}}
}

// apply applies the oldest packet. For each filter of a SUBSCRIBE, refuse reports whether the
// broker refuses it, and grant returns the QoS in the SUBACK.
func (b *brokerModel) apply(refuse func() bool, grant func(q frames.QoS) frames.QoS) {
	r := b.sent[0]
	b.sent = b.sent[1:]
	a := brokerAnswer{request: r}
	for _, topic := range r.Topics {
		delete(b.filters, topic)
	}
	for _, f := range r.Filters {
		if refuse() {
			a.codes = append(a.codes, frames.UnspecifiedError)
			b.stranded[f.Topic] = true
			continue
		}
		b.filters[f.Topic] = f.QoS
		a.codes = append(a.codes, frames.ReasonCode(grant(f.QoS)))
	}
	b.applied = append(b.applied, a)
}

// lost ends the connection and drops all packets and answers under way.
func (b *brokerModel) lost() { b.sent, b.applied = nil, nil }

// forget ends the session.
func (b *brokerModel) forget() {
	clear(b.filters)
	clear(b.stranded)
}

// answer removes one answer, not always the oldest, and returns it.
func (b *brokerModel) answer(t *rapid.T) brokerAnswer {
	i := rapid.IntRange(0, len(b.applied)-1).Draw(t, "answer")
	a := b.applied[i]
	b.applied = slices.Delete(b.applied, i, i+1)
	return a
}

// inUse returns the identifiers of the packets without an answer.
func (b *brokerModel) inUse() (ids []uint16) {
	for _, r := range b.sent {
		ids = append(ids, r.ID)
	}
	for _, a := range b.applied {
		ids = append(ids, a.request.ID)
	}
	slices.Sort(ids)
	return ids
}
