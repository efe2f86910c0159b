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

// A process is a running child.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	reached chan struct{} // closed when the child has written as many lines as launch was told
	ended   chan struct{} // closed when the process has ended and all its lines were handled
	err     error         // valid when ended is closed
}

// launch starts a child. One goroutine calls the function take with each line of the child's
// output. This function must not block, because that would delay the child.
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
	// A data race ends the child and so fails the test. atexit_sleep_ms removes the delay at exit.
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
			if err != nil { // an incomplete line is ignored
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

// kill sends SIGKILL, after which no code of the child runs.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// finish tells the child to finish and waits until it has ended.
func (p *process) finish() error {
	if _, err := io.WriteString(p.stdin, finishCommand+"\n"); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.kill()
		return errors.New("the child did not finish")
	}
}

// A killer runs children of one role, one after another. It kills each child at a random moment,
// while it starts or after some lines of output.
type killer struct {
	t      *testing.T
	child  child // specification of the next run
	random *rand.Rand
	lines  int  // maximum number of lines before a kill
	begun  bool // the child must write a line before it is killed
	begin  func(run int) (take func(line string))

	mu    sync.Mutex
	fault error
}

// rounds performs n rounds. If enough is not nil, it performs further rounds until enough is
// closed.
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

// round starts a run and kills it.
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
		return fmt.Errorf("run %d of the %s wrote fewer than %d lines", k.child.Run, k.child.Role, after)
	}
	select {
	case <-time.After(delay):
	case <-p.ended:
	}
	p.kill()
	if p.cmd.ProcessState.Exited() { // it has exited before the signal
		return fmt.Errorf("run %d of the %s has ended: %w", k.child.Run, k.child.Role, errors.Join(p.err, k.failure()))
	}
	k.child.Run++
	return k.failure()
}

// start starts the next run.
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
