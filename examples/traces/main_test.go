package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestAMessageHasOneTraceOnMQTT5(t *testing.T) {
	p := exampletest.Start(t, "-every", "20ms")
	p.Expect(`^connected with MQTT version 5$`, `^span .* process +consumer `)
	traces := tracesOf(p.Interrupt())
	want := []string{"create", "measure", "process", "publish", "receive"}
	for _, spans := range traces {
		if slices.Equal(spans, want) {
			return
		}
	}
	t.Errorf("no trace has the spans %v: %v", want, traces)
}

func TestBeforeMQTT5TheSpansOfAMessageAreSeveralTraces(t *testing.T) {
	p := exampletest.Start(t, "-every", "20ms", "-version", "4")
	p.Expect(`^connected with MQTT version 3\.1\.1$`, `^span .* process +consumer `)
	for trace, spans := range tracesOf(p.Interrupt()) {
		if len(spans) != 1 {
			t.Errorf("trace %s has the spans %v", trace, spans)
		}
	}
}

// tracesOf returns the sorted names of the spans of each trace.
func tracesOf(lines []string) map[string][]string {
	traces := map[string][]string{}
	for _, line := range lines {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "span" {
			traces[f[1]] = append(traces[f[1]], f[2])
		}
	}
	for _, spans := range traces {
		slices.Sort(spans)
	}
	return traces
}
