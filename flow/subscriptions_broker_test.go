package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// A brokerModel applies SUBSCRIBE and UNSUBSCRIBE packets in the order of sending. It keeps one QoS
// and one identifier for each filter, from the last SUBSCRIBE. If the broker refuses a filter, an
// earlier subscription to this filter stays.
type brokerModel struct {
	filters map[string]brokerFilter
	sent    []Request      // packets sent and not applied yet
	applied []brokerAnswer // answers that the client has not received yet
	silent  []Request      // applied packets that get no answer
	unheard bool           // a connection has ended before the answer to an applied packet came
}

type brokerFilter struct {
	qos frames.QoS
	id  uint32
}

// A brokerAnswer is a SUBACK or an UNSUBACK.
type brokerAnswer struct {
	request Request
	codes   []frames.ReasonCode // nil: of an UNSUBACK before MQTT 5
}

func newBrokerModel() *brokerModel { return &brokerModel{filters: map[string]brokerFilter{}} }

// apply applies the oldest packet. For each filter of a SUBSCRIBE, refuse reports whether the
// broker refuses it, and grant returns the QoS in the SUBACK. For each filter of an UNSUBSCRIBE,
// which the broker always applies, leave returns the code in the UNSUBACK if coded is set.
func (b *brokerModel) apply(silent, coded bool, leave func() frames.ReasonCode, refuse func() bool, grant func(q frames.QoS) frames.QoS) {
	r := b.sent[0]
	b.sent = b.sent[1:]
	a := brokerAnswer{request: r}
	for _, topic := range r.Topics {
		delete(b.filters, topic)
		if coded {
			a.codes = append(a.codes, leave())
		}
	}
	for _, f := range r.Filters {
		if refuse() {
			a.codes = append(a.codes, frames.UnspecifiedError)
			continue
		}
		b.filters[f.Topic] = brokerFilter{f.QoS, r.Identifier}
		a.codes = append(a.codes, frames.ReasonCode(grant(f.QoS)))
	}
	if silent {
		b.silent = append(b.silent, r)
		return
	}
	b.applied = append(b.applied, a)
}

// lost ends the connection and drops all packets and answers under way.
func (b *brokerModel) lost() {
	b.unheard = b.unheard || len(b.applied)+len(b.silent) > 0
	b.sent, b.applied, b.silent = nil, nil, nil
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
	for _, r := range slices.Concat(b.sent, b.silent) {
		ids = append(ids, r.ID)
	}
	for _, a := range b.applied {
		ids = append(ids, a.request.ID)
	}
	slices.Sort(ids)
	return ids
}
