package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rate returns the result of a contender with one round at the given rate.
func rate(scenario, contender string, perSecond int) result {
	return result{Scenario: scenario, Contender: contender, Rounds: []measurement{{Messages: perSecond, Seconds: 1}}}
}

var charted = []result{
	rate("publish QoS 0, 64 B", "PublishFrom", 5000),
	rate("publish QoS 0, 64 B", pahoName, 100),
	rate("publish QoS 0, 64 B", atWat.name, 50),
	rate("publish QoS 0, 64 B", limits[0].name, 7000),
	rate("publish QoS 0, 64 B", limits[1].name, 9000),
	rate("receive QoS 2, 64 B, window 100", "Messages", 600),
	rate("receive QoS 2, 64 B, window 100", "All", 1200),
	rate("receive QoS 2, 64 B, window 100", pahoName, 100),
	rate("receive QoS 2, 64 B, window 100", pahoV5.name, 300),
	rate("receive QoS 2, 64 B, window 100", atWat.name, 250),
	{Scenario: "receive QoS 2, 64 B, window 100", Contender: "AllBatches", Failed: "it was killed"},
	rate("receive QoS 2, 64 B, window 16", "All", 99900),
	rate("receive QoS 2, 64 B, window 16", pahoName, 100),
}

func TestAChartSaysHowManyTimesAsFast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chart.svg")
	if err := writeChart(path, charted); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var texts []string
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts = append(texts, strings.Join(strings.Fields(string(text)), " "))
		}
	}
	for _, want := range []string{
		"publish QoS 0", "50.0× millrace PublishFrom", "1.00× paho.mqtt.golang, the best peer", "90.0× the limit",
		"receive QoS 2", "12.0× millrace All", "6.00× millrace Messages", "millrace AllBatches failed",
		"3.00× paho.golang, the best peer", "1×", "50×",
	} {
		if !slices.Contains(texts, want) {
			t.Errorf("the chart has no text %q", want)
		}
	}
	for _, text := range texts {
		if strings.Contains(text, "999") || strings.Contains(text, atWat.name) {
			t.Errorf("the chart has the text %q", text)
		}
	}
}

func TestEveryContenderHasALookInTheChart(t *testing.T) {
	for _, c := range slices.Concat(ours, others) { // the other lists of ours are only in the tables
		known := false
		for _, look := range looks {
			known = known || look.name == c.name
		}
		if !known {
			t.Errorf("%s has no look", c.name)
		}
	}
}

func TestWithoutItsScenariosThereIsNoChart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chart.svg")
	if err := writeChart(path, charted[len(charted)-2:]); err == nil {
		t.Error("the chart was drawn")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file exists: %v", err)
	}
}
