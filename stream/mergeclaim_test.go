package stream

import (
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// Of calls at the same time, one makes the channel, and the others return it.
func TestMergeIsTheSameAtCallsAtTheSameTime(t *testing.T) {
	boxes := newInboxes(1<<20, 1<<20, newLife())
	var subs []*Subscription
	for range 3 {
		subs = append(subs, &Subscription{set: newFilterSet(boxes.newInbox(), []frames.Filter{{Topic: "a"}}, true)})
	}
	var one, two, other merge
	for m, of := range map[*merge][]*Subscription{&one: subs[:2], &two: subs[:2], &other: subs[1:]} {
		if err := m.set(of); err != nil {
			t.Fatal(err)
		}
	}
	if same, err := one.claim(); same != nil || err != nil {
		t.Fatalf("the first call returned %p and %v", same, err)
	}
	if same, err := two.claim(); same != &one || err != nil {
		t.Errorf("the second call returned %p and %v, want the merge of the first", same, err)
	}
	if same, err := other.claim(); same != nil || err == nil {
		t.Errorf("a call with other Subscriptions returned %p and %v", same, err)
	}
	if subs[0].set.inbox.merged != &one || subs[1].set.inbox.merged != &one || subs[2].set.inbox.merged != nil {
		t.Error("an inbox has changed its consumer")
	}
}
