package flow_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// The owners that are explored, with their filters.
var exploredOwners = [...][]frames.Filter{
	{{Topic: "a", QoS: 1}},
	{{Topic: "a", QoS: 2}, {Topic: "b", QoS: 1}},
}

// Actions of subscribed. The action of owner i is its constant plus i.
const (
	subsToClient action = iota
	subsToBroker
	subsConnect
	subsAdd
	subsRemove  = subsAdd + action(len(exploredOwners))
	subsAbandon = subsRemove + action(len(exploredOwners))
	subsCut     = subsAbandon + action(len(exploredOwners))
	subsLose    = subsCut + 1
)

// subscribed is the state of Subscriptions, of the filters of a broker, and of the network. The
// broker kept filter b of an earlier process.
type subscribed struct {
	history []action // from which copy makes the state anew
	cuts    int      // that may still happen
	refuses string   // the filter that the broker refuses

	subs     *flow.Subscriptions[int]
	online   bool
	present  bool            // the broker has the session
	filters  map[string]bool // of the broker's session
	toBroker []flow.Request
	toClient []subAnswer
	phase    [len(exploredOwners)]ownerPhase
	removed  map[string]bool // an owner with the filter was removed, so that UNSUBSCRIBE is right
	wrong    string
}

type subAnswer struct {
	request flow.Request
	codes   []frames.ReasonCode
}

type ownerPhase byte

const (
	notAdded ownerPhase = iota
	ownerAsking
	ownerActive
	ownerLeaving
	ownerGone
)

func newSubscribed(cuts int, refuses string) *subscribed {
	return &subscribed{
		cuts: cuts, refuses: refuses, subs: flow.NewSubscriptions[int](new(flow.Identifiers), nil, true),
		present: true, filters: map[string]bool{"b": true}, removed: map[string]bool{},
	}
}

func (s *subscribed) copy() situation {
	c := newSubscribed(s.cuts, s.refuses)
	for _, a := range s.history {
		if a == subsCut {
			c.cuts++
		}
	}
	for _, a := range s.history {
		c.do(a)
	}
	return c
}

func (s *subscribed) broken() string     { return s.wrong }
func (s *subscribed) good(a action) bool { return a <= subsConnect }

func (s *subscribed) enabled(dst []action) []action {
	can := func(a action, ok bool) {
		if ok {
			dst = append(dst, a)
		}
	}
	can(subsToClient, len(s.toClient) > 0)
	can(subsToBroker, len(s.toBroker) > 0)
	can(subsConnect, !s.online)
	for i, p := range s.phase {
		can(subsAdd+action(i), p == notAdded)
		can(subsRemove+action(i), p == ownerActive)
		can(subsAbandon+action(i), p == ownerAsking)
	}
	can(subsCut, s.online && s.cuts > 0)
	can(subsLose, !s.online && s.present)
	return dst
}

func (s *subscribed) describe(a action) string {
	switch {
	case a == subsToClient:
		return fmt.Sprintf("the client receives the answer to %+v", s.toClient[0].request)
	case a == subsToBroker:
		return fmt.Sprintf("the broker receives %+v", s.toBroker[0])
	case a == subsConnect:
		return fmt.Sprintf("the client connects, session present %v", s.present)
	case a < subsRemove:
		return fmt.Sprintf("owner %d is added", a-subsAdd)
	case a < subsAbandon:
		return fmt.Sprintf("owner %d is removed", a-subsRemove)
	case a < subsCut:
		return fmt.Sprintf("owner %d is abandoned", a-subsAbandon)
	case a == subsCut:
		return "the connection breaks"
	}
	return "the broker loses the session"
}

func (s *subscribed) do(a action) {
	s.history = append(s.history, a)
	switch {
	case a == subsToClient:
		s.answer()
	case a == subsToBroker:
		s.receive()
	case a == subsConnect:
		s.online = true
		s.subs.Connected(s.present, false)
		s.present = true
	case a < subsRemove:
		i := int(a - subsAdd)
		s.phase[i] = ownerAsking
		s.subs.Add(i, exploredOwners[i], false)
	case a < subsAbandon:
		i := int(a - subsRemove)
		s.phase[i] = ownerLeaving
		for _, f := range exploredOwners[i] {
			s.removed[f.Topic] = true
		}
		s.subs.Remove(i)
	case a < subsCut:
		i := int(a - subsAbandon)
		s.phase[i] = ownerGone
		s.subs.Abandon(i)
	case a == subsCut:
		s.online, s.toBroker, s.toClient = false, nil, nil
		s.cuts--
		s.subs.Lost()
	default:
		s.present = false
		clear(s.filters)
	}
	for _, d := range s.subs.Ended() {
		i := d.Owner
		if s.phase[i] != ownerLeaving {
			s.fail("owner %d ends, and was not removed", i)
		}
		s.phase[i] = ownerGone
	}
	for s.online {
		r, ok := s.subs.Next(0)
		if !ok {
			break
		}
		s.toBroker = append(s.toBroker, r)
	}
}

func (s *subscribed) fail(format string, args ...any) {
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

// wants reports whether an owner in one of the phases has the filter.
func (s *subscribed) wants(topic string, phases ...ownerPhase) bool {
	for i, p := range s.phase {
		if !slices.Contains(phases, p) {
			continue
		}
		if slices.ContainsFunc(exploredOwners[i], func(f frames.Filter) bool { return f.Topic == topic }) {
			return true
		}
	}
	return false
}

// receive lets the broker handle a packet.
func (s *subscribed) receive() {
	r := s.toBroker[0]
	s.toBroker = s.toBroker[1:]
	a := subAnswer{request: r}
	for _, f := range r.Filters {
		if f.Topic == s.refuses {
			a.codes = append(a.codes, frames.UnspecifiedError)
			continue
		}
		s.filters[f.Topic] = true
		a.codes = append(a.codes, frames.ReasonCode(f.QoS))
	}
	for _, topic := range r.Topics {
		if !s.removed[topic] {
			s.fail("filter %s is unsubscribed, which no owner has given up", topic)
		}
		if s.wants(topic, ownerActive) {
			s.fail("filter %s is unsubscribed under an active owner", topic)
		}
		delete(s.filters, topic)
	}
	s.toClient = append(s.toClient, a)
}

// answer lets the client handle an answer.
func (s *subscribed) answer() {
	a := s.toClient[0]
	s.toClient = s.toClient[1:]
	if a.request.Topics != nil {
		if err := s.subs.Unsuback(a.request.ID, nil); err != nil {
			s.fail("%v", err)
		}
		return
	}
	answers, err := s.subs.Suback(a.request.ID, a.codes, func(int, int, frames.ReasonCode) {})
	if err != nil {
		s.fail("%v", err)
	}
	for _, x := range answers {
		switch x.Result {
		case flow.Granted:
			s.phase[x.Owner] = ownerActive
		case flow.Rejected, flow.Revoked:
			s.phase[x.Owner] = ownerGone
		}
	}
}

func (s *subscribed) finished() string {
	for i, p := range s.phase {
		if p == ownerAsking || p == ownerLeaving {
			return fmt.Sprintf("owner %d is asking or leaving", i)
		}
	}
	for _, topic := range []string{"a", "b"} {
		if s.wants(topic, ownerActive) && !s.filters[topic] {
			return fmt.Sprintf("the broker does not have the wanted filter %s", topic)
		}
	}
	if n := s.subs.UnderWay(); n > 0 {
		return fmt.Sprintf("%d requests have no answer", n)
	}
	return ""
}

// encode encodes every field of Subscriptions, whatever fields it has.
func (s *subscribed) encode() []byte {
	e := encoder{seen: map[uintptr]int{}}
	e.value(reflect.ValueOf(s.subs))
	fmt.Fprint(&e, s.cuts, s.online, s.present, slices.Sorted(maps.Keys(s.filters)), slices.Sorted(maps.Keys(s.removed)), s.phase, s.toBroker, s.toClient)
	return []byte(e.String())
}

// An encoder writes a value as text. Two values have the same text if they have the same structure:
// pointers are numbered in the order in which they are found.
type encoder struct {
	strings.Builder
	seen map[uintptr]int
}

func (e *encoder) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		n, known := e.seen[v.Pointer()]
		if !known && !v.IsNil() {
			n = len(e.seen) + 1
			e.seen[v.Pointer()] = n
		}
		fmt.Fprint(e, "*", n)
		if !known && !v.IsNil() {
			e.value(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			e.value(v.Field(i))
			e.WriteByte(',')
		}
	case reflect.Slice, reflect.Array:
		fmt.Fprint(e, "[", v.Len(), ":")
		for i := range v.Len() {
			e.value(v.Index(i))
			e.WriteByte(' ')
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		fmt.Fprint(e, "{", len(keys), ":")
		for _, k := range keys {
			fmt.Fprint(e, k, "=")
			e.value(v.MapIndex(k))
		}
	case reflect.Func, reflect.Interface, reflect.Chan:
		fmt.Fprint(e, v.IsNil())
	default:
		fmt.Fprint(e, v)
	}
}

// Every interleaving of two owners that share a filter, and of a broker that kept a filter of an
// earlier process: no filter is unsubscribed that no owner has given up, each owner gets an answer,
// and a good network leads to a broker that has every wanted filter.
func TestEveryInterleavingOfSubscriptionsLeadsToTheWantedFilters(t *testing.T) {
	for _, x := range []struct {
		name    string
		cuts    int
		refuses string
	}{
		{"all granted", 1, ""},
		{"b refused", 1, "b"},
		{"two cuts", 2, ""}, // with -explore.all
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.cuts > 1 && !*exploreAll {
				t.Skip("takes long: use -explore.all")
			}
			r := explore(newSubscribed(x.cuts, x.refuses))
			if r.wrong != "" {
				t.Fatal(r)
			}
			t.Log(r)
		})
	}
}
