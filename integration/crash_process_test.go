package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A process is a child at work.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	reached chan struct{} // closed when it has said as many lines as were asked for
	ended   chan struct{} // closed when all that it said is taken and it has ended
	err     error         // after ended
}

// launch starts a child. take gets each line that it says, from one goroutine, and
// does not wait: a child is not to be held up by its parent.
func launch(t *testing.T, c child, after int, take func(line string)) (*process, error) {
	spec, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(executable), reached: make(chan struct{}), ended: make(chan struct{})}
	// A data race ends the child, and thus the test; a child that ends does not linger.
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(spec), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.Stderr = t.Output()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(p.kill)
	go func() {
		defer close(p.ended)
		if after == 0 {
			close(p.reached)
		}
		r := bufio.NewReader(stdout)
		for n := 1; ; n++ {
			line, err := r.ReadString('\n')
			if err != nil { // half a line was not said
				break
			}
			take(strings.TrimSuffix(line, "\n"))
			if n == after {
				close(p.reached)
			}
		}
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// kill is SIGKILL: nothing in the child runs after it.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// finish has the child come to its end in order.
func (p *process) finish() error {
	if _, err := io.WriteString(p.stdin, finishCommand+"\n"); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.kill()
		return errors.New("the child does not finish")
	}
}

// A killer runs one child after another of a kind and kills each at a random moment:
// while it starts, or after some of its lines.
type killer struct {
	t      *testing.T
	child  child // of the next run
	random *rand.Rand
	lines  int  // the most that it waits for
	begun  bool // it is not killed before it has said something
	begin  func(run int) (take func(line string))

	mu    sync.Mutex
	fault error
}

// rounds is n runs that end in a kill, and as many more as pass before enough, if
// given, is closed.
func (k *killer) rounds(n int, enough <-chan struct{}) error {
	for {
		if n <= 0 {
			select {
			case <-enough:
				return nil
			default:
				if enough == nil {
					return nil
				}
			}
		}
		if err := k.round(); err != nil {
			return err
		}
		n--
	}
}

// round is a run that ends in a kill.
func (k *killer) round() error {
	after := 0
	if k.begun || k.random.IntN(4) > 0 {
		after = 1 + k.random.IntN(k.lines)
	}
	delay := time.Duration(k.random.Int64N(int64(20 * time.Millisecond)))
	if after == 0 {
		delay *= 5
	}
	p, err := k.start(after)
	if err != nil {
		return err
	}
	select {
	case <-p.reached:
	case <-p.ended:
	case <-time.After(patience):
		return fmt.Errorf("run %d of the %s says less than %d lines", k.child.Run, k.child.Role, after)
	}
	select {
	case <-time.After(delay):
	case <-p.ended:
	}
	p.kill()
	if p.cmd.ProcessState.Exited() { // not by a signal
		return fmt.Errorf("run %d of the %s has ended: %w", k.child.Run, k.child.Role, errors.Join(p.err, k.failure()))
	}
	k.child.Run++
	return k.failure()
}

// start is the next run.
func (k *killer) start(after int) (*process, error) {
	k.child.Stage = k.child.Role == "publisher" && k.child.Run%4 == 3
	take := k.begin(k.child.Run)
	return launch(k.t, k.child, after, func(line string) {
		if reason, failed := strings.CutPrefix(line, "failed "); failed {
			k.mu.Lock()
			k.fault = errors.Join(k.fault, fmt.Errorf("run %d of the %s: %s", k.child.Run, k.child.Role, reason))
			k.mu.Unlock()
			return
		}
		take(line)
	})
}

func (k *killer) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fault
}
