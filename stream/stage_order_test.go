package stream

import (
	"errors"
	"testing"
)

// What went wrong once, with many messages, takes no memory when they are gone.
func TestOrderForgetsItsOddities(t *testing.T) {
	const n = 10_000
	var o order
	for range n {
		if !o.takes(n) {
			o.hand()
		}
		o.reserve()
	}
	o.hand()
	o.put(results{n: n, err: errors.New("lost")})
	got := 0
	for r := new(Receipt); o.first(r); o.pop() {
		got++
	}
	if got != n || o.oddities != nil {
		t.Errorf("%d Receipts, %d oddities in a map that is kept: %t", got, len(o.oddities), o.oddities != nil)
	}
}
