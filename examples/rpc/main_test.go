package main

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestEveryRequestIsAnsweredOrTold(t *testing.T) {
	p := exampletest.Start(t, "-requests", "2000", "-troubles", "4", "-expiry", "2s")
	p.Expect(`^cut `, `^restart `, `^cut `, `^restart `, `^finished `)
	wantAll(t, p.End(), 2000)
}

func TestWithoutTroubleEveryRequestIsAnswered(t *testing.T) {
	p := exampletest.Start(t, "-requests", "500", "-troubles", "0", "-expiry", "1m")
	p.Expect(`^finished  500 requests: 500 answered, 0 told `)
	p.End()
}

func TestCtrlCTellsTheRequestsUnderWay(t *testing.T) {
	p := exampletest.Start(t, "-requests", "1000000", "-troubles", "1000000")
	p.Expect(`^restart `)
	wantAll(t, p.Interrupt(), 0)
}

// wantAll checks that the last line counts n requests, if n is not 0, and a result for each of
// them.
func wantAll(t *testing.T, out []string, n int) {
	t.Helper()
	last := out[len(out)-1]
	if !regexp.MustCompile(`^finished `).MatchString(last) {
		t.Fatalf("the last line is %q", last)
	}
	var ended, answered, told int
	if _, err := fmt.Sscanf(last, "finished %d requests: %d answered, %d told", &ended, &answered, &told); err != nil {
		t.Fatal(err)
	}
	if ended != answered+told || answered == 0 || n != 0 && ended != n {
		t.Errorf("%q does not add up to %d", last, n)
	}
}
