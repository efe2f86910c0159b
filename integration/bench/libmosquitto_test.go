package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

func TestLibmosquittoSpeaksAsAChildDoes(t *testing.T) {
	if _, err := libmosquittoCommand(&scenario{URL: "tcp://127.0.0.1:1883"}); err != nil {
		t.Skip(err)
	}
	program := libmosquittoProgram
	if got := libmosquittoVersion(nil); !regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`).MatchString(got) {
		t.Errorf("the version is %q", got)
	}
	for _, s := range []scenario{
		{Kind: publish, QoS: 0, Window: 10, Clients: 1},
		{Kind: publish, QoS: 1, Window: 1, Clients: 1},
		{Kind: publish, QoS: 2, Window: 10, Clients: 3},
		{Kind: receive, QoS: 0, Window: 10, Clients: 3},
		{Kind: receive, QoS: 1, Window: 10, Clients: 1},
		{Kind: receive, QoS: 2, Window: 1, Clients: 1},
		{Kind: echo, QoS: 0, Window: 1, Clients: 1},
		{Kind: echo, QoS: 1, Window: 1, Clients: 1},
		{Kind: echo, QoS: 2, Window: 1, Clients: 1},
	} {
		s.Payload, s.Filters, s.Messages, s.Name = 64, 1, 250, s.describe()
		t.Run(s.Name, func(t *testing.T) {
			r := runner{rounds: 1, aim: time.Millisecond, progress: new(bytes.Buffer)}
			results := r.trial(&trial{scenario: s}, []contender{libmosquitto})
			if len(results) != 1 || results[0].Failed != "" || len(results[0].Rounds) != 1 {
				t.Fatalf("%+v", results)
			}
			m := results[0].Rounds[0]
			if m.Messages != 250 || m.Seconds <= 0 || m.CPU <= 0 || s.Kind == echo && (m.P50 <= 0 || m.P99 < m.P50) {
				t.Errorf("%+v", m)
			}
		})
	}
	if err := removeLibmosquitto(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(program); !os.IsNotExist(err) {
		t.Errorf("the program still exists: %v", err)
	}
	if got := libmosquittoVersion(nil); got != unknown {
		t.Errorf("without its program, the version is %q", got)
	}
}

func TestLibmosquittoNamesMissingParts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	missing := func(want string) {
		t.Helper()
		if _, err := libmosquittoCommand(&scenario{URL: "tcp://127.0.0.1:1883"}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	missing("there is no C compiler, cc")
	// This compiler cannot find mosquitto.h.
	if err := os.WriteFile(filepath.Join(dir, "cc"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	missing("mosquitto.h is not installed (Debian: libmosquitto-dev)")
}
