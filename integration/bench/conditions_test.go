package main

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestTheProcessorHasItsNameOnEveryArchitecture(t *testing.T) {
	for text, want := range map[string]string{
		"processor\t: 0\nmodel\t\t: 85\nmodel name\t: A Chip @ 2 GHz\nprocessor\t: 1\nmodel name\t: Another\n": "A Chip @ 2 GHz",
		"processor\t: 0\nBogoMIPS\t: 100\n\nHardware\t: A Board\nModel\t\t: A Computer\n":                      "A Computer",
		"processor\t: 0\nHardware\t: A Board\n":                                                                "A Board",
		"":                                                                                                     unknown,
	} {
		if got := cpuModel(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTheSystemHasTheNamesThatItReports(t *testing.T) {
	machine := runtime.GOOS + "/" + runtime.GOARCH
	release := "NAME=\"Some\"\nPRETTY_NAME=\"Some Linux 12 (word)\"\n"
	if got, want := system(release, "6.1.0-9\n"), machine+", Some Linux 12 (word), kernel 6.1.0-9"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := system("", ""); got != machine {
		t.Errorf("%q, want %q", got, machine)
	}
}

func TestTheLoadIsThatOfOneFiveAndFifteenMinutes(t *testing.T) {
	for text, want := range map[string]string{"0.50 1.25 2.00 3/456 7890\n": "0.50 1.25 2.00", "": unknown} {
		if got := loadAverage(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for part, want := range map[float64]string{0: "0%", 0.05: "5%", 0.314: "31%: too much, the figures mean little"} {
		if got := foreign(part); got != want {
			t.Errorf("%v: %q, want %q", part, got, want)
		}
	}
}

func TestTheCommitComesFromTheBuildOrElseFromGit(t *testing.T) {
	type settings = []debug.BuildSetting
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}
	changed := func(v string) debug.BuildSetting { return debug.BuildSetting{Key: "vcs.modified", Value: v} }
	for _, test := range []struct {
		settings     settings
		head, status string // the answers of git
		want         string
	}{
		{settings{revision, changed("false")}, "def", " M file", "abc"},
		{settings{revision, changed("true")}, "def", "", "abc, with changes"},
		{nil, "def", "", "def"},
		{nil, "def", " M file", "def, with changes"},
		{nil, "", "", unknown},
	} {
		git := func(args ...string) string {
			if args[0] == "status" {
				return test.status
			}
			return test.head
		}
		if got := commit(test.settings, git); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestAPeerHasTheVersionOfItsModule(t *testing.T) {
	info := &debug.BuildInfo{Deps: []*debug.Module{
		{Path: "example.org/a", Version: "v1.2.3"},
		{Path: "example.org/b", Version: "v1.0.0", Replace: &debug.Module{Path: "../b"}},
	}}
	for path, want := range map[string]string{"example.org/a": "v1.2.3", "example.org/b": unknown, "example.org/c": unknown} {
		if got := ofModule(path)(info); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, c := range others {
		if c.version == nil {
			t.Errorf("%s has no version", c.name)
		}
	}
}

func TestTheConditionsAreATable(t *testing.T) {
	var out bytes.Buffer
	list := conditions([]contender{paho, limits[0]}, 3, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	writeConditions(&out, list)
	for _, want := range []string{
		"\nGo " + strings.Repeat(" ", len(pahoName)-len("Go")+1) + runtime.Version() + "\n",
		"2026-01-02 03:04:05 UTC\n",
		"3, too few for intervals of 95%\n",
		"\n" + pahoName + "  v",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
	if got := roundsText(roundsForInterval); got != "6" {
		t.Errorf("the rounds are %q", got)
	}
	if strings.Contains(out.String(), "limit") {
		t.Errorf("a limit program has a version:\n%s", &out)
	}
}
