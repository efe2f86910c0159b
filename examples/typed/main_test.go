package main

import (
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestValuesTravelAndBadPayloadsAreReported(t *testing.T) {
	p := exampletest.Start(t, "-every", "10ms")
	p.Expect(
		`^received  warm: invalid character`,
		`^published \{"sensor":"kitchen","celsius":20\.5,"taken":".*"\} <nil>$`,
		`^received  kitchen: 20\.5 °C$`,
		`^received  kitchen: 25\.0 °C$`,
	)
	p.Interrupt()
}
