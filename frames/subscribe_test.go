package frames

import (
	"slices"
	"strings"
	"testing"
)

func TestFilterValidateNamesFieldAndLimit(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, c := range []struct {
		f    Filter
		v    Version
		want InvalidError
	}{
		{Filter{Topic: ""}, V311, InvalidError{Field: "filter"}},
		{Filter{Topic: "a#"}, V311, InvalidError{Field: "filter"}},
		{Filter{Topic: "a", QoS: 3}, V311, InvalidError{Field: "QoS", Value: 3, Limit: 2}},
		{Filter{Topic: long}, V311, InvalidError{Field: "filter", Value: 65536, Limit: 65535}},
		{Filter{Topic: long[:32768]}, V31, InvalidError{Field: "filter", Value: 32768, Limit: 32767}},
	} {
		wantInvalid(t, c.f.Validate(c.v), c.want)
	}
	if err := (Filter{Topic: "$share/g/a/#", QoS: 2}).Validate(V311); err != nil {
		t.Error(err)
	}
}

func TestSubscribeAppendRefusesInvalidFields(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, c := range []struct {
		s    Subscribe
		want InvalidError
	}{
		{Subscribe{ID: 1}, InvalidError{Field: "filters"}},
		{Subscribe{Filters: []Filter{{Topic: "a"}}}, InvalidError{Field: "packet identifier"}},
		{Subscribe{ID: 1, Filters: []Filter{{Topic: "a", QoS: 3}}}, InvalidError{Field: "QoS", Value: 3, Limit: 2}},
		{Subscribe{ID: 1, Filters: []Filter{{Topic: long}}}, InvalidError{Field: "filter", Value: 65536, Limit: 65535}},
		{ // the identifier, and 4096 filters of 65,538 bytes
			Subscribe{ID: 1, Filters: slices.Repeat([]Filter{{Topic: long[1:]}}, 4096)},
			InvalidError{Field: "packet", Value: 2 + 4096*65538, Limit: MaxRemaining},
		},
	} {
		wantUnappended(t, c.s, V311, c.want)
	}
}

// Append writes DUP only in 3.1 [MQTT-3.8.1-1] [MQTT-3.10.1-1], so code that resends can always set
// it.
func TestSubscribeAndUnsubscribeWriteDUPIn31Only(t *testing.T) {
	for _, c := range []struct {
		v    Version
		p    Packet
		want byte
	}{
		{V31, Subscribe{ID: 1, DUP: true, Filters: []Filter{{Topic: "a"}}}, 0x8A},
		{V311, Subscribe{ID: 1, DUP: true, Filters: []Filter{{Topic: "a"}}}, 0x82},
		{V31, Unsubscribe{ID: 1, DUP: true, Topics: []string{"a"}}, 0xAA},
		{V311, Unsubscribe{ID: 1, DUP: true, Topics: []string{"a"}}, 0xA2},
	} {
		if got := encode(t, c.p, c.v)[0]; got != c.want {
			t.Errorf("%v in %v: %#x, want %#x", c.p.Type(), c.v, got, c.want)
		}
	}
}

// E5, only for the encoding.
func TestSubscribeHoldsManyFilters(t *testing.T) {
	s := Subscribe{ID: 1, Filters: slices.Repeat([]Filter{{Topic: "a/+", QoS: 1}}, 10_000)}
	got, err := ParseSubscribe(frameOf(t, encode(t, s, V311)), V311)
	if err != nil || !slices.Equal(got.Filters, s.Filters) {
		t.Errorf("%d filters, %v", len(got.Filters), err)
	}
}

func FuzzParseSubscribe(f *testing.F) {
	seed(f,
		Subscribe{ID: 1, Filters: []Filter{{Topic: "a/#", QoS: 2}}},
		Subscribe{ID: 65535, DUP: true, Filters: []Filter{{Topic: "+"}, {Topic: "$share/g/a", QoS: 1}}},
	)
	fuzzParser(f, true, ParseSubscribe)
}
