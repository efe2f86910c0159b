package frames

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		filter string
		yes    []string
		no     []string
	}{
		{"a/b", []string{"a/b"}, []string{"a", "a/", "a/bc", "a/b/", "a/b/c", "/a/b", "A/b", "a/B", "a /b", "b/a"}},
		{"a", []string{"a"}, []string{"aa", "/a", "a/", "b"}},
		{"/", []string{"/"}, []string{"a", "//", "/a", "a/"}},
		{"a//b", []string{"a//b"}, []string{"a/b", "a/x/b"}},
		{"#", []string{"a", "/", "a/b/c", "/a", "水"}, []string{"$SYS", "$SYS/a", "$"}},
		{"+", []string{"a", "aa", " "}, []string{"/", "/a", "a/", "a/b", "$SYS", "$"}},
		{"+/+", []string{"/", "/a", "a/", "a/b"}, []string{"a", "//", "a/b/c", "$SYS/a"}},
		{"/+", []string{"/", "/a"}, []string{"a", "/a/", "a/b"}},
		{"a/+", []string{"a/", "a/b", "a/$b"}, []string{"a", "a/b/", "a/b/c", "b/a"}},
		{"+/b", []string{"a/b", "/b"}, []string{"b", "a/b/c", "$SYS/b"}},
		{"+/b/#", []string{"a/b", "a/b/c", "a/b/c/d"}, []string{"a", "a/c/b", "$SYS/b", "$SYS/b/c"}},
		{"a/+/c", []string{"a/b/c", "a//c"}, []string{"a/c", "a/b/b/c", "a/b/cd", "a/b"}},
		{"a/#", []string{"a", "a/", "a/b", "a/b/c", "a//"}, []string{"ab", "ab/c", "b/a", "/a"}},
		{"a/+/#", []string{"a/", "a/b", "a/b/c"}, []string{"a", "ab"}},
		{"/#", []string{"/", "/a", "/a/b"}, []string{"a", "a/b"}},
		{"a/b/#", []string{"a/b", "a/b/"}, []string{"a", "a/", "a/bc"}},
		{"$SYS/#", []string{"$SYS", "$SYS/a"}, []string{"$SYSx", "SYS/a", "$sys/a"}},
		{"$SYS/+", []string{"$SYS/a"}, []string{"$SYS", "$SYS/a/b"}},
		{"$share/g/a/+", []string{"a/b"}, []string{"$share/g/a/b", "a", "g/a/b"}},
		{"$share/g/#", []string{"a", "a/b"}, []string{"$SYS/a", "$share/g/a"}},
		{"$share/g/$SYS/#", []string{"$SYS/a"}, []string{"a"}},
		{"$share", []string{"$share"}, []string{"a"}},
		{"$shared/+", []string{"$shared/a"}, []string{"a"}},
		{"水/+", []string{"水/火"}, []string{"火/水"}},
	} {
		for _, topic := range c.yes {
			if !Match(c.filter, topic) || !(Filter{Topic: c.filter}).Match(topic) {
				t.Errorf("%q does not match %q", c.filter, topic)
			}
		}
		for _, topic := range append(c.no, "") {
			if Match(c.filter, topic) || (Filter{Topic: c.filter}).Match(topic) {
				t.Errorf("%q matches %q", c.filter, topic)
			}
		}
	}
}

// [MQTT-4.7.3-4] Topics are compared byte by byte, so topics that only look alike differ.
func TestMatchTakesNothingForItsLike(t *testing.T) {
	for _, pair := range [][2]string{
		{"caf\u00e9", "cafe\u0301"}, // é as one character, and as e with an accent
		{"\u212b", "\u00c5"},        // both become Å by normalization
		{"ACCOUNTS", "Accounts"},
		{"stra\u00dfe", "strasse"},
		{"a b", "a\u00a0b"},
		{"a", " a"},
		{"a", "\ufeffa"},
		{"a/b", "a//b"},
		{"a/b", "/a/b"},
		{"a/b", "a/b/"},
		{"a/b", "a/./b"},
		{"\uff41", "a"},
		{"%61", "a"},
	} {
		for i, one := range pair {
			other := pair[1-i]
			if !Match(one, one) || !Match("+/"+one+"/+", "x/"+one+"/y") {
				t.Errorf("%+q does not match itself", one)
			}
			if Match(one, other) || Match("+/"+one+"/+", "x/"+other+"/y") {
				t.Errorf("%+q matches %+q", one, other)
			}
		}
	}
}

func TestRouteStripsTheGroup(t *testing.T) {
	for filter, want := range map[string]string{
		"a/b":             "a/b",
		"#":               "#",
		"$share/g/a/#":    "a/#",
		"$share/g//a":     "/a",
		"$share/g/$SYS/a": "$SYS/a",
		"$share":          "$share",
		"$share/g":        "$share/g",
		"$shared/g/a":     "$shared/g/a",
		"$SHARE/g/a":      "$SHARE/g/a",
	} {
		if got := Route(filter); got != want {
			t.Errorf("Route(%q) = %q, want %q", filter, got, want)
		}
	}
}

// naiveMatch implements section 4.7 word for word.
func naiveMatch(filter, topic string) bool {
	want, have := strings.Split(filter, "/"), strings.Split(topic, "/")
	want = naivePart(want)
	if strings.HasPrefix(topic, "$") && (want[0] == "#" || want[0] == "+") {
		return false
	}
	if want[len(want)-1] == "#" {
		want = want[:len(want)-1]
		if len(have) < len(want) {
			return false
		}
		have = have[:len(want)]
	}
	return slices.EqualFunc(want, have, func(want, have string) bool { return want == "+" || want == have })
}

// naivePart returns the levels of the part filter of a shared filter, of $queue/filter and of
// $exclusive/filter, and all levels of any other filter.
func naivePart(levels []string) []string {
	switch n := len(levels); {
	case levels[0] == "$share" && n >= 3:
		return levels[2:]
	case (levels[0] == "$queue" || levels[0] == "$exclusive") && n >= 2:
		return levels[1:]
	}
	return levels
}

// naiveFilter reports whether filter is valid by section 4.7, checked level by level, and has no
// character that section 1.5.3 advises against.
func naiveFilter(filter string) bool {
	levels := strings.Split(filter, "/")
	if levels[0] == "$share" && len(levels) >= 2 {
		if len(levels) < 3 || levels[1] == "" || strings.ContainsAny(levels[1], "+#") {
			return false
		}
	}
	levels = naivePart(levels)
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && level != "+" && (level != "#" || i < len(levels)-1) {
			return false
		}
	}
	advisedAgainst := func(r rune) bool {
		nonCharacter := 0xFDD0 <= r && r <= 0xFDEF || r%0x10000 >= 0xFFFE
		return unicode.IsControl(r) || nonCharacter
	}
	return strings.Join(levels, "/") != "" && filter == strings.ToValidUTF8(filter, "") && !strings.ContainsFunc(filter, advisedAgainst)
}

func FuzzMatch(f *testing.F) {
	for _, filter := range []string{"#", "+", "a/#", "+/b/#", "a/+/c", "$SYS/#", "$share/g/a/+", "/+", "a//b", "a#", "#/a", "$queue/a", "$exclusive/+/b"} {
		for _, topic := range []string{"a", "/", "a/b", "a/b/c", "$SYS/a", "//", "a/"} {
			f.Add(filter, topic)
		}
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if len(filter) > MaxString || len(topic) > MaxString {
			return
		}
		err := ValidTopicFilter(filter, V311)
		if valid := naiveFilter(filter); (err == nil) != valid {
			t.Fatalf("filter %q: %v, want valid %t", filter, err, valid)
		}
		got := Match(filter, topic) // must not panic, whatever the arguments
		if err != nil || ValidTopicName(topic, V311) != nil {
			return
		}
		if want := naiveMatch(filter, topic); got != want {
			t.Errorf("Match(%q, %q) = %t, want %t", filter, topic, got, want)
		}
	})
}

func ExampleMatch() {
	for _, filter := range []string{"mill/+/flow", "mill/#", "#", "$share/crew/mill/#", "$SYS/#"} {
		fmt.Printf("%-18s %-5t %t\n", filter, Match(filter, "mill/gate/flow"), Match(filter, "$SYS/uptime"))
	}
	// Output:
	// mill/+/flow        true  false
	// mill/#             true  false
	// #                  true  false
	// $share/crew/mill/# true  false
	// $SYS/#             false true
}

// U43: EMQX delivers the messages of these filters with the plain topic.
func TestFiltersOfEMQXAreRoutedByTheirPartFilter(t *testing.T) {
	for filter, route := range map[string]string{
		"$queue/a/+":     "a/+",
		"$exclusive/a/#": "a/#",
		"$queue/#":       "#",
		"$queue":         "$queue",
		"$queues/a":      "$queues/a",
		"a/$queue/b":     "a/$queue/b",
	} {
		if got := Route(filter); got != route {
			t.Errorf("Route(%q) is %q, want %q", filter, got, route)
		}
	}
	if !Match("$queue/a/+", "a/b") || Match("$queue/a/+", "$queue/a/b") || !Match("$exclusive/a", "a") {
		t.Error("the topics do not match")
	}
	for _, bad := range []string{"$queue/", "$exclusive/", "$queue/a#", "$exclusive/a/#/b"} {
		if err := ValidTopicFilter(bad, V311); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, good := range []string{"$queue/a/+", "$exclusive/#", "$queue"} {
		if err := ValidTopicFilter(good, V311); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}
