package frames

import "unicode/utf8"

// Classes of bytes that a string is checked for.
const (
	hasNUL     byte = 1 << iota // U+0000
	hasWild                     // + or #
	hasMulti                    // a byte that is not ASCII
	hasControl                  // U+0001 to U+001F, U+007F
)

var class = func() (t [256]byte) {
	for c := 1; c < ' '; c++ {
		t[c] = hasControl
	}
	t[0], t['+'], t['#'], t[0x7f] = hasNUL, hasWild, hasWild, hasControl
	for c := utf8.RuneSelf; c < len(t); c++ {
		t[c] = hasMulti
	}
	return t
}()

// scan returns the classes of the bytes in s.
func scan(s string) (seen byte) {
	if plain(s) {
		return 0
	}
	for i := 0; i < len(s); i++ {
		seen |= class[s[i]]
	}
	return seen
}

// plain reports whether s has at least eight bytes and no byte of any class, like most topics. It
// checks eight bytes at a time.
func plain(s string) bool {
	const (
		low  = 0x0101010101010101
		high = 0x80 * low
	)
	if len(s) < 8 {
		return false
	}
	var special uint64
	for i := 0; i < len(s); i += 8 {
		w := s[min(i, len(s)-8):][:8] // the last eight bytes may overlap the previous eight
		x := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		wild := (x | ('+'^'#')*low) ^ '+'*low // 0 where x has + or #, which differ in one bit
		// n-low sets the high bit of each byte that is 0 in n, and n-' '*low of each byte below the
		// space; &^n clears the high bits that n had before. x+low sets the high bit for 0x7F. The
		// high bits of x mark bytes that are not ASCII.
		special |= (x-' '*low)&^x | (wild-low)&^wild | (x + low) | x
	}
	return special&high == 0
}

// The rules that a string can break, as the errors name them.
const (
	notUTF8   = "not valid UTF-8"
	withNUL   = "contains U+0000"
	empty     = "empty"
	overBytes = "too long in bytes"
	overChars = "too long in characters"
)

// stringFault returns the rule that s breaks, or "" if it breaks none. The parameter seen is
// scan(s). A byte order mark is a character like any other [MQTT-1.5.3-3].
func stringFault(s string, seen byte) string {
	// [MQTT-1.5.3-2] a string must not contain U+0000.
	if seen&hasNUL != 0 {
		return withNUL
	}
	// [MQTT-1.5.3-1] a string is UTF-8 without surrogates; utf8.ValidString also rejects overlong
	// forms.
	if seen&hasMulti != 0 && !utf8.ValidString(s) {
		return notUTF8
	}
	return ""
}

// controlFault returns the rule that s breaks if it has a control character or a non-character, or
// "". A client SHOULD NOT send them (section 1.5.3), and brokers such as mosquitto close the
// connection. The parameter seen is scan(s).
func controlFault(s string, seen byte) string {
	if seen&(hasControl|hasMulti) == 0 {
		return ""
	}
	for _, r := range s {
		switch {
		case r < ' ' || r >= 0x7f && r <= 0x9f:
			return "contains a control character"
		case r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe:
			return "contains a non-character of Unicode"
		}
	}
	return ""
}

// ValidString checks that s is valid UTF-8 without U+0000 and has at most 65,535 bytes (section
// 1.5.3). The error is an *InvalidError whose Field is the parameter field.
func ValidString(field, s string) error {
	if err := checkLength(field, len(s)); err != nil {
		return err
	}
	if fault := stringFault(s, scan(s)); fault != "" {
		return &InvalidError{Field: field, Reason: fault}
	}
	return nil
}

// checkLength returns an *InvalidError for field if n is too large for a two-byte length
// [MQTT-4.7.3-3].
func checkLength(field string, n int) error {
	if n > MaxString {
		return &InvalidError{Field: field, Reason: overBytes, Value: n, Limit: MaxString}
	}
	return nil
}
