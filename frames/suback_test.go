package frames

import (
	"slices"
	"testing"
)

func TestSubackAppendRefusesWhatCannotBeEncoded(t *testing.T) {
	wantUnappended(t, Suback{Granted: []QoS{0}}, V311, InvalidError{Field: "packet identifier"})
	wantUnappended(t, Suback{ID: 1}, V311, InvalidError{Field: "granted"})
	wantUnappended(t, Suback{ID: 1, Granted: make([]QoS, MaxRemaining-1)}, V311,
		InvalidError{Field: "packet", Value: MaxRemaining + 1, Limit: MaxRemaining})
}

// [MQTT-3.9.3-1] the codes stay in the order of the filters.
func TestSubackKeepsTheOrderOfCodes(t *testing.T) {
	want := []QoS{2, Refused, 0, 1, Refused, 2}
	got, err := ParseSuback(frameOf(t, encode(t, Suback{ID: 1, Granted: want}, V311)), V311)
	if err != nil || !slices.Equal(got.Granted, want) {
		t.Errorf("%v, %v, want %v", got.Granted, err, want)
	}
}

func TestParseSubackOwnsItsCodes(t *testing.T) {
	f := frameOf(t, encode(t, Suback{ID: 1, Granted: []QoS{2}}, V311))
	s, err := ParseSuback(f, V311)
	if err != nil {
		t.Fatal(err)
	}
	clear(f.Body)
	if s.Granted[0] != 2 {
		t.Error("the codes lie in the read buffer")
	}
}

func FuzzParseSuback(f *testing.F) {
	seed(f, Suback{ID: 1, Granted: []QoS{0, 1, 2, Refused}}, Suback{ID: 65535, Granted: []QoS{3}})
	fuzzParser(f, true, ParseSuback)
}
