package main

import (
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestEachQoSHasItsReceiptUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t, "-every", "1h")
	p.Expect(
		`^online    mqtt://127\.0\.0\.1:\d+ at MQTT 5$`,
		`^published foo/bar/baz1 at QoS 0, packet 0: hello world 0, round 1$`,
		`^published foo/bar/baz2 at QoS 1, packet 1: hello world 1, round 1$`,
		`^published foo/bar/baz3 at QoS 2, packet 2: hello world 2, round 1$`,
	)
	exampletest.LastLine(t, p.Interrupt(), `^finished  3 sent, 2 acknowledged, 0 left$`)
}

func TestAWrongBrokerIsAnError(t *testing.T) {
	exampletest.Start(t, "-broker", "localhost:1883").Fail(`mqtt: URL has `)
}
