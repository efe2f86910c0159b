package frames

import (
	"fmt"
	"testing"
)

// U37: control characters and non-characters are rejected in everything that a client sends, and
// accepted in everything that it receives (section 1.5.3).
func TestControlCharactersAreRejectedOutboundOnly(t *testing.T) {
	for r, want := range map[rune]bool{
		0x01: false, '\t': false, '\n': false, 0x1f: false, ' ': true, '~': true, 0x7f: false, 0x80: false, 0x9f: false,
		0xa0: true, 0xfdcf: true, 0xfdd0: false, 0xfdef: false, 0xfdf0: true, 0xfeff: true, 0xfffd: true, 0xfffe: false,
		0xffff: false, 0x10000: true, 0x1fffe: false, 0x1ffff: false, 0x10fffd: true, 0x10fffe: false, 0x10ffff: false,
	} {
		for _, form := range []string{"%c", "plant/mill/%c", "%cplant/mill/wheel", "ä/plant/%c/mill"} {
			text := fmt.Sprintf(form, r)
			check := func(field string, err error) {
				t.Helper()
				if (err == nil) != want {
					t.Errorf("%U in %q as %s: %v", r, text, field, err)
				}
				if err != nil {
					wantInvalid(t, err, InvalidError{Field: field})
				}
			}
			check("topic", Message{Topic: text}.Validate(V311))
			check("filter", Filter{Topic: text}.Validate(V311))
			check("client identifier", Connect{ClientID: text}.Validate())
			check("will topic", Connect{ClientID: "c", Will: &Message{Topic: text}}.Validate())
			if fault := topicFault(text); fault != "" {
				t.Errorf("%U inbound: %s", r, fault)
			}
		}
	}
}
