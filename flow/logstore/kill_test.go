package logstore

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

func init() { children["commit"] = commitForEver }

// start runs a child process and returns its output lines and a function that kills it.
func start(t *testing.T, part string, args ...string) (lines *bufio.Scanner, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childPart+"="+part)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return bufio.NewScanner(out), func() { _ = cmd.Process.Kill() }
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// keeps is the number of publications that stay, and each tenth stays ten times as long.
const keeps = 100

// due returns the publications that end when seq is accepted.
func due(seq uint64) (list []uint64) {
	if old := seq - keeps; seq > keeps && old%10 > 0 {
		list = append(list, old)
	}
	if old := seq - 10*keeps; seq > 10*keeps && old%10 == 0 {
		list = append(list, old)
	}
	return list
}

// commitForEver accepts a random number of publications in each commit. After each commit it prints
// the last Seq.
func commitForEver(args []string) {
	s, err := Open(args[0], &Options{SegmentSize: 16 << 10})
	fatal(err)
	snap, err := s.Attach("a")
	fatal(err)
	var seq uint64
	if n := len(snap.Publications); n > 0 {
		seq = snap.Publications[n-1].Seq
	}
	for {
		var changes []flow.Change
		for range 1 + rand.IntN(20) {
			seq++
			changes = append(changes, accepted(seq, strings.Repeat(fmt.Sprint(seq, " "), rand.IntN(100))))
			for _, old := range due(seq) {
				changes = append(changes, flow.Change{Kind: flow.Completed, Seq: old})
			}
		}
		changes = append(changes, opened(""))
		changes[len(changes)-1].Session.Expiry = uint32(seq)
		fatal(s.Commit(changes))
		fmt.Println(seq)
	}
}

// K10, K11
func TestAKilledProcessLosesNothingThatWasCommitted(t *testing.T) {
	path := newPath(t)
	for range 20 {
		lines, kill := start(t, "commit", path)
		var last uint64
		for n := rand.IntN(60); lines.Scan(); n-- {
			last, _ = strconv.ParseUint(lines.Text(), 10, 64)
			if n == 0 {
				kill() // keep reading, since lines printed before the kill count
			}
		}
		snap, err := load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := len(snap.Publications)
		if last == 0 || n == 0 || snap.Publications[n-1].Seq < last || snap.Publications[n-1].Seq > last+20 {
			t.Fatalf("%d was committed, the store holds %d publications", last, n)
		}
		newest := snap.Publications[n-1].Seq
		want := make(map[uint64]bool)
		for seq := uint64(1); seq <= newest; seq++ {
			want[seq] = true
			for _, old := range due(seq) {
				delete(want, old)
			}
		}
		if len(want) != n || snap.Session == nil || snap.Session.Expiry != uint32(newest) {
			t.Fatalf("%d publications up to %d instead of %d, session %+v", n, newest, len(want), snap.Session)
		}
		for _, p := range snap.Publications {
			if !want[p.Seq] || strings.Trim(string(p.Message.Payload), fmt.Sprint(p.Seq, " ")) != "" {
				t.Fatalf("publication %d with payload %q", p.Seq, p.Message.Payload)
			}
		}
	}
}
