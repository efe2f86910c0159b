package flow

import (
	"slices"
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
		s.at(i).run = make([]frames.Message, n)
		u.push(&s, i, []uint64{4, 4, 6}[k])
		slots = append(slots, i)
	}
	equal(t, "messages", u.len(), 6)
	var visited []int32
	u.all(&s, func(i int32, e *entry[string]) {
		equal(t, "state", e.state, published)
		visited = append(visited, i)
	})
	equal(t, "in order", slices.Equal(visited, slots), true)
	equal(t, "written up to batch 3", u.written(&s, 3), 0)
	for k, left := range []int{5, 2} {
		i := u.written(&s, 5)
		equal(t, "first", u.first(), i)
		equal(t, "written up to batch 5", i, slots[k])
		u.remove(&s, i)
		equal(t, "messages left", u.len(), left)
	}
	equal(t, "written up to batch 5", u.written(&s, 5), 0)
	equal(t, "written up to batch 6", u.written(&s, 6), slots[2])
	u.remove(&s, slots[2])
	equal(t, "written from none", u.written(&s, allHanded), 0)
	equal(t, "messages", u.len(), 0)
}
