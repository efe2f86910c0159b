package boltstore

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

var helpers = map[string]func(args []string){"commit": commitForEver, "create": createForEver}

// start runs a helper process and returns its output lines and a function that kills it.
func start(t *testing.T, part string, args ...string) (lines *bufio.Scanner, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helper+"="+part)
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

// begin2 is the Seq of the first publication that needs format 2.
const begin2 = 300

// commitForEver accepts a random number of publications in each commit, and completes each
// publication when 100 newer ones are accepted. From begin2 on the publications have properties and
// a deadline, and the session record has the last Seq. After each commit it prints the last Seq.
func commitForEver(args []string) {
	s, err := Open(args[0], nil)
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
			c := accepted(seq, strings.Repeat(fmt.Sprint(seq, " "), rand.IntN(100)))
			if seq >= begin2 {
				c.Message.Properties = &frames.Properties{Correlation: seqKey(seq)}
				c.Deadline = time.Unix(int64(seq), 0)
			}
			changes = append(changes, c)
			if seq > 100 {
				changes = append(changes, flow.Change{Kind: flow.Completed, Seq: seq - 100})
			}
		}
		if seq >= begin2 {
			changes = append(changes, flow.Change{Kind: flow.Opened, Session: &flow.SessionRecord{Version: frames.V5, Expiry: uint32(seq)}})
		}
		fatal(s.Commit(changes))
		fmt.Println(seq)
	}
}

// createForEver creates one store after another and prints its path.
func createForEver(args []string) {
	for i := 0; ; i++ {
		path := filepath.Join(args[0], strconv.Itoa(i))
		s, err := Open(path, nil)
		fatal(err)
		fatal(s.Close())
		fmt.Println(path)
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
		if last == 0 || n == 0 || snap.Publications[n-1].Seq < last {
			t.Fatalf("%d was committed, the store holds %d publications", last, n)
		}
		if snap.Publications[n-1].Seq > last+20 || snap.Publications[n-1].Seq > 100 && n != 100 {
			t.Errorf("%d publications up to %d, committed: %d", n, snap.Publications[n-1].Seq, last)
		}
		for i, p := range snap.Publications {
			if p.Seq != snap.Publications[0].Seq+uint64(i) || strings.Trim(string(p.Message.Payload), fmt.Sprint(p.Seq, " ")) != "" {
				t.Fatalf("publication %d has Seq %d and payload %q", i, p.Seq, p.Message.Payload)
			}
			if p.Seq >= begin2 && (p.Deadline.Unix() != int64(p.Seq) || !bytes.Equal(p.Message.Properties.Correlation, seqKey(p.Seq))) {
				t.Fatalf("publication %d has the deadline %v and the properties %+v", p.Seq, p.Deadline, p.Message.Properties)
			}
		}
		newest, format := snap.Publications[n-1].Seq, formatOf(t, path)
		if r := snap.Session; newest >= begin2 && (r == nil || r.Expiry != uint32(newest) || format != 2) || newest < begin2 && (r != nil || format != 1) {
			t.Fatalf("the newest publication is %d, the session record %+v, the format %d", newest, r, format)
		}
	}
}

func TestAProcessKilledWhileItMakesAStoreLeavesNoneThatCannotBeOpened(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		lines, kill := start(t, "create", dir)
		for n := rand.IntN(20); lines.Scan(); n-- {
			if n == 0 {
				kill()
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if snap, err := load(strings.TrimSuffix(filepath.Join(dir, e.Name()), newSuffix), nil); err != nil || !snap.Empty() {
				t.Errorf("%s: %+v, %v", e.Name(), snap, err)
			}
		}
	}
}
