package stream

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// turnsModel compares turns with a list of feeders.
type turnsModel struct {
	turns
	queue   []chan struct{} // the feeders with messages, in order
	resting []chan struct{} // the others
	told    chan struct{}   // the feeder that knows that it has the turn
}

func (m *turnsModel) begin(*rapid.T) {
	if len(m.resting) == 0 {
		return
	}
	mine := m.resting[0]
	m.resting = m.resting[1:]
	m.queue = append(m.queue, mine)
	if m.turns.begin(mine) {
		m.told = mine
	}
}

func (m *turnsModel) pass(*rapid.T) {
	if m.told == nil {
		return
	}
	mine := m.queue[0]
	m.queue = append(m.queue[1:], mine)
	m.told = nil
	if m.turns.pass() {
		m.told = mine
	}
}

func (m *turnsModel) leave(t *rapid.T) {
	if len(m.queue) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.queue)-1).Draw(t, "feeder")
	mine := m.queue[i]
	m.queue = slices.Delete(m.queue, i, i+1)
	m.resting = append(m.resting, mine)
	if m.told == mine {
		m.told = nil
	}
	m.turns.leave(mine)
	if len(mine) > 0 {
		t.Fatal("a feeder that has left gets the turn")
	}
}

// take lets the first feeder learn of its turn.
func (m *turnsModel) take(*rapid.T) {
	if len(m.queue) > 0 && len(m.queue[0]) > 0 {
		<-m.queue[0]
		m.told = m.queue[0]
	}
}

// check wants that the first feeder, and no other, knows of its turn or will learn of it.
func (m *turnsModel) check(t *rapid.T) {
	for i, mine := range m.queue {
		if knows := m.told == mine || len(mine) > 0; knows != (i == 0) {
			t.Fatalf("feeder %d of %d knows of its turn: %t", i, len(m.queue), knows)
		}
	}
}

func TestTheFirstFeederHasTheTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &turnsModel{}
		for range 4 {
			m.resting = append(m.resting, m.feeder())
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": m.begin, "pass": m.pass, "leave": m.leave, "take": m.take, "": m.check,
		})
	})
}
