package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestEachQoSArrivesAndHasItsReceiptUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(
		`^broker    mqtt://127\.0\.0\.1:\d+, in this process; -broker URL uses another one$`,
		`^running   Ctrl-C ends it$`,
		`^online    mqtt://127\.0\.0\.1:\d+ at MQTT 5$`,
		`^received  foo/bar/baz1 at QoS 0: hello world 0, round 1$`,
		`^received  foo/bar/baz2 at QoS 1: hello world 1, round 1$`,
		`^received  foo/bar/baz3 at QoS 2: hello world 2, round 1$`,
		`^receipt   foo/bar/baz1 at QoS 0, packet 0: hello world 0, round 1$`,
		`^receipt   foo/bar/baz2 at QoS 1, packet \d+: hello world 1, round 1$`,
		`^receipt   foo/bar/baz3 at QoS 2, packet \d+: hello world 2, round 1$`,
	)
	out := p.Interrupt()
	if !slices.Contains(out, "closed    the client has ended") || slices.ContainsFunc(out, func(line string) bool { return strings.HasPrefix(line, "offline") }) {
		t.Errorf("the end reads as a failure:\n%s", strings.Join(out, "\n"))
	}
	exampletest.LastLine(t, out, `^finished  \d+ sent, \d+ acknowledged, 0 left; \d+ received, 0 unacknowledged$`)
}

func TestTheVersionIsThatOfTheFlag(t *testing.T) {
	for level, version := range map[string]string{"3": "3.1", "4": "3.1.1", "5": "5"} {
		p := exampletest.Start(t, "-version", level)
		p.Expect(`^online    mqtt://127\.0\.0\.1:\d+ at MQTT `+version+`$`, `^receipt   foo/bar/baz3 at QoS 2, `)
		p.Interrupt()
	}
}

func TestItGoesOnRoundAfterRound(t *testing.T) {
	p := exampletest.Start(t, "-every", "20ms")
	p.Expect(`^received  foo/bar/baz3 .* round 10$`, `^receipt   foo/bar/baz3 .* round 10$`)
	exampletest.LastLine(t, p.Interrupt(), `^finished  .* 0 left; .* 0 unacknowledged$`)
}

func TestEachIntervalHasALineOfFigures(t *testing.T) {
	p := exampletest.Start(t, "-figures", "20ms", "-every", "1h") // with one round, the last figures stay
	p.Expect(
		`^figures   \d+ sent, \d+ acknowledged, \d+ received; now \d+ queued, \d+ in flight, \d+ unacknowledged; connections 1$`,
		`^figures   3 sent, 2 acknowledged, 3 received; now 0 queued, 0 in flight, 0 unacknowledged; connections 1$`,
	)
	p.Interrupt()
}

func TestEachCutIsRestored(t *testing.T) {
	for _, version := range []string{"3", "4", "5"} {
		p := exampletest.Start(t, "-version", version, "-every", "20ms", "-cut", "200ms")
		for range 2 {
			p.Expect(
				`^cut       by the broker \(-cut 200ms\)$`,
				`^offline   mqtt: .*connection`,
				`^online    mqtt://`,
				`^restored  the connection and 3 topic filters; publications sent again: [1-9]\d*$`,
			)
		}
		exampletest.LastLine(t, p.Interrupt(), `^finished  .* 0 left; .* 0 unacknowledged \(a cut loses messages at QoS 0\)$`)
	}
}

func TestOnlyTheBrokerInThisProcessCanBeCut(t *testing.T) {
	exampletest.Start(t, "-broker", "mqtt://localhost", "-cut", "1s").Fail(`-cut .* does not go with -broker`)
}

func TestADurationThatCannotBeIsRefused(t *testing.T) {
	exampletest.Start(t, "-every", "0").Misused(`^invalid value "0" for flag -every: must be above 0\n`)
	exampletest.Start(t, "-figures", "0").Misused(`^invalid value "0" for flag -figures: must be above 0\n`)
	exampletest.Start(t, "-cut", "-3s").Misused(`^invalid value "-3s" for flag -cut: must be at least 0\n`)
}
