package stream

import (
	"errors"
	"testing"
)

// The buffer keeps no memory for the errors of messages whose Receipts have been read.
func TestReorderBufferForgetsItsExceptions(t *testing.T) {
	const n = 10_000
	var b reorderBuffer
	for range n {
		if !b.takes(n) {
			b.passOn()
		}
		b.reserve()
	}
	b.passOn()
	b.put(results{n: n, err: errors.New("lost")})
	got := 0
	for r := new(Receipt); b.first(r); b.pop() {
		got++
	}
	if got != n || b.exceptions != nil {
		t.Errorf("%d Receipts, %d exceptions in a map that is kept: %t", got, len(b.exceptions), b.exceptions != nil)
	}
}
