package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// clumsy is a contender that cannot connect.
var clumsy = contender{name: "clumsy", connect: func(*scenario, string) (session, error) {
	return nil, errors.New("both hands are left ones")
}}

// TestMain also serves as the main function of the child processes.
func TestMain(m *testing.M) {
	beChild(append(contenders(), clumsy))
	goleak.VerifyTestMain(m)
}

// runs runs the program and returns its output and its results.
func runs(t *testing.T, c settings) (string, []result) {
	t.Helper()
	c.rounds, c.aim, c.json = 1, time.Millisecond, filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	if err := c.start(&out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.json)
	if err != nil {
		t.Fatal(err)
	}
	var all record
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Conditions) == 0 {
		t.Error("the file has no conditions")
	}
	return out.String(), all.Results
}

func TestTheProgramRunsSelectedScenarios(t *testing.T) {
	profiles := t.TempDir()
	out, results := runs(t, settings{
		only:       "^(publish|receive) QoS 2, 64 B, window 100$|^echo QoS 1",
		clients:    "^(PublishFrom|All|paho.mqtt.golang|at-wat/mqtt-go|limit, two goroutines)$",
		cpuprofile: profiles,
	})
	t.Log("\n" + out)
	want := []struct{ scenario, contender string }{
		{"publish QoS 2, 64 B, window 100", "PublishFrom"},
		{"publish QoS 2, 64 B, window 100", pahoName},
		{"publish QoS 2, 64 B, window 100", atWat.name},
		{"publish QoS 2, 64 B, window 100", "limit, two goroutines"},
		{"receive QoS 2, 64 B, window 100", "All"},
		{"receive QoS 2, 64 B, window 100", pahoName},
		{"receive QoS 2, 64 B, window 100", atWat.name},
		{"receive QoS 2, 64 B, window 100", "limit, two goroutines"},
		{"echo QoS 1, 64 B", "All"},
		{"echo QoS 1, 64 B", pahoName},
		{"echo QoS 1, 64 B", atWat.name},
	}
	if len(results) != len(want) {
		t.Fatalf("%d results, want %d", len(results), len(want))
	}
	for i, r := range results {
		if r.Scenario != want[i].scenario || r.Contender != want[i].contender {
			t.Errorf("result %d is for %s in %s, want %s in %s", i, r.Contender, r.Scenario, want[i].contender, want[i].scenario)
		}
		if len(r.Rounds) != 1 || r.Failed != "" {
			t.Errorf("%s, %s: %d rounds, %q", r.Scenario, r.Contender, len(r.Rounds), r.Failed)
			continue
		}
		if m := r.Rounds[0]; m.Messages == 0 || m.Seconds <= 0 {
			t.Errorf("%s, %s: %+v", r.Scenario, r.Contender, m)
		}
	}
	for _, line := range []string{
		`^processor +.*, [0-9]+ CPUs\n`,
		`(?m)^paho.mqtt.golang +v`,
		`(?m)^load average at the end +`,
		`(?m)^publish QoS 2, 64 B, window 100 +messages/s`,
		`(?m)^  PublishFrom .*×`,
		`(?m)^  target: PublishFrom messages/s at least ×15.0 of paho.mqtt.golang: ×.*, (met|NOT MET)$`,
		`(?m)^echo QoS 1, 64 B: target: the best of ours p50 µs at most ×1.00 of at-wat/mqtt-go: ×.*\(All\)`,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("no line of the output matches %s", line)
		}
	}
	if files, err := os.ReadDir(profiles); err != nil || len(files) != len(want) {
		t.Errorf("%d profiles, %v", len(files), err)
	}
}

func TestARunThatFailsIsShown(t *testing.T) {
	r := runner{rounds: 1, aim: time.Millisecond, progress: new(bytes.Buffer)}
	p := trial{scenario: scenario{Name: "a trial", Kind: publish, QoS: 1, Window: 1, Clients: 1, Filters: 1}}
	results := r.trial(&p, []contender{clumsy})
	if len(results) != 1 || results[0].Failed != "both hands are left ones" {
		t.Fatalf("%+v", results)
	}
	var out bytes.Buffer
	report := report{w: &out}
	report.take(&p, results)
	if !strings.Contains(out.String(), "failed: both hands are left ones") {
		t.Errorf("%q", out.String())
	}
}

func TestAProgramThatIsNotThereIsLeftOut(t *testing.T) {
	absent := contender{name: "absent", command: func(*scenario) ([]string, error) { return nil, errors.New("there is no compiler") }}
	var out bytes.Buffer
	if list := available(&out, []contender{absent, paho}); len(list) != 1 || list[0].name != pahoName {
		t.Errorf("%v", list)
	}
	if !strings.Contains(out.String(), "absent is skipped: there is no compiler") {
		t.Errorf("%q", out.String())
	}
}
