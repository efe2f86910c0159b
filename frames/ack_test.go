package frames

import "testing"

var ackKinds = []Type{TypePuback, TypePubrec, TypePubrel, TypePubcomp}

func TestAckAppendRefusesInvalidFields(t *testing.T) {
	for _, kind := range ackKinds {
		wantUnappended(t, Ack{Kind: kind}, V311, InvalidError{Field: "packet identifier"})
	}
	for _, kind := range []Type{0, TypeConnect, TypePublish, TypeSubscribe, TypeSuback, TypeUnsuback, TypePingresp, TypeDisconnect, 15} {
		wantUnappended(t, Ack{Kind: kind, ID: 1}, V311, InvalidError{Field: "kind"})
	}
}

// Append writes DUP only for a PUBREL of 3.1 [MQTT-3.6.1-1], so code that resends can always set
// it.
func TestAckWritesDUPWhereThereIsOne(t *testing.T) {
	for _, v := range []Version{V31, V311} {
		for _, kind := range ackKinds {
			plain := encode(t, Ack{Kind: kind, ID: 1}, v)[0]
			want := plain
			if v == V31 && kind == TypePubrel {
				want = 0x6A
			}
			if got := encode(t, Ack{Kind: kind, ID: 1, DUP: true}, v)[0]; got != want {
				t.Errorf("%v in %v: %#x, want %#x", kind, v, got, want)
			}
		}
	}
}

func TestParseAckRefusesOtherPackets(t *testing.T) {
	for _, p := range []Packet{Suback{ID: 1, Codes: []ReasonCode{0}}, Pingresp{}, Connack{}} {
		_, err := ParseAck(frameOf(t, encode(t, p, V311)), V311)
		if want := "protocol violation: " + p.Type().String() + ": came in place of an acknowledgment"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := ParseAck(Frame{0xF0, nil}, V311); err == nil || err.Error() != "protocol violation: packet type 15 is reserved" {
		t.Error(err)
	}
}

func FuzzParseAck(f *testing.F) {
	for _, kind := range ackKinds {
		seed(f, Ack{Kind: kind, ID: 1}, Ack{Kind: kind, ID: 65535, DUP: true})
	}
	fuzzParser(f, true, ParseAck)
}
