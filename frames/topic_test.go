package frames

import (
	"strings"
	"testing"
)

func TestTopicNames(t *testing.T) {
	for _, topic := range []string{
		"a", "/", "//", "a/b", "/a", "a/", "a//b", " ", "a b", "$SYS/x", "$", "$share/g/a", "A/ÄÖ/水", "\ufeff",
	} {
		for _, v := range []Version{V31, V311} {
			if err := ValidTopicName(topic, v); err != nil {
				t.Errorf("%q in %v: %v", topic, v, err)
			}
		}
	}
	for _, topic := range []string{
		"", "#", "+", "a/#", "a/+/b", "a+", "a#b", "long enough/#", "a\x00", "\x00", "\xff", "a/\xed\xa0\x80", "\xc0\x80",
	} {
		for _, v := range []Version{V31, V311} {
			wantInvalid(t, ValidTopicName(topic, v), InvalidError{Field: "topic"})
		}
	}
}

func TestTopicFilters(t *testing.T) {
	for _, filter := range []string{
		"#", "+", "/", "/#", "+/", "/+", "+/+", "a", "a/#", "a/+", "a/+/#", "+/b/#", "a//b", "a/ /b", "$SYS/#", "水/+",
		"$share/g/a", "$share/g/#", "$share/g//", "$share/g/+/a/#", "$share/g/$SYS/#", "$share", "$shared/+/a", "$SHARE//a",
	} {
		for _, v := range []Version{V31, V311} {
			if err := ValidTopicFilter(filter, v); err != nil {
				t.Errorf("%q in %v: %v", filter, v, err)
			}
		}
	}
	for _, filter := range []string{
		"", "a#", "#a", "##", "a/#/b", "#/", "#/a", "/#/", "a+", "+a", "+a/b", "a/b+", "++", "+#", "a/+b/c", "a/b#",
		"a\x00", "\xff", "a/\xed\xa0\x80",
		"$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/#/a", "$share/g+/a", "$share/g/a#",
		"$share/g/#/a", "$share/g\x00/a",
	} {
		for _, v := range []Version{V31, V311} {
			err := ValidTopicFilter(filter, v)
			if err == nil {
				t.Errorf("%q in %v: accepted", filter, v)
				continue
			}
			wantInvalid(t, err, InvalidError{Field: "filter"})
		}
	}
}

func TestTopicsOf65535BytesAreTheLongest(t *testing.T) {
	long := strings.Repeat("x", MaxString)
	if err := ValidTopicName(long, V311); err != nil {
		t.Error(err)
	}
	if err := ValidTopicFilter(long, V311); err != nil {
		t.Error(err)
	}
	wantInvalid(t, ValidTopicName(long+"x", V311), InvalidError{Field: "topic", Value: 65536, Limit: 65535})
	wantInvalid(t, ValidTopicFilter(long+"x", V311), InvalidError{Field: "filter", Value: 65536, Limit: 65535})
}

func TestTopicsOf32767CharactersAreTheLongestIn31(t *testing.T) {
	for _, c := range []string{"x", "ä"} { // the limit counts characters, not bytes
		long := strings.Repeat(c, 32767)
		if err := ValidTopicName(long, V31); err != nil {
			t.Error(err)
		}
		if err := ValidTopicName(long+"x", V311); err != nil {
			t.Error(err)
		}
		if err := ValidTopicFilter(long, V31); err != nil {
			t.Error(err)
		}
		wantInvalid(t, ValidTopicName(long+"x", V31), InvalidError{Field: "topic", Value: 32768, Limit: 32767})
		wantInvalid(t, ValidTopicFilter(long+"x", V31), InvalidError{Field: "filter", Value: 32768, Limit: 32767})
	}
}
