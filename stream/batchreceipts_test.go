package stream

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
)

// The results of a batch come in any order and in parts of any length. Each message has the Receipt
// of its result.
func TestReceiptsAgreeWithASlice(t *testing.T) {
	failures := []error{nil, nil, nil, errors.New("one"), errors.New("two")}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "messages")
		r := Receipts{messages: make([]frames.Message, n)}
		want, parts := make([]Receipt, n), []results{}
		for from := 0; from < n; {
			part := results{
				place: uint64(from),
				n:     uint64(rapid.IntRange(1, n-from).Draw(t, "length")),
				code:  rapid.SampledFrom([]frames.ReasonCode{frames.Success, frames.NoMatchingSubscribers}).Draw(t, "code"),
				err:   rapid.SampledFrom(failures).Draw(t, "error"),
			}
			if rapid.Bool().Draw(t, "QoS 0") {
				part.id = uint16(100 + from) // identifiers that follow each other
			}
			for i := range int(part.n) {
				at := from + i
				r.messages[at] = frames.Message{Topic: string(rune('a' + at))}
				want[at] = Receipt{Message: r.messages[at], Code: part.code, Err: part.err}
				if part.id != 0 {
					want[at].ID = part.id + uint16(i)
				}
			}
			parts = append(parts, part)
			from += int(part.n)
		}
		for _, part := range rapid.Permutation(parts).Draw(t, "order") {
			r.record(part)
		}
		checkReceipts(t, r, want)
	})
}

func checkReceipts(t *rapid.T, r Receipts, want []Receipt) {
	same := func(a, b Receipt) bool {
		return a.Topic == b.Topic && a.ID == b.ID && a.Code == b.Code && a.Err == b.Err
	}
	var failed error
	for i := range want {
		if !same(r.At(i), want[i]) {
			t.Fatalf("Receipt %d is %+v, want %+v", i, r.At(i), want[i])
		}
		if failed == nil {
			failed = want[i].Err
		}
	}
	if r.Err() != failed || r.Len() != len(want) {
		t.Fatalf("%d Receipts, error %v, want %d, %v", r.Len(), r.Err(), len(want), failed)
	}
	next := 0
	for i, receipt := range r.All() {
		if i != next || !same(receipt, want[i]) {
			t.Fatalf("Receipt %d at %d is %+v, want %+v", i, next, receipt, want[i])
		}
		next++
	}
	if next != len(want) {
		t.Fatalf("%d Receipts in a loop, want %d", next, len(want))
	}
	for range r.All() {
		break // the loop ends early
	}
}
