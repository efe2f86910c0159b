package flow

import (
	"flag"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seedFlag = flag.Uint64("seed", 0, "repeat the random run of this seed alone")

// randomly calls run with random sources of different seeds. A failed run prints the command that
// repeats it.
func randomly(t *testing.T, runs int, run func(t *testing.T, rnd *rand.Rand)) {
	t.Helper()
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64() | 1
	} else {
		runs = 1
	}
	seed, done := first, false
	defer func() {
		if !done { // failed or panicked
			t.Logf("repeat with: go test ./flow -run '^%s$' -seed %d", t.Name(), seed)
		}
	}()
	for i := range runs {
		seed = first + uint64(i)
		if run(t, rand.New(rand.NewPCG(seed, seed))); t.Failed() {
			return
		}
	}
	done = true
}

// message returns a message with token as payload.
func message(qos frames.QoS, token int) frames.Message {
	return frames.Message{Topic: "t", QoS: qos, Payload: strconv.AppendInt(nil, int64(token), 10)}
}

// token returns the token of a message, or -1 if its payload was overwritten.
func token(m frames.Message) int {
	n, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		return -1
	}
	return n
}

// allHanded stands for the last batch when every batch was passed to the writer.
const allHanded = math.MaxUint64

func pick[T any](rnd *rand.Rand, s []T) T { return s[rnd.IntN(len(s))] }

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
