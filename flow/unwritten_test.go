package flow

import (
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// Runs of one, three and two messages, in batches 4, 4 and 6.
func TestUnwrittenRunsLeaveInOrderOfTheirBatches(t *testing.T) {
	var s slab[string]
	var u unwritten[string]
	var slots []int32
	for k, n := range []int{1, 3, 2} {
		i := s.alloc()
		s.entries[i].run = make([]frames.Message, n)
		u.push(&s, i, []uint64{4, 4, 6}[k])
		slots = append(slots, i)
	}
	equal(t, "messages", u.messages, 6)
	equal(t, "state", s.entries[slots[0]].state, published)
	equal(t, "written up to batch 3", u.written(&s, 3), 0)
	for k, left := range []int{5, 2} {
		i := u.written(&s, 5)
		equal(t, "written up to batch 5", i, slots[k])
		u.remove(&s, i)
		equal(t, "messages left", u.messages, left)
	}
	equal(t, "written up to batch 5", u.written(&s, 5), 0)
	equal(t, "written up to batch 6", u.written(&s, 6), slots[2])
	u.remove(&s, slots[2])
	equal(t, "written from none", u.written(&s, allHanded), 0)
	equal(t, "messages", u.messages, 0)
}
