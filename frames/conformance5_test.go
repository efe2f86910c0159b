package frames

import "testing"

// [MQTT-3.2.2-1] The seven reserved flags of CONNACK are 0.
func TestReservedFlagsOfConnackAreRefusedAt5(t *testing.T) {
	for flags := range 256 {
		p, err := ParseConnack(Frame{0x20, []byte{byte(flags), 0, 0}}, V5)
		if good := flags <= 1; (err == nil) != good || good && p.SessionPresent != (flags == 1) {
			t.Errorf("flags %08b: %+v, %v", flags, p, err)
		}
	}
}

// [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] The reason string and the user
// properties of SUBACK and UNSUBACK are kept, with the codes in their order.
func TestReasonsOfSubackAndUnsubackAreKept(t *testing.T) {
	user := []UserProperty{{"k", "1"}, {"k", "2"}}
	block := encode(t, Ack{Kind: TypePuback, ID: 1, Properties: &AckProperties{"why", user}}, V5)[5:]
	for first, codes := range map[byte][]byte{0x90: {2, 0x87, 0}, 0xB0: {0x11, 0x87, 0}} {
		body := append(append([]byte{0, 9}, block...), codes...)
		p, err := Parse(Frame{first, body}, V5)
		if err != nil {
			t.Fatal(err)
		}
		var got []ReasonCode
		var properties *AckProperties
		switch p := p.(type) {
		case Suback:
			got, properties = p.Codes, p.Properties
		case Unsuback:
			got, properties = p.Codes, p.Properties
		}
		if properties == nil || properties.Reason != "why" || len(properties.User) != 2 || properties.User[1].Value != "2" {
			t.Errorf("%#x: %+v", first, properties)
		}
		for i, code := range codes {
			if got[i] != ReasonCode(code) {
				t.Errorf("%#x: the codes are %v", first, got)
			}
		}
	}
}
