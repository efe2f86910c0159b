package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// deadline is the time after which the process of a run is killed.
const deadline = 60 * time.Second

// A run is one contender in one scenario, in its own process.
type run struct {
	assignment
	contender *contender
	server    server
	input     io.Writer     // standard input of the child
	over      chan struct{} // closed when the child has ended
	result    measurement
}

// execute starts the child and returns its measurement.
func (r *run) execute() (m measurement, err error) {
	if r.Scenario.Kind == durable {
		if r.Scenario.Dir, err = os.MkdirTemp("", "bench"); err != nil {
			return m, err
		}
		defer os.RemoveAll(r.Scenario.Dir)
	}
	if r.server, err = serve(&r.Scenario); err != nil {
		return m, err
	}
	r.over = make(chan struct{})
	err = r.play()
	close(r.over)
	if broken := r.server.close(); err == nil {
		err = broken
	}
	return r.result, err
}

func (r *run) play() error {
	cmd, err := r.command()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if r.input, err = cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	killed := time.AfterFunc(deadline, func() { _ = cmd.Process.Kill() })
	err = r.follow(stdout)
	if err != nil && !errors.Is(err, errUnsupported) {
		_ = cmd.Process.Kill()
	}
	ended := cmd.Wait()
	if !killed.Stop() {
		return fmt.Errorf("the child was killed after %v", deadline)
	}
	if err == nil && ended != nil {
		err = ended
	}
	if err != nil && stderr.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, tail(stderr.String(), 200))
	}
	return err
}

// command returns the command that starts the child: this program, or the program of the contender.
func (r *run) command() (*exec.Cmd, error) {
	if r.contender.command != nil {
		argv, err := r.contender.command(&r.Scenario)
		if err != nil {
			return nil, err
		}
		return exec.Command(argv[0], argv[1:]...), nil
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(&r.assignment)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	return cmd, nil
}

// follow answers the lines of the child until it has written its result.
func (r *run) follow(stdout io.Reader) error {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "ready":
			if err := r.ready(); err != nil {
				return err
			}
		case "result":
			if err := json.Unmarshal([]byte(rest), &r.result); err != nil {
				return fmt.Errorf("result of the child: %w", err)
			}
			r.result.Sent = r.server.messages()
			return r.drain(stdout)
		case "unsupported":
			return errUnsupported
		case "failed":
			if why, err := strconv.Unquote(rest); err == nil {
				rest = why
			}
			return errors.New(rest)
		default:
			return fmt.Errorf("the child wrote %q", lines.Text())
		}
	}
	return errors.New("the child ended without a result")
}

func (r *run) ready() error {
	if _, err := io.WriteString(r.input, "go\n"); err != nil {
		return err
	}
	switch r.Scenario.Kind {
	case receive:
		r.server.flood()
	case publish, durable, idle:
		go func() { // the child may fail before all messages have arrived
			select {
			case <-r.server.done():
				_, _ = io.WriteString(r.input, "done\n")
			case <-r.over:
			}
		}()
	}
	return nil
}

// drain reads the output of the child to its end.
func (r *run) drain(stdout io.Reader) error {
	_, err := io.Copy(io.Discard, stdout)
	return err
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-n):]
}
