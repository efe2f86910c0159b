package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// libmosquitto is the C library, used by a C program. The network loop runs in the publishing
// thread, and the callback of each ack publishes the next message. This is cheaper than a loop in a
// separate thread; at QoS 0 the costs are equal. The program sets TCP_NODELAY, which the documents
// of the library recommend for latency. Without it, writes wait up to 40 ms for delayed TCP acks,
// both at QoS 0 and in an echo.
var libmosquitto = contender{name: "libmosquitto", command: libmosquittoCommand, version: libmosquittoVersion, end: removeLibmosquitto}

//go:embed libmosquitto.c
var libmosquittoSource []byte

// libmosquittoProgram is the path of the compiled program. The first call of command sets it, and
// end clears it.
var libmosquittoProgram string

func libmosquittoCommand(s *scenario) ([]string, error) {
	if libmosquittoProgram == "" {
		if err := buildLibmosquitto(); err != nil {
			return nil, err
		}
	}
	if s.Kind == idle || s.Kind == durable || s.Filters > 1 || s.Hold > 0 {
		return nil, errUnsupported
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "tcp://"))
	if err != nil {
		return nil, err
	}
	argv := []string{libmosquittoProgram, host, port, s.Kind.String()}
	for _, n := range []int{int(s.QoS), s.Payload, s.Window, s.Messages, s.Clients, int(s.keepAlive() / time.Second)} {
		argv = append(argv, strconv.Itoa(n))
	}
	return append(argv, topic), nil
}

// buildLibmosquitto compiles the C program in a new folder.
func buildLibmosquitto() error {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return errors.New("there is no C compiler, cc")
	}
	probe := exec.Command(cc, "-E", "-x", "c", "-")
	probe.Stdin = strings.NewReader("#include <mosquitto.h>\n")
	if probe.Run() != nil {
		return errors.New("mosquitto.h is not installed (Debian: libmosquitto-dev)")
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "libmosquitto")
	compile := exec.Command(cc, "-O2", "-std=gnu11", "-o", program, "-x", "c", "-", "-lmosquitto", "-lpthread")
	compile.Stdin = bytes.NewReader(libmosquittoSource)
	if text, err := compile.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("cc: %w: %s", err, tail(string(text), 400)), os.RemoveAll(dir))
	}
	libmosquittoProgram = program
	return nil
}

// libmosquittoVersion asks the compiled program.
func libmosquittoVersion(*debug.BuildInfo) string {
	if libmosquittoProgram == "" {
		return unknown
	}
	text, err := exec.Command(libmosquittoProgram).Output()
	if err != nil {
		return unknown
	}
	return known(strings.TrimSpace(string(text)))
}

func removeLibmosquitto() error {
	if libmosquittoProgram == "" {
		return nil
	}
	dir := filepath.Dir(libmosquittoProgram)
	libmosquittoProgram = ""
	return os.RemoveAll(dir)
}
