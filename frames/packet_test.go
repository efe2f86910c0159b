package frames

import (
	"errors"
	"testing"
)

// Every parser except Parse accepts its own packet types. For any other type its error names the
// type.
func TestParsersRefuseThePacketsTheyAreNotFor(t *testing.T) {
	packets := []Packet{
		Connect{ClientID: "c"}, Connack{}, Publish{Message: Message{Topic: "a"}}, Ack{Kind: TypePuback, ID: 1},
		Ack{Kind: TypePubrec, ID: 1}, Ack{Kind: TypePubrel, ID: 1}, Ack{Kind: TypePubcomp, ID: 1},
		Subscribe{ID: 1, Filters: []Filter{{Topic: "a"}}}, Suback{ID: 1, Codes: []ReasonCode{0}},
		Unsubscribe{ID: 1, Topics: []string{"a"}}, Unsuback{ID: 1}, Pingreq{}, Pingresp{}, Disconnect{},
	}
	parsers := map[string]func(Frame) error{
		"Connect":     func(f Frame) error { _, err := ParseConnect(f); return err },
		"Connack":     func(f Frame) error { _, err := ParseConnack(f, V311); return err },
		"Publish":     func(f Frame) error { _, err := ParsePublish(f, V311, nil, nil); return err },
		"Ack":         func(f Frame) error { _, err := ParseAck(f, V311); return err },
		"Subscribe":   func(f Frame) error { _, err := ParseSubscribe(f, V311); return err },
		"Suback":      func(f Frame) error { _, err := ParseSuback(f, V311); return err },
		"Unsuback":    func(f Frame) error { _, err := ParseUnsuback(f, V311); return err },
		"Disconnect":  func(f Frame) error { _, err := ParseDisconnect(f, V311); return err },
		"Unsubscribe": func(f Frame) error { _, err := ParseUnsubscribe(f, V311); return err },
		"Empty":       ParseEmpty,
	}
	want := map[string]int{"Ack": 4, "Empty": 2} // number of accepted types; 1 for parsers not listed
	for name, parse := range parsers {
		taken := 0
		for _, p := range packets {
			err := parse(frameOf(t, encode(t, p, V311)))
			var violation *ProtocolError
			switch {
			case err == nil:
				taken++
			case !errors.As(err, &violation) || violation.Type != p.Type():
				t.Errorf("Parse%s of %v: %v", name, p.Type(), err)
			}
		}
		if taken != max(want[name], 1) {
			t.Errorf("Parse%s accepts %d packets", name, taken)
		}
		var violation *ProtocolError
		if err := parse(Frame{0x00, nil}); !errors.As(err, &violation) || violation.Type != 0 {
			t.Errorf("Parse%s of type 0: %v", name, err)
		}
		if err := parse(Frame{0xF0, nil}); !errors.As(err, &violation) {
			t.Errorf("Parse%s of type 15: %v", name, err)
		}
	}
	for i, p := range packets {
		got, err := Parse(frameOf(t, encode(t, p, V311)), V311)
		if err != nil || got.Type() != p.Type() || int(got.Type()) != i+1 {
			t.Errorf("Parse of %v: %v, %v", p.Type(), got, err)
		}
	}
	if _, err := Parse(Frame{0xF0, nil}, V311); err == nil {
		t.Error("type 15 was parsed")
	}
}

// A frame may not come from a Reader, which checks the flags, so the parsers check them too.
func TestParsersRefuseReservedFlagsOfAnyFrame(t *testing.T) {
	for _, p := range []Packet{
		Connect{ClientID: "c"}, Connack{}, Ack{Kind: TypePuback, ID: 1}, Ack{Kind: TypePubrel, ID: 1},
		Subscribe{ID: 1, Filters: []Filter{{Topic: "a"}}}, Suback{ID: 1, Codes: []ReasonCode{0}},
		Unsubscribe{ID: 1, Topics: []string{"a"}}, Unsuback{ID: 1}, Pingreq{}, Pingresp{}, Disconnect{},
	} {
		good := frameOf(t, encode(t, p, V311))
		for flags := range byte(16) {
			for _, v := range []Version{V31, V311} {
				f := good
				f.Header = good.Header&0xF0 | flags
				dup := v == V31 && f.Header == good.Header|flagDUP &&
					(p.Type() == TypePubrel || p.Type() == TypeSubscribe || p.Type() == TypeUnsubscribe)
				_, err := Parse(f, v)
				if want := f.Header == good.Header || dup; (err == nil) != want {
					t.Errorf("%v with flags %04b in %v: %v", p.Type(), flags, v, err)
				}
			}
		}
	}
}
