package frames

import (
	"errors"
	"fmt"
	"testing"
)

// C1, C2: each code is an error of its own, the reserved ones too.
func TestConnackCodesAreDistinctComparableErrors(t *testing.T) {
	seen := map[string]ConnackCode{}
	for i := range 256 {
		code := ConnackCode(i)
		if other, ok := seen[code.Error()]; ok {
			t.Errorf("codes %d and %d read the same: %v", other, code, code)
		}
		seen[code.Error()] = code
		wrapped := fmt.Errorf("connecting: %w", code)
		if !errors.Is(wrapped, code) || errors.Is(wrapped, ConnackCode(i+1)) {
			t.Errorf("code %d is not told apart", i)
		}
	}
	if got := ConnackCode(200).Error(); got != "connection refused: reserved code 200" {
		t.Error(got)
	}
	if !errors.Is(fmt.Errorf("%w", ConnackCode(5)), NotAuthorized) {
		t.Error("5 is not NotAuthorized")
	}
}

func TestParseConnackRefusesOtherPackets(t *testing.T) {
	_, err := ParseConnack(frameOf(t, encode(t, Publish{Message: Message{Topic: "a"}}, V311)), V311)
	if err == nil || err.Error() != "protocol violation: PUBLISH: came in place of CONNACK" {
		t.Error(err)
	}
}

func FuzzParseConnack(f *testing.F) {
	seed(f, Connack{}, Connack{SessionPresent: true}, Connack{Code: NotAuthorized}, Connack{Code: 200})
	// Not exact: 3.1 does not look at the first byte.
	fuzzParser(f, false, ParseConnack)
}
