package stream_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/frames"
)

// only is the protocol version of a quick run, or 0 for all.
var only = flag.Int("mqtt.version", 0,
	"run the tests that choose no protocol version at `4` (3.1.1) or 5 only (0: at both)")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(runs{m})
}

// A runs value runs all tests once for each protocol version. Fuzzing, benchmarks and lists of
// tests take the first version only: fuzz inputs choose a version themselves, and the output of the
// others does not name it.
type runs struct{ m *testing.M }

func (r runs) Run() int {
	switch *only {
	case 0, int(frames.V311), int(frames.V5):
	default:
		fmt.Fprintf(os.Stderr, "-mqtt.version %d: want 0, %d or %d\n", *only, frames.V311, frames.V5)
		return 2
	}
	if *only == 0 && (given("test.fuzz") || given("test.bench") || given("test.list")) {
		*only = int(frames.V311)
	}
	failed := 0
	for _, v := range []frames.Version{frames.V311, frames.V5} {
		if *only != 0 && *only != int(v) {
			continue
		}
		version = v
		if code := r.m.Run(); code != 0 {
			fmt.Fprintf(os.Stderr, "FAIL at protocol version %d (repeat with -mqtt.version=%[1]d)\n", v)
			failed = code
		}
	}
	return failed
}

// given reports whether a flag of package testing has a value.
func given(name string) bool { return flag.Lookup(name).Value.String() != "" }
