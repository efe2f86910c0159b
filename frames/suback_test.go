package frames

import (
	"slices"
	"testing"
)

func TestSubackAppendRefusesInvalidFields(t *testing.T) {
	wantUnappended(t, Suback{Codes: []ReasonCode{0}}, V311, InvalidError{Field: "packet identifier"})
	wantUnappended(t, Suback{ID: 1}, V311, InvalidError{Field: "codes"})
	wantUnappended(t, Suback{ID: 1, Codes: make([]ReasonCode, MaxRemaining-1)}, V311,
		InvalidError{Field: "packet", Value: MaxRemaining + 1, Limit: MaxRemaining})
}

// [MQTT-3.9.3-1] The codes keep the order of the filters.
func TestSubackKeepsTheOrderOfCodes(t *testing.T) {
	want := []ReasonCode{2, UnspecifiedError, 0, 1, UnspecifiedError, 2}
	got, err := ParseSuback(frameOf(t, encode(t, Suback{ID: 1, Codes: want}, V311)), V311)
	if err != nil || !slices.Equal(got.Codes, want) {
		t.Errorf("%v, %v, want %v", got.Codes, err, want)
	}
}

func TestParseSubackOwnsItsCodes(t *testing.T) {
	f := frameOf(t, encode(t, Suback{ID: 1, Codes: []ReasonCode{2}}, V311))
	s, err := ParseSuback(f, V311)
	if err != nil {
		t.Fatal(err)
	}
	clear(f.Body)
	if s.Codes[0] != 2 {
		t.Error("the codes point into the read buffer")
	}
}

func FuzzParseSuback(f *testing.F) {
	seed(f, Suback{ID: 1, Codes: []ReasonCode{0, 1, 2, UnspecifiedError}}, Suback{ID: 65535, Codes: []ReasonCode{3}})
	fuzzParser(f, true, ParseSuback)
}
