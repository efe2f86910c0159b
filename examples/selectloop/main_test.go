package main

import (
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestCommandsArriveAndHeartbeatsLeaveUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(
		`^lamp on$`,
		`^heartbeat \d\d:\d\d:\d\d <nil>$`,
	)
	p.Interrupt()
}
