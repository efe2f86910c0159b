package frames

import (
	"strings"
	"testing"
)

func TestValidString(t *testing.T) {
	long := strings.Repeat("x", MaxString)
	for _, c := range []struct {
		name, s string
		ok      bool
	}{
		{"empty", "", true},
		{"ASCII", "abc", true},
		{"wildcards", "+/#", true},
		{"control characters", "\x01\x1f\x7f", true},
		{"byte order mark", "\ufeffa", true},
		{"non-characters", "\ufffe\U0001ffff", true},
		{"replacement character", "\ufffd", true},
		{"four bytes", "\U0002070e", true},
		{"65,535 bytes", long, true},

		{"U+0000", "a\x00b", false},
		{"U+0000 behind a word", "abcdefgh\x00", false},
		{"U+0000 at the end of a word", "abcdefg\x00", false},
		{"U+0000 beside wide characters", "水\x00", false},
		{"a stray byte", "abcdefgh\xff", false},
		{"a stray continuation", "\x80", false},
		{"a character cut short", "a\xe6\xb0", false},
		{"a surrogate", "\xed\xa0\x80", false},
		{"the last surrogate", "\xed\xbf\xbf", false},
		{"a pair of surrogates", "\xed\xa0\x81\xed\xb0\x9c", false},
		{"U+0000 overlong", "\xc0\x80", false},
		{"a slash overlong", "\xc0\xaf", false},
		{"above U+10FFFF", "\xf4\x90\x80\x80", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ValidString("user name", c.s)
			if c.ok && err != nil {
				t.Error(err)
			}
			if !c.ok {
				wantInvalid(t, err, InvalidError{Field: "user name"})
			}
		})
	}
	wantInvalid(t, ValidString("f", long+"x"), InvalidError{Field: "f", Value: 65536, Limit: 65535})
}

// scan checks eight bytes at a time. It must find a special byte at every position and must not
// report an ordinary byte.
func TestScanSeesEveryByteAtEveryPlace(t *testing.T) {
	for n := range 26 {
		for at := range n {
			for c := range 256 {
				s := []byte(strings.Repeat("a", n))
				s[at] = byte(c)
				if got := scan(string(s)); got != class[c] {
					t.Fatalf("scan(%q) = %b, want %b", s, got, class[c])
				}
			}
		}
	}
	if got := scan("\x00+\x80 and more"); got != hasNUL|hasWild|hasMulti {
		t.Errorf("got %b", got)
	}
}
