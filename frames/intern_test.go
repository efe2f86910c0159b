package frames

import (
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

func same(a, b string) bool {
	return a == b && unsafe.StringData(a) == unsafe.StringData(b)
}

func TestTopicsGivesOneStringForEachTopic(t *testing.T) {
	var topics Topics
	a, b := topics.Intern([]byte("mill/a")), topics.Intern([]byte("mill/b"))
	if a != "mill/a" || b != "mill/b" {
		t.Fatal(a, b)
	}
	for range 3 {
		if !same(topics.Intern([]byte("mill/a")), a) || !same(topics.Intern([]byte("mill/b")), b) {
			t.Error("Intern returned a second string for a topic")
		}
	}
}

func TestTopicsDoesNotHoldOnToTheReadBuffer(t *testing.T) {
	var topics Topics
	buf := []byte("mill/a")
	topics.Intern(buf)
	copy(buf, "XXXXXX")
	if got := topics.Intern([]byte("mill/a")); got != "mill/a" {
		t.Errorf("the entry became %q", got)
	}
}

func TestTopicsEntersOnlyTopicsAndShortOnes(t *testing.T) {
	var topics Topics
	for _, text := range []string{"", "a/#", "\xff", "\x00", strings.Repeat("x", 257)} {
		if got := topics.Intern([]byte(text)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if len(topics.byText) != 0 {
		t.Errorf("entered %q", topics.byText)
	}
	topics.Intern([]byte(strings.Repeat("x", 256)))
	if len(topics.byText) != 1 {
		t.Errorf("a topic of 256 bytes was not added")
	}
}

func TestTopicsStaysWithinItsBoundAndKeepsBusyTopics(t *testing.T) {
	var topics Topics
	const busy = 1000
	for i := range busy {
		topics.Intern([]byte("busy/" + strconv.Itoa(i)))
	}
	for i := range maxTopics - busy + 100 {
		topics.Intern([]byte("once/" + strconv.Itoa(i)))
		if n := len(topics.byText); n > maxTopics {
			t.Fatalf("%d entries, bound %d", n, maxTopics)
		}
	}
	left := 0
	for i := range busy {
		if _, ok := topics.byText["busy/"+strconv.Itoa(i)]; ok {
			left++
		}
	}
	if left < busy/2 { // a hundred entries were removed, some of them busy
		t.Errorf("%d of %d busy topics left", left, busy)
	}
}
