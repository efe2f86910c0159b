package stream

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func newTestSet(topics ...string) *filterSet {
	var filters []frames.Filter
	for _, topic := range topics {
		filters = append(filters, frames.Filter{Topic: topic, QoS: frames.ExactlyOnce})
	}
	return newFilterSet(newInboxes(1000, 500, newLife()).newInbox(), filters, false)
}

func TestGrantsBelongToTheirFilters(t *testing.T) {
	set := newTestSet("a", "b", "c")
	set.grant(1, 2)
	set.grant(2, 1)
	got := set.Granted()
	if want := []frames.QoS{0, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("granted %v, want %v", got, want)
	}
	set.grant(1, frames.UnspecifiedError)
	if q := set.Granted()[1]; q != 0 {
		t.Errorf("a refused filter is granted %v", q)
	}
	got[0] = 9
	if set.Granted()[0] == 9 {
		t.Error("Granted returned the memory of the set")
	}
}

func TestEveryCallOfUnsubscribeIsAnsweredOnce(t *testing.T) {
	set := newTestSet("a")
	first, second := make(chan error, 1), make(chan error, 1)
	set.leavers = []chan<- error{first, second}
	set.end(nil, nil)
	set.end(nil, errors.New("a second answer"))
	for _, reply := range []chan error{first, second} {
		if err := <-reply; err != nil {
			t.Error(err)
		}
	}
	if !set.inbox.finished {
		t.Error("the inbox goes on")
	}
}
