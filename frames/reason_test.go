package frames

import (
	"errors"
	"fmt"
	"testing"
)

// C1: every code is a separate error, even the reserved codes.
func TestReasonCodesAreDistinctComparableErrors(t *testing.T) {
	seen := map[string]ReasonCode{}
	for i := range 256 {
		code := ReasonCode(i)
		if other, ok := seen[code.Error()]; ok {
			t.Errorf("codes %d and %d read the same: %v", other, code, code)
		}
		seen[code.Error()] = code
		wrapped := fmt.Errorf("connecting: %w", code)
		if !errors.Is(wrapped, code) || errors.Is(wrapped, ReasonCode(i+1)) {
			t.Errorf("code %d does not match itself alone", i)
		}
	}
	if got := ReasonCode(200).Error(); got != "reserved reason code 0xc8" {
		t.Error(got)
	}
	if !errors.Is(fmt.Errorf("%w", ReasonCode(0x87)), NotAuthorized) {
		t.Error("0x87 is not NotAuthorized")
	}
}

// C1, C2: the return codes of 3.1 and 3.1.1 are translated in both directions, and reserved codes
// keep their value.
func TestReturnCodesAreTranslatedBothWays(t *testing.T) {
	for raw, want := range map[byte]ReasonCode{
		0: Success, 1: UnsupportedProtocolVersion, 2: ClientIdentifierNotValid,
		3: ServerUnavailable, 4: BadUserNameOrPassword, 5: NotAuthorized, 6: 6, 255: 255,
	} {
		got := reasonOf(raw)
		if got != want || got.returnCode() != raw {
			t.Errorf("return code %d is %v and is translated back to %d, want %v", raw, got, got.returnCode(), want)
		}
	}
}

func TestCodeOfAsksTheError(t *testing.T) {
	for err, want := range map[error]ReasonCode{
		errors.New("none"):                            UnspecifiedError,
		fmt.Errorf("it is %w", NotAuthorized):         NotAuthorized,
		fmt.Errorf("it is %w", &ProtocolError{}):      ProtocolViolation,
		errors.Join(errors.New(""), &TooLargeError{}): PacketTooLarge,
	} {
		if got := CodeOf(err); got != want {
			t.Errorf("%v has the code %v, want %v", err, got, want)
		}
	}
}
