package stream_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
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

// U36: the memory of a burst is given back although a client that exchanges a message now and then
// gets no PINGRESP.
func TestMemoryOfABurstIsGivenBackWithoutPingresp(t *testing.T) {
	for _, qos := range []frames.QoS{atMost, atLeast, exactly} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{ReceiveBytes: 64 << 20})
			sub := subscribed(t, s, c, "a", atMost)
			before := inUse()
			const rounds, each = 100, 1000
			for range rounds {
				c.Send(inboundRun("a", atMost, 1, each)...)
				synctest.Wait()
			}
			during, n := inUse()-before, 0
			for range sub.All(t.Context()) {
				if n++; n == rounds*each {
					break
				}
			}
			for range 3 {
				done := goPublish(s, message("out", "x", qos))
				c.Complete(streamtest.Next[frames.Publish](c))
				if err := outcome(t, done); err != nil {
					t.Error(err)
				}
				elapse(10 * time.Second)
			}
			synctest.Wait()
			if after := inUse() - before; during < 5<<20 || after > 1<<20 {
				t.Errorf("publishing at QoS %d: the burst took %d KiB, and %d KiB are still in use", qos, during>>10, after>>10)
			}
		})
	}
}

// U36: the same without keep alive, and for the memory of publications that waited to be sent.
func TestMemoryOfAQueueIsGivenBackWithoutKeepAlive(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		const n = 50_000
		s, c := connected(t, b, &stream.Options{KeepAlive: -1, Queue: n})
		before := inUse()
		acks := make(chan stream.Receipt, n)
		c.Stall()
		for range n {
			s.Publishes() <- stream.Publishing{Message: message("out", "x", atMost), Ack: acks}
		}
		during := inUse() - before
		c.Resume()
		for range n {
			c.ExpectType(frames.TypePublish)
			<-acks
		}
		elapse(time.Minute)
		synctest.Wait()
		if after := inUse() - before; during < 4<<20 || after > 2<<20 {
			t.Errorf("the queue took %d KiB, and %d KiB are still in use", during>>10, after>>10)
		}
	})
}
