package stream

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// newCalls returns publishCalls that count how often they wake the loop.
func newCalls() (p *publishCalls, wakes *int) {
	wakes = new(int)
	return &publishCalls{wake: func() { *wakes++ }}, wakes
}

func begin(p *publishCalls, topic string) *publishCall {
	call, _ := p.begin(frames.Message{Topic: topic})
	return call
}

func topics(calls []*publishCall) (names []string) {
	for _, call := range calls {
		names = append(names, call.message.Topic)
	}
	return names
}

func TestTheLastRunningCallWakesTheLoop(t *testing.T) {
	p, wakes := newCalls()
	a, b, c := begin(p, "a"), begin(p, "b"), begin(p, "c")
	p.leave(b)
	p.leave(a)
	if *wakes != 0 {
		t.Fatal("the loop was woken while a call was running")
	}
	p.leave(c)
	if *wakes != 1 {
		t.Fatalf("woken %d times, want once", *wakes)
	}
	calls, left := p.take(nil, room(2))
	if got := topics(calls); !slices.Equal(got, []string{"b", "a"}) || !left {
		t.Fatalf("took %v, others left: %t", got, left)
	}
	if calls, left = p.take(nil, room(math.MaxInt)); len(calls) != 1 || left {
		t.Fatalf("took %v, others left: %t", topics(calls), left)
	}
}

// A call that has received its Receipt still counts as running. Its caller will publish again or
// return from the call, and that wakes the loop.
func TestACallRunsFromItsReceiptToItsReturn(t *testing.T) {
	p, wakes := newCalls()
	a := begin(p, "a")
	p.leave(a)
	calls, _ := p.take(nil, room(1))
	p.answer(calls[0], Receipt{ID: 7})
	b := begin(p, "b")
	p.leave(b)
	if *wakes != 1 {
		t.Fatalf("woken %d times while a call with its Receipt runs, want once, for a", *wakes)
	}
	if r := <-a.receipt; r.ID != 7 {
		t.Fatalf("the Receipt is %v", r)
	}
	p.end(a)
	if *wakes != 2 {
		t.Fatal("the return of the last running call did not wake the loop for the message of the other call")
	}
	if p.end(begin(p, "c")); *wakes != 3 {
		t.Fatal("a call that ends with messages waiting did not wake the loop")
	}
}

func TestACallThatEndsWithNothingWaitingWakesNobody(t *testing.T) {
	p, wakes := newCalls()
	if p.end(begin(p, "a")); *wakes != 0 {
		t.Fatal("woken for nothing")
	}
}

func TestATakenMessageCannotBeTakenBack(t *testing.T) {
	p, _ := newCalls()
	a, b := begin(p, "a"), begin(p, "b")
	p.leave(a)
	p.leave(b)
	if !p.takeBack(a) || p.takeBack(a) {
		t.Error("a message that waits is taken back once")
	}
	if calls, _ := p.take(nil, room(5)); !slices.Equal(topics(calls), []string{"b"}) {
		t.Errorf("took %v", topics(calls))
	}
	if p.takeBack(b) {
		t.Error("an accepted message was taken back")
	}
}

func TestAClosedListReturnsItsCallsAndAcceptsNone(t *testing.T) {
	p, _ := newCalls()
	a := begin(p, "a")
	p.leave(a)
	if waiting := p.close(); !slices.Equal(waiting, []*publishCall{a}) {
		t.Errorf("close returned %v", topics(waiting))
	}
	if p.leave(begin(p, "b")) {
		t.Error("a closed list accepted a message")
	}
	if n := p.running.Load(); n != 0 {
		t.Errorf("%d calls run", n)
	}
}

func TestEndedCallsAreUsedAgainUpToABound(t *testing.T) {
	p, _ := newCalls()
	for range 2 {
		var calls []*publishCall
		for i := range 2 * maxSpareCalls {
			calls = append(calls, begin(p, strconv.Itoa(i)))
		}
		for _, call := range calls {
			p.end(call)
		}
	}
	if n := len(p.spare); n != maxSpareCalls {
		t.Errorf("%d spare calls, want %d", n, maxSpareCalls)
	}
	if call := p.spare[0]; call.message.Topic != "" {
		t.Error("a spare call keeps its message")
	}
	if p.shrink(); p.spare != nil {
		t.Error("an idle session keeps spare calls")
	}
}

// Calls run in any interleaving. The loop must be woken for every message.
func TestEveryMessageWakesTheLoop(t *testing.T) {
	const callers, each = 20, 500
	wakeups := make(chan struct{}, 1)
	p := &publishCalls{wake: func() {
		select {
		case wakeups <- struct{}{}:
		default:
		}
	}}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := range each {
				call := begin(p, strconv.Itoa(i))
				p.leave(call)
				<-call.receipt
				p.end(call)
				if i%10 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	for taken := 0; taken < callers*each; {
		<-wakeups
		calls, left := p.take(nil, room(7))
		for left {
			var more []*publishCall
			more, left = p.take(nil, room(7))
			calls = append(calls, more...)
		}
		for _, call := range calls {
			p.answer(call, Receipt{})
		}
		taken += len(calls)
	}
	all.Wait()
	if n := p.running.Load(); n != 0 {
		t.Errorf("%d calls run", n)
	}
}
