package flow_test

import (
	"crypto/md5"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

var exploreAll = flag.Bool("explore.all", false, "explore the larger situations too, which takes minutes")

// action is one step of an interleaving. An ack of the consumer's i-th delivery is acknowledge+i,
// its rejection reject+i.
type action byte

const (
	write action = iota
	toClient
	toBroker
	handOver
	connect
	accept
	send
	cut
	die
	lose
	refuse
	acknowledge
	reject = acknowledge + 16
)

var actionNames = [...]string{
	"the client commits and writes", "the client receives", "the broker receives", "a message is handed over", "the client connects",
	"a publication is accepted", "the broker sends", "the connection breaks", "the process dies", "the broker loses the session",
	"the broker refuses",
	"the consumer acks",
}

// A situation is a state that can be explored.
type situation interface {
	copy() situation
	encode() []byte // equal for states that behave alike
	enabled(dst []action) []action
	good(a action) bool // a good network and a good user take a
	do(a action)
	broken() string   // the promise that was broken, or an empty string
	finished() string // how the state differs from the end that everything must lead to
	describe(a action) string
}

// enabled returns the actions that can happen. Those that a good network and a good user take come
// first.
func (w *world) enabled(dst []action) []action {
	can := func(a action, ok bool) {
		if ok {
			dst = append(dst, a)
		}
	}
	p := w.plan
	can(write, len(w.filling) > 0 || w.journal.Len() > 0)
	can(toClient, len(w.toClient) > 0)
	can(toBroker, len(w.toBroker) > 0)
	can(handOver, len(w.inbox) > 0)
	for i := range w.taken {
		can(acknowledge+action(i), true)
		can(reject+action(i), w.rejects < p.rejects)
	}
	can(connect, !w.online)
	can(accept, w.added < len(p.out))
	can(send, w.online && w.broker.sent < len(p.in) && (p.quota == 0 || len(w.broker.inFlight) < p.quota))
	can(refuse, len(w.toBroker) > 0 && w.broker.mayRefuse(w, w.toBroker[0]))
	can(cut, w.online && w.cuts < p.cuts)
	can(die, w.crashes < p.crashes)
	can(lose, !w.online && w.broker.present && w.losses < p.losses)
	return dst
}

func (w *world) good(a action) bool { return a <= connect || a >= acknowledge && a < reject }

func (w *world) copy() situation { return w.clone() }

func (w *world) broken() string { return w.wrong }

// do performs an action.
func (w *world) do(a action) {
	switch a {
	case write:
		w.write()
	case toClient:
		w.receive()
	case toBroker:
		p := w.toBroker[0]
		w.toBroker = w.toBroker[1:]
		w.toClient = append(w.toClient, w.broker.receive(w, p)...)
	case handOver:
		w.handOver()
	case connect:
		w.connect()
	case accept:
		w.accept()
	case send:
		w.toClient = append(w.toClient, w.broker.send(w))
	case cut:
		w.cuts++
		w.cut()
	case die:
		w.crashes++
		w.die()
	case lose:
		w.losses++
		w.broker.lose()
	case refuse:
		p := w.toBroker[0]
		w.toBroker = w.toBroker[1:]
		w.toClient = append(w.toClient, w.broker.refuse(w, p)...)
	default:
		if a >= reject {
			w.reject(int(a - reject))
			return
		}
		w.acknowledge(int(a - acknowledge))
	}
}

// report is the result of an exploration.
type report struct {
	states int
	wrong  string
	trace  []string // the shortest one that leads to wrong
}

func (r report) String() string {
	if r.wrong == "" {
		return fmt.Sprintf("%d states", r.states)
	}
	return fmt.Sprintf("%s, after %d steps:\n\t%s", r.wrong, len(r.trace), strings.Join(r.trace, "\n\t"))
}

// step says how a state was reached.
type step struct {
	from int32
	by   action
}

type hash = [md5.Size]byte

// explore visits every state that first can lead to, breadth first, until a promise is broken.
func explore(first situation) report {
	type visit struct {
		at    situation
		index int32
	}
	steps := []step{{from: -1}}
	seen := map[hash]bool{md5.Sum(first.encode()): true}
	ends := map[hash]bool{} // states from which a good network leads to the end
	level := []visit{{first, 0}}
	var actions []action
	for len(level) > 0 {
		var next []visit
		for _, v := range level {
			actions = v.at.enabled(actions[:0])
			for _, a := range actions {
				at := v.at.copy()
				at.do(a)
				key := md5.Sum(at.encode())
				if at.broken() == "" && seen[key] {
					continue
				}
				seen[key] = true
				steps = append(steps, step{v.index, a})
				wrong := at.broken()
				if wrong == "" {
					wrong = checkEnd(at, key, ends)
				}
				if wrong != "" {
					return report{len(seen), wrong, trace(first, steps)}
				}
				next = append(next, visit{at, int32(len(steps) - 1)})
			}
		}
		level = next
	}
	return report{states: len(seen)}
}

// checkEnd checks that a good network and a good user lead from a state to one in which nothing is
// left to do, and that the state, if it is such a one, is the end that the promises require. It
// adds the states on the way to ends. The exploration visits these states too, and reports their
// errors.
func checkEnd(at situation, key hash, ends map[hash]bool) string {
	if goodAction(at) < 0 {
		if left := at.finished(); left != "" {
			return "nothing is left to do, and " + left
		}
		return ""
	}
	if ends[key] {
		return ""
	}
	at = at.copy()
	var passed []hash
	for range maxSteps {
		passed = append(passed, key)
		a := goodAction(at)
		if a >= 0 {
			at.do(action(a))
			key = md5.Sum(at.encode())
		}
		if a < 0 || at.broken() != "" || ends[key] {
			for _, key := range passed {
				ends[key] = true
			}
			return ""
		}
	}
	return fmt.Sprintf("a good network leads to no end in %d steps", maxSteps)
}

const maxSteps = 200

// goodAction returns the next action of a good network and a good user, or -1 if nothing is left to
// do.
func goodAction(at situation) int {
	var room [16]action
	actions := at.enabled(room[:0])
	if i := slices.IndexFunc(actions, at.good); i >= 0 {
		return int(actions[i])
	}
	return -1
}

// trace describes the steps that lead to the last state.
func trace(at situation, steps []step) (lines []string) {
	var actions []action
	for i := int32(len(steps) - 1); i > 0; i = steps[i].from {
		actions = append(actions, steps[i].by)
	}
	slices.Reverse(actions)
	at = at.copy()
	for _, a := range actions {
		lines = append(lines, at.describe(a))
		at.do(a)
	}
	return lines
}

func (w *world) describe(a action) string {
	line := actionNames[min(a, acknowledge)]
	switch {
	case a == toClient:
		line += " " + w.toClient[0].String()
	case a == toBroker || a == refuse:
		line += " " + w.toBroker[0].String()
	case a >= reject:
		line = fmt.Sprintf("the consumer rejects message %d", w.taken[a-reject].msg)
	case a >= acknowledge:
		line += fmt.Sprintf(" message %d", w.taken[a-acknowledge].msg)
	case a == write:
		line += fmt.Sprint(" ", w.filling)
	}
	return line
}

const (
	q0 = frames.AtMostOnce
	q1 = frames.AtLeastOnce
	q2 = frames.ExactlyOnce
)

// Every interleaving keeps the promises: exactly once at QoS 2, at least once at QoS 1, order, one
// true end for each publication, and no ack for a message that no consumer has acknowledged. From
// every state a good network leads to the end.
func TestEveryInterleavingKeepsThePromises(t *testing.T) {
	for _, x := range []struct {
		name string
		plan plan
		long bool
	}{
		{"two publications, window 1", plan{window: 1, out: []frames.QoS{q2, q1}, cuts: 2, crashes: 1, losses: 1}, false},
		{"two publications, window 2", plan{window: 2, out: []frames.QoS{q2, q2}, cuts: 2, crashes: 1, losses: 1}, false},
		{"three publications, window 1", plan{window: 1, out: []frames.QoS{q1, q0, q2}, cuts: 2, crashes: 1, losses: 1}, false},
		{"three publications, window 2", plan{window: 2, out: []frames.QoS{q2, q1, q2}, cuts: 2, crashes: 1, losses: 1}, true},
		{"two messages", plan{window: 1, in: []frames.QoS{q1, q2}, cuts: 2, crashes: 1, losses: 1}, false},
		{"two QoS 2 messages", plan{window: 1, in: []frames.QoS{q2, q2}, cuts: 2, crashes: 1, losses: 1}, false},
		{"three messages", plan{window: 1, in: []frames.QoS{q2, q1, q2}, cuts: 2, crashes: 1, losses: 1}, true},
		{"both directions", plan{window: 1, out: []frames.QoS{q2}, in: []frames.QoS{q2}, cuts: 2, crashes: 1, losses: 1}, false},
		{"MQTT 5, two publications", plan{v5: true, window: 1, out: []frames.QoS{q2, q1}, cuts: 2, crashes: 1, refusals: 1}, false},
		{"MQTT 5, two QoS 2 publications", plan{v5: true, window: 2, out: []frames.QoS{q2, q2}, cuts: 1, crashes: 1, losses: 1, refusals: 2}, false},
		{"MQTT 5, two messages", plan{v5: true, window: 1, in: []frames.QoS{q1, q2}, cuts: 1, crashes: 1, losses: 1, rejects: 2, quota: 1}, false},
		{"MQTT 5, two QoS 2 messages", plan{v5: true, window: 1, in: []frames.QoS{q2, q2}, cuts: 2, crashes: 1, rejects: 1, quota: 2}, false},
		{"MQTT 5, more publications", plan{v5: true, window: 2, out: []frames.QoS{q2, q1, q2}, cuts: 2, crashes: 1, losses: 1, refusals: 2}, true},
		{"MQTT 5, more messages", plan{v5: true, window: 1, in: []frames.QoS{q2, q1, q2}, cuts: 2, crashes: 1, losses: 1, rejects: 2, quota: 2}, true},
		{"more in both directions", plan{window: 2, out: []frames.QoS{q2, q1}, in: []frames.QoS{q1, q2}, cuts: 1, crashes: 1, losses: 1}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.long && !*exploreAll {
				t.Skip("takes long: use -explore.all")
			}
			began := time.Now()
			r := explore(newWorld(&x.plan))
			if r.wrong != "" {
				t.Fatal(r)
			}
			t.Logf("%v, in %v", r, time.Since(began).Round(time.Millisecond))
		})
	}
}
