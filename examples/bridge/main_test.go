package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// start starts the bridge between two brokers.
func start(t *testing.T, left, right *testBroker, args ...string) *exampletest.Program {
	t.Helper()
	p := exampletest.Start(t, append(args, "-broker", left.URL, "-other", right.URL)...)
	left.awaitJoined()
	right.awaitJoined()
	return p
}

// end ends the bridge, and checks that it has acknowledged every message.
func end(t *testing.T, p *exampletest.Program) {
	t.Helper()
	exampletest.LastLine(t, p.Interrupt(), `^finished  right: \d+ received, 0 unacknowledged$`)
}

func TestMessagesAreForwardedUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(`^other     mqtt://127`, `^forwarded plant/boiler/temperature to right$`, `^forwarded alarm/door to right$`)
	exampletest.LastLine(t, p.Interrupt(), `^finished  right: 0 received, 0 unacknowledged$`)
}

func TestNoMessageIsLostWhenEitherBrokerIsKilled(t *testing.T) {
	left, right := startBroker(t), startBroker(t)
	p := start(t, left, right)
	const burst, offline = 50, 10 // messages of each topic
	n := 0
	for kill, victim := range []*testBroker{left, right, left, right} {
		left.publishAll("left", n, burst)
		right.publishAll("right", n, burst)
		victim.awaitArrivals(len(topics)*n + rand.IntN(len(topics)*burst)) // the others are under way
		victim.kill()
		n += burst
		left.publishAll("left", n, offline) // the broker keeps them for the session of the bridge
		right.publishAll("right", n, offline)
		n += offline
		victim.restart()
		atRight, atLeft := right.awaitArrivals(len(topics)*n), left.awaitArrivals(len(topics)*n)
		t.Logf("kill %d: %d messages have arrived at left and at right, %d and %d times", kill+1, len(topics)*n, len(atLeft), len(atRight))
	}
	for _, side := range []struct {
		arrived []arrival
		from    string
	}{{left.awaitArrivals(0), "right "}, {right.awaitArrivals(0), "left "}} {
		for _, a := range side.arrived {
			if !strings.HasPrefix(a.payload, side.from) {
				t.Errorf("%v was sent back", a)
			}
		}
	}
	end(t, p)
}

// The broker that is killed loses its sessions and everything else.
func TestTheOrderOfATopicIsKeptWhenTheBrokerThatReceivesIsKilled(t *testing.T) {
	left, right := startBroker(t), startBroker(t)
	p := start(t, left, right)
	const burst = 100
	for kill := range 3 {
		left.publishAll("left", kill*burst, burst)
		right.awaitArrivals(len(topics) * (kill*burst + rand.IntN(burst)))
		right.kill()
		right.replace()
		right.restart()
		t.Logf("kill %d: %d arrivals", kill+1, len(right.awaitArrivals(len(topics)*(kill+1)*burst)))
	}
	next := make(map[string]int)
	for _, a := range firsts(right.awaitArrivals(0)) {
		if want := fmt.Sprint("left ", next[a.topic]); a.payload != want {
			t.Fatalf("%s: %q arrived, want %q", a.topic, a.payload, want)
		}
		next[a.topic]++
	}
	end(t, p)
}

func TestAKilledBridgeForwardsAtItsNextStart(t *testing.T) {
	left, right := startBroker(t), startBroker(t)
	p := start(t, left, right)
	left.publishAll("left", 0, 100)
	right.awaitArrivals(rand.IntN(300))
	p.Kill()
	left.await(left.gone, "the end of the bridge")
	left.publishAll("left", 100, 10)
	p = start(t, left, right)
	right.awaitArrivals(len(topics) * 110)
	end(t, p)
}

func TestMessagesThatTheOtherBrokerDoesNotAcknowledgeAreLeftToTheNextBridge(t *testing.T) {
	left, right := startBroker(t), startBroker(t)
	p := start(t, left, right)
	right.deaf.Store(true)
	left.publishAll("left", 0, 5)
	right.await(right.missed, "a message")
	p.FailAtInterrupt(`Shutdown: 0 publications and \d+ deliveries were left unfinished`)
	right.deaf.Store(false)
	p = start(t, left, right)
	right.awaitArrivals(5 * len(topics))
	end(t, p)
}

func TestAForwardedTopicWithThePrefixIsNotForwardedBack(t *testing.T) {
	left, right := startBroker(t), startBroker(t)
	p := start(t, left, right, "-prefix", "bridged/", "-filters", "plant/#,bridged/#")
	left.publish("plant/a", "1")
	right.publish("plant/a", "2")
	p.Expect(`^forwarded plant/a to right$`, `^forwarded plant/a to left$`)
	if got := right.awaitArrivals(1); got[0] != (arrival{"bridged/plant/a", "1"}) {
		t.Errorf("right has %v", got)
	}
	if got := left.awaitArrivals(1); got[0] != (arrival{"bridged/plant/a", "2"}) {
		t.Errorf("left has %v", got)
	}
	left.publish("plant/a", "3") // behind the messages that came back
	right.awaitArrivals(2)
	left.publish("plant/a", "4")
	if got := right.awaitArrivals(3); len(got) != 3 {
		t.Errorf("right has %v", got)
	}
	if got := left.awaitArrivals(1); len(got) != 1 {
		t.Errorf("left has %v", got)
	}
	p.Interrupt()
}
