package frames

import "unicode/utf8"

// What a string may contain that needs a second look.
const (
	hasNUL   byte = 1 << iota // U+0000
	hasWild                   // + or #
	hasMulti                  // a byte that is not ASCII
)

var class = func() (t [256]byte) {
	t[0], t['+'], t['#'] = hasNUL, hasWild, hasWild
	for c := utf8.RuneSelf; c < len(t); c++ {
		t[c] = hasMulti
	}
	return t
}()

// scan tells which of hasNUL, hasWild and hasMulti are in s.
func scan(s string) (seen byte) {
	if plain(s) {
		return 0
	}
	for i := 0; i < len(s); i++ {
		seen |= class[s[i]]
	}
	return seen
}

// plain reports that s is long enough to be looked at by eight bytes at a time and holds nothing for scan to tell,
// as most topics do.
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
		w := s[min(i, len(s)-8):][:8] // the last eight overlap those before
		x := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		wild := (x | ('+'^'#')*low) ^ '+'*low // 0 in the bytes that hold + or #, which differ in one bit
		// A byte of 0 borrows in n-low and has no bit of its own to hide it; x itself shows what is not ASCII.
		special |= (x-low)&^x | (wild-low)&^wild | x
	}
	return special&high == 0
}

// The rules a string can break, as errors word them.
const (
	notUTF8   = "not valid UTF-8"
	withNUL   = "contains U+0000"
	empty     = "empty"
	overBytes = "too long in bytes"
	overChars = "too long in characters"
)

// stringFault names the rule that s breaks, "" when it breaks none; seen is scan(s). A byte order mark is a character
// like any other [MQTT-1.5.3-3].
func stringFault(s string, seen byte) string {
	// [MQTT-1.5.3-2] U+0000 has no place in a string.
	if seen&hasNUL != 0 {
		return withNUL
	}
	// [MQTT-1.5.3-1] UTF-8 without surrogates; utf8.ValidString refuses them, and overlong forms too.
	if seen&hasMulti != 0 && !utf8.ValidString(s) {
		return notUTF8
	}
	return ""
}

// ValidString checks s against section 1.5.3: valid UTF-8 without U+0000, at most 65,535 bytes. The error is an
// *InvalidError that names field.
func ValidString(field, s string) error {
	if err := checkLength(field, len(s)); err != nil {
		return err
	}
	if fault := stringFault(s, scan(s)); fault != "" {
		return &InvalidError{Field: field, Reason: fault}
	}
	return nil
}

// checkLength refuses what a two-byte length cannot hold [MQTT-4.7.3-3].
func checkLength(field string, n int) error {
	if n > MaxString {
		return &InvalidError{Field: field, Reason: overBytes, Value: n, Limit: MaxString}
	}
	return nil
}
