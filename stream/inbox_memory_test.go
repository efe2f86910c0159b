package stream_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U31. One consumer takes large messages, and another sleeps on small ones from the same reads. The
// small ones do not keep the memory of the large ones.
func TestSleepingSmallMessagesHoldOnlyTheMemoryThatIsCounted(t *testing.T) {
	for _, large := range []int{60 << 10, 900 << 10} {
		t.Run(fmt.Sprint(large), func(t *testing.T) {
			b := streamtest.New(t)
			s, c := connected(t, b, &stream.Options{ReceiveBytes: 2 << 20})
			taken := subscribed(t, s, c, "taken", atMost).Messages()
			asleep := subscribed(t, s, c, "asleep", atMost)
			payload := strings.Repeat("x", large)
			round := func(i int) {
				c.Send(publish("taken", payload, atMost, 0, false), publish("asleep", fmt.Sprint(i), atMost, 0, false))
				<-taken
			}
			const warm, n = 20, 200 // the buffers of the test broker grow first
			for i := range warm {
				round(i)
			}
			before := inUse()
			for i := range n {
				round(warm + i)
			}
			held := inUse() - before
			st := s.Stats()
			t.Logf("%d messages count %d bytes, hold %d, and the heap grew by %d", st.Inbox, st.InboxBytes, st.InboxMemory, held)
			if st.InboxMemory > 2*st.InboxBytes+256<<10 || held > 2*int64(st.InboxMemory) {
				t.Errorf("the heap grew by %d bytes: %+v", held, st)
			}
			for i := range warm + n {
				if m := <-asleep.Messages(); string(m.Payload) != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, m.Payload)
				}
			}
		})
	}
}

// inUse returns the number of bytes in use on the heap.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
