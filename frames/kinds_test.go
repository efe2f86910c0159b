package frames

import (
	"fmt"
	"testing"
)

func TestKindsAreNamedAsInTheStandard(t *testing.T) {
	for _, c := range []struct {
		kind fmt.Stringer
		want string
	}{
		{V31, "3.1"},
		{V311, "3.1.1"},
		{Version(9), "Version(9)"},
		{AtMostOnce, "at most once"},
		{AtLeastOnce, "at least once"},
		{ExactlyOnce, "exactly once"},
		{QoS(0x80), "QoS(128)"},
		{QoS(3), "QoS(3)"},
		{Type(0), "Type(0)"},
		{TypeConnect, "CONNECT"},
		{TypePubcomp, "PUBCOMP"},
		{TypeDisconnect, "DISCONNECT"},
		{TypeAuth, "AUTH"},
		{Type(16), "Type(16)"},
		{V5, "5"},
	} {
		if got := c.kind.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestTypesHaveTheNumbersOfTheStandard(t *testing.T) {
	for want, kind := range []Type{
		1: TypeConnect, 2: TypeConnack, 3: TypePublish, 4: TypePuback, 5: TypePubrec, 6: TypePubrel, 7: TypePubcomp,
		8: TypeSubscribe, 9: TypeSuback, 10: TypeUnsubscribe, 11: TypeUnsuback, 12: TypePingreq, 13: TypePingresp,
		14: TypeDisconnect,
	} {
		if int(kind) != want {
			t.Errorf("%v is %d, want %d", kind, kind, want)
		}
	}
}
