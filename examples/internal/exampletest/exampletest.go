// Package exampletest runs an example as a user does: it starts the program with arguments, reads
// its output line by line and ends it with Ctrl-C.
package exampletest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const asExample = "MILLRACE_RUN_EXAMPLE"

// Main is the TestMain of an example. Start runs the test binary again as a child process. In the
// child, Main runs main and fails if main leaves goroutines behind.
func Main(m *testing.M, main func()) {
	if os.Getenv(asExample) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	main()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}

// patience is the timeout for each expected line and for the end of the program.
const patience = 30 * time.Second

// Program is a running example.
type Program struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // lines of the output; closed at its end
	seen   []string
	stderr strings.Builder
	ended  bool
}

// Start starts the example with args. If it still runs at the end of the test, it is killed.
func Start(t *testing.T, args ...string) *Program {
	t.Helper()
	p := &Program{t: t, cmd: exec.Command(os.Args[0], args...), lines: make(chan string)}
	p.cmd.Env = append(os.Environ(), asExample+"=1",
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // without this, the race detector sleeps for a second at the end
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	quit := make(chan struct{})
	reading.Go(func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			select {
			case p.lines <- s.Text():
			case <-quit:
				return
			}
		}
	})
	t.Cleanup(func() {
		if !p.ended {
			p.cmd.Process.Kill()
		}
		close(quit)
		reading.Wait()
		if !p.ended {
			p.cmd.Wait()
		}
	})
	return p
}

// Expect waits until every pattern has matched a line of its own, in any order.
func (p *Program) Expect(patterns ...string) {
	p.t.Helper()
	timeout := time.After(patience)
	missing := make([]*regexp.Regexp, len(patterns))
	for i, pattern := range patterns {
		missing[i] = regexp.MustCompile(pattern)
	}
	for len(missing) > 0 {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.end()
				p.fail("the program ended before it printed %q", missing)
			}
			p.seen = append(p.seen, line)
			for i, m := range missing {
				if m.MatchString(line) {
					missing = append(missing[:i], missing[i+1:]...)
					break
				}
			}
		case <-timeout:
			p.fail("the program did not print %q", missing)
		}
	}
}

// Find returns the part of a line that matches the parentheses in pattern. It first searches the
// lines that were read before the call.
func (p *Program) Find(pattern string) string {
	p.t.Helper()
	wanted := regexp.MustCompile(pattern)
	if !slices.ContainsFunc(p.seen, wanted.MatchString) {
		p.Expect(pattern)
	}
	i := slices.IndexFunc(p.seen, wanted.MatchString)
	return wanted.FindStringSubmatch(p.seen[i])[1]
}

// ExpectTogether waits until n lines of all programs together have matched pattern. Lines that were
// read before the call count too.
func ExpectTogether(t *testing.T, n int, pattern string, programs ...*Program) {
	t.Helper()
	wanted := regexp.MustCompile(pattern)
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(time.After(patience))}}
	for _, p := range programs {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(p.lines)})
		for _, line := range p.seen {
			if wanted.MatchString(line) {
				n--
			}
		}
	}
	for n > 0 {
		i, line, ok := reflect.Select(cases)
		if i == 0 || !ok {
			t.Fatalf("%d lines that match %q are missing", n, pattern)
		}
		p := programs[i-1]
		p.seen = append(p.seen, line.String())
		if wanted.MatchString(line.String()) {
			n--
		}
	}
}

// Interrupt ends the program like Ctrl-C and returns all lines that it has printed. The program
// must exit without an error and without a leaked goroutine.
func (p *Program) Interrupt() []string {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.fail("the program could not be interrupted: %v", err)
	}
	if err := p.end(); err != nil {
		p.fail("the program ended with %v", err)
	}
	return p.seen
}

// End waits until the program exits by itself, without an error and without a leaked goroutine, and
// returns all lines that it has printed.
func (p *Program) End() []string {
	p.t.Helper()
	if err := p.end(); err != nil {
		p.fail("the program ended with %v", err)
	}
	return p.seen
}

// Fail waits until the program exits by itself, with code 1 and an error that matches pattern.
func (p *Program) Fail(pattern string) {
	p.t.Helper()
	p.exit(1, pattern)
}

// Misused waits until the program exits by itself because of its flags, with code 2 and an error
// that matches pattern.
func (p *Program) Misused(pattern string) {
	p.t.Helper()
	p.exit(2, pattern)
}

func (p *Program) exit(code int, pattern string) {
	p.t.Helper()
	p.end()
	if p.cmd.ProcessState.ExitCode() != code || !regexp.MustCompile(pattern).MatchString(p.stderr.String()) {
		p.fail("the program ended with %v, not with code %d and an error that matches %q", p.cmd.ProcessState, code, pattern)
	}
}

// FailAtInterrupt ends the program like Ctrl-C. The program must exit with code 1 and an error that
// matches pattern.
func (p *Program) FailAtInterrupt(pattern string) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.fail("the program could not be interrupted: %v", err)
	}
	p.Fail(pattern)
}

// Kill ends the program with SIGKILL and returns all lines that it has printed. A program that has
// ended before is a failure.
func (p *Program) Kill() []string {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.fail("the program could not be killed: %v", err)
	}
	if p.end(); p.cmd.ProcessState.Exited() {
		p.fail("the program ended by itself: %v", p.cmd.ProcessState)
	}
	return p.seen
}

// end reads the remaining output and returns the exit error of the program.
func (p *Program) end() error {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.ended = true
				return p.cmd.Wait()
			}
			p.seen = append(p.seen, line)
		case <-timeout:
			p.fail("the program does not end")
		}
	}
}

func (p *Program) fail(format string, args ...any) {
	p.t.Helper()
	text := fmt.Sprintf(format, args...) + "\nIts output:\n" + strings.Join(p.seen, "\n")
	if p.ended {
		text += "\nStandard error:\n" + p.stderr.String()
	}
	p.t.Fatal(text)
}

// LastLine checks that the last line of the output matches pattern.
func LastLine(t *testing.T, out []string, pattern string) {
	t.Helper()
	if n := len(out); n == 0 || !regexp.MustCompile(pattern).MatchString(out[n-1]) {
		t.Errorf("the last line does not match %q:\n%s", pattern, strings.Join(out, "\n"))
	}
}
