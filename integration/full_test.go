package integration

import (
	"flag"
	"runtime"
	"strconv"

	"github.com/go-millrace/mqtt"
)

// The tests have a short form, for go test work, and a long form, for the gate.
var full = flag.Bool("full", false, "run the heavy tests at 3.1 too")

// heavy returns the versions of a test that takes seconds. 3.1 differs from 3.1.1 only in CONNECT
// and in the DUP flag of SUBSCRIBE, UNSUBSCRIBE and PUBREL, so only the long form runs such a test
// at 3.1.
func heavy() []mqtt.Version {
	if *full {
		return versions
	}
	return []mqtt.Version{mqtt.V311, mqtt.V5}
}

// runTogether lets more tests run at a time than there are processors, because most of them wait
// for a network or a disk. -parallel overrides it. The race detector leaves no processor idle.
func runTogether() {
	if raceDetector {
		return
	}
	n := flag.Lookup("test.parallel").Value
	if err := n.Set(strconv.Itoa(3 * runtime.GOMAXPROCS(0))); err != nil {
		panic(err) // unreachable, because the value is a number
	}
}
