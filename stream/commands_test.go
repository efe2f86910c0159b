package stream

import (
	"slices"
	"testing"
)

// A command may end the session, so the commands behind it must not run in the same turn.
func TestCommandsRunInOrderOneInEachTurn(t *testing.T) {
	var c commands
	var ran []int
	replies := make([]chan bool, 3)
	for i := range replies {
		replies[i] = make(chan bool, 1)
		if !c.add(waitingCommand{func(*loop) { ran = append(ran, i) }, replies[i]}) {
			t.Fatalf("command %d was refused", i)
		}
	}
	for i := range replies {
		more := c.runNext(nil)
		if len(ran) != i+1 || ran[i] != i || more != (i < len(replies)-1) || !<-replies[i] {
			t.Errorf("after turn %d: %v ran, more: %v", i, ran, more)
		}
	}
	if c.runNext(nil) || len(ran) != len(replies) || c.waiting != nil {
		t.Errorf("%v ran; memory is kept: %v", ran, c.waiting != nil)
	}
}

func TestClosedCommandsAreRefused(t *testing.T) {
	var c commands
	ran, early := 0, make(chan bool, 2)
	run := func(*loop) { ran++ }
	c.add(waitingCommand{run, early})
	c.add(waitingCommand{run, early})
	c.close()
	for range 2 {
		if <-early {
			t.Error("a command that waited at close has run")
		}
	}
	if c.add(waitingCommand{run, nil}) || c.runNext(nil) || ran > 0 {
		t.Errorf("%d commands ran after close", ran)
	}
	if slices.ContainsFunc(c.waiting, func(w waitingCommand) bool { return w.run != nil }) {
		t.Error("a command waits after close")
	}
}
