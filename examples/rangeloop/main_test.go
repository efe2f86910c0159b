package main

import (
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestTemperaturesArriveUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(
		`^plant/boiler/temperature: 61$`,
		`^plant/office/temperature: 21$`,
	)
	p.Interrupt()
}

func TestAMissingBrokerIsAnError(t *testing.T) {
	exampletest.Start(t, "-broker", "unix:///nowhere").Fail(`nowhere`)
}
