package frames

import "testing"

func TestParseConnackRefusesOtherPackets(t *testing.T) {
	_, err := ParseConnack(frameOf(t, encode(t, Publish{Message: Message{Topic: "a"}}, V311)), V311)
	if err == nil || err.Error() != "protocol violation: PUBLISH: came in place of CONNACK" {
		t.Error(err)
	}
}

func FuzzParseConnack(f *testing.F) {
	seed(f, Connack{}, Connack{SessionPresent: true}, Connack{Code: NotAuthorized}, Connack{Code: 200})
	// The parameter exact is false because 3.1 ignores the first byte.
	fuzzParser(f, false, ParseConnack)
}
