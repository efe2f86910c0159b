package frames

import (
	"slices"
	"strings"
	"testing"
)

func TestUnsubscribeAppendRefusesInvalidFields(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, c := range []struct {
		u    Unsubscribe
		want InvalidError
	}{
		{Unsubscribe{ID: 1}, InvalidError{Field: "filters"}},
		{Unsubscribe{Topics: []string{"a"}}, InvalidError{Field: "packet identifier"}},
		{Unsubscribe{ID: 1, Topics: []string{long}}, InvalidError{Field: "filter", Value: 65536, Limit: 65535}},
		{ // the identifier, and 4097 filters of 65,537 bytes
			Unsubscribe{ID: 1, Topics: slices.Repeat([]string{long[1:]}, 4097)},
			InvalidError{Field: "packet", Value: 2 + 4096*65537, Limit: MaxRemaining},
		},
	} {
		wantUnappended(t, c.u, V311, c.want)
	}
}

func FuzzParseUnsubscribe(f *testing.F) {
	seed(f,
		Unsubscribe{ID: 1, Topics: []string{"a/#"}},
		Unsubscribe{ID: 65535, DUP: true, Topics: []string{"+", "$share/g/a"}},
	)
	fuzzParser(f, true, ParseUnsubscribe)
}
