package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow/list"
)

// A slab is the array of slots that the inboxes of a session share. A message keeps its slot while
// it waits, and lists link the slots by their numbers.
//
// Invariant: a slot in use is in the list of its inbox, whose links are byInbox. It is in qos0 too,
// whose links are byAge, if its message is QoS 0. All other slots but slot 0 are in free.
type slab struct {
	slots   []slot // slot 0 stays unused
	byInbox []list.Links
	byAge   []list.Links
	free    []int32
	qos0    list.List       // of all inboxes, oldest first
	times   []time.Duration // when the message of each slot arrived, 0 or beyond the end if that is not wanted
}

// A slot holds one waiting message.
type slot struct {
	delivery Delivery // its from is the inbox; nil if the slot is free
	shared   bool     // other Subscriptions have copies
	claimed  bool     // the message was moved here from another inbox
	buffer   int32    // in which the payload lies, see readBuffers
}

// earlierSlots finds the slots of QoS 1 messages that wait since an earlier connection. A slot may
// have another message by now.
type earlierSlots struct {
	slots map[uint64]int32 // by number of the delivery
	last  uint64           // the highest number of a delivery of an earlier connection
}

// take returns the number of an unused slot.
func (b *slab) take() int32 {
	if n := len(b.free); n > 0 {
		i := b.free[n-1]
		b.free = b.free[:n-1]
		return i
	}
	if len(b.slots) == 0 {
		b.grow()
	}
	return b.grow()
}

func (b *slab) grow() int32 {
	b.slots = append(b.slots, slot{})
	b.byInbox, b.byAge = append(b.byInbox, list.Links{}), append(b.byAge, list.Links{})
	return int32(len(b.slots) - 1)
}

// release clears slot i, which is in no list, for later use.
func (b *slab) release(i int32) {
	b.slots[i] = slot{}
	if int(i) < len(b.times) {
		b.times[i] = 0
	}
	b.free = append(b.free, i)
}

// stamp records when the message in slot i arrived.
func (b *slab) stamp(i int32, at time.Duration) {
	for len(b.times) <= int(i) {
		b.times = append(b.times, 0)
	}
	b.times[i] = at
}

// arrivedAt returns when the message in slot i arrived, 0 if that is not known.
func (b *slab) arrivedAt(i int32) time.Duration {
	if int(i) < len(b.times) {
		return b.times[i]
	}
	return 0
}

// insert puts slot i at its place by order of arrival into a list that begins with later messages,
// or with few earlier ones.
func (b *slab) insert(line *list.List, links []list.Links, i int32) {
	at := line.Head
	for at != 0 && b.slots[at].delivery.arrivedBefore(&b.slots[i].delivery) {
		at = links[at].Next
	}
	line.InsertBefore(links, i, at)
}
