package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestQoS0IsDroppedOldestFirstAndCounted(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 100)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room*cost + cost - 1})
		sub := subscribed(t, s, c, "a", atMost)
		for i := range 35 {
			c.Send(publish("a", fmt.Sprintf("%0100d", i), atMost, 0, false))
		}
		synctest.Wait()
		st := s.Stats()
		if st.Dropped != 35-room || st.Inbox != room || st.InboxBytes != room*cost || st.Received != 35 || st.Paused {
			t.Fatalf("of 35 messages into room for %d: %+v", room, st)
		}
		ch := sub.Messages()
		for i := range room {
			wantPayloads(t, ch, fmt.Sprintf("%0100d", 35-room+i))
		}
		wantIdle(t, ch)
		c.Send(publish("a", "there is room again", atMost, 0, false))
		wantPayloads(t, ch, "there is room again")
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 35-room)
	})
}

func TestALoopReturnsMessagesAsTheOldest(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 3)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		sub := subscribed(t, s, c, "a", atMost)
		c.Send(inboundRun("a", atMost, 101, room)...)
		synctest.Wait()
		for range sub.All(t.Context()) { // fetches ten messages; the end of the loop puts nine back
			c.Send(inboundRun("a", atMost, 201, 3)...)
			synctest.Wait()
			break
		}
		// That makes 12 messages in an inbox with room for ten. The session drops two and does not
		// pause.
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 2)
		c.Send(inboundRun("a", atMost, 301, 1)...)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 3)
		want := append(append(countUp(105, 6), countUp(201, 3)...), "301")
		wantPayloads(t, sub.Messages(), want...)
	})
}

func TestSlowConsumerOfQoS0CostsOnlyItsOwnOldest(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 10)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		slow := subscribed(t, s, c, "a", atMost)
		quick := subscribed(t, s, c, "b", atMost)
		ch := quick.Deliveries()
		for i := range 50 {
			c.Send(publish("a", fmt.Sprintf("%010d", i), atMost, 0, false), publish("b", fmt.Sprintf("%010d", i), atMost, 0, false))
			wantPayloads(t, ch, fmt.Sprintf("%010d", i))
		}
		// Each message of the quick consumer also took room for a moment, so room-1 messages of the
		// slow consumer remain.
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 50-(room-1))
		for i := range room - 1 {
			wantPayloads(t, slow.Messages(), fmt.Sprintf("%010d", 50-(room-1)+i))
		}
	})
}

func TestQoS1TakesNoRoomFromQoS0(t *testing.T) {
	const room = 10
	cost := costOfMessage(t, "a", 3)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: room * cost})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atMost, 100, room)...)
		c.Send(inboundRun("a", atLeast, 201, 2*room)...)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 0)
		wantStat(t, s, "UnreadBytes", func(st stream.Stats) int { return st.UnreadBytes }, 2*room*cost)
		c.Send(inboundRun("a", atMost, 300, 1)...)
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 1)
		wantPayloads(t, sub.Deliveries(), append(append(countUp(101, room-1), countUp(201, 2*room)...), "300")...)
		wantIdle(t, sub.Deliveries())
	})
}

// U28. A QoS 0 message that is larger than ReceiveBytes replaces all that wait, and is delivered.
func TestQoS0LargerThanReceiveBytesWaitsAlone(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 1000})
		sub := subscribed(t, s, c, "a", atMost)
		large := strings.Repeat("x", 5000)
		c.Send(inboundRun("a", atMost, 1, 3)...)
		c.Send(publish("a", large, atMost, 0, false))
		wantStat(t, s, "Dropped", func(st stream.Stats) uint64 { return st.Dropped }, 3)
		wantPayloads(t, sub.Messages(), large)
		wantIdle(t, sub.Messages())
	})
}

// T6: In other clients, slow handlers made the client lose its connection.
func TestReadingPausesWhenQoS1FillsTheInbox(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: 8 * cost, KeepAlive: time.Minute})
		sub := subscribed(t, s, c, "a", atLeast)
		other := subscribed(t, s, c, "b", atLeast)
		c.Send(publish("b", "early", atLeast, 500, false))
		const n = 100
		payload := func(i int) string { return fmt.Sprintf("%01000d", i) }
		unread := 0
		for i := range n {
			c.Send(publish("a", payload(i), atLeast, uint16(i+1), false))
			synctest.Wait()
			if was := unread; c.Unread() < was {
				t.Fatalf("message %d: %d bytes are unread, %d before", i, c.Unread(), was)
			}
			unread = c.Unread()
		}
		if unread < (n-20)*1000 {
			t.Fatalf("only %d bytes of %d messages are unread: reading did not pause", unread, n)
		}
		st := s.Stats()
		if !st.Paused || st.Dropped != 0 || st.InboxBytes <= 8*cost || st.InboxBytes > 16*cost {
			t.Fatalf("with room for 8 messages: %+v", st)
		}
		// The client still sends PINGREQ. The PINGRESPs are unread, so their absence does not mean
		// that the broker is dead.
		for range 10 {
			began := time.Now()
			c.Expect(frames.Pingreq{})
			if took := time.Since(began); took != 54*time.Second {
				t.Fatalf("PINGREQ after %v of silence, want 54 s", took)
			}
			c.Send(frames.Pingresp{})
		}
		// Messages that have arrived for other Subscriptions can still be received.
		d := takeFrom(t, other.Deliveries())
		d.Ack()
		c.Expect(ack(puback, 500))
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)

		ch := sub.Messages()
		for i := range n {
			wantPayloads(t, ch, payload(i))
			c.Expect(ack(puback, uint16(i+1)))
		}
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, false)
		if c.Unread() != 0 {
			t.Fatalf("%d bytes are unread", c.Unread())
		}
		for range 3 { // reading has resumed, so a missing PINGRESP counts again
			c.Expect(frames.Pingreq{})
			c.Send(frames.Pingresp{})
		}
		c.Expect(frames.Pingreq{})
		c.ExpectClosed()
	})
}

func TestPauseOfOurOwnIsNotHeldAgainstTheBroker(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: cost, KeepAlive: 20 * time.Second})
		sub := subscribed(t, s, c, "a", atLeast)
		for i := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
		}
		for range 17 { // no PINGRESP for five minutes
			c.Expect(frames.Pingreq{})
		}
		for range 10 {
			takeFrom(t, sub.Messages())
		}
		c.Expect(ackRun(puback, 1, 10)...)
		resumed := time.Now()
		c.Send(frames.Pingresp{})
		c.Expect(frames.Pingreq{})
		if took := time.Since(resumed); took > 18*time.Second {
			t.Fatalf("PINGREQ %v after the last ack", took)
		}
	})
}

func TestReadingGoesOnWhenRoomIsMadeWithoutAnAck(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: cost})
		sub := subscribed(t, s, c, "a", atLeast)
		for i := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
		}
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
		ch := sub.Deliveries() // the buffer of the channel has room for all ten messages
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, false)
		if len(ch) != 10 || c.Unread() != 0 {
			t.Fatalf("%d messages in the channel and %d bytes unread, want all 10", len(ch), c.Unread())
		}
		c.ExpectNone()
	})
}

func TestBrokerHasItsTimeAfterAPauseOfOurOwn(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: cost, KeepAlive: 20 * time.Second})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(publish("a", strings.Repeat("x", 1000), atLeast, 1, false), publish("a", strings.Repeat("x", 1000), atLeast, 2, false))
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
		c.Expect(frames.Pingreq{})
		c.ExpectQuiet(15 * time.Second) // while the session reads, the broker has only 10 s to answer
		next := time.AfterFunc(5*time.Second, func() { c.Send(frames.Pingresp{}) })
		defer next.Stop()
		takeFrom(t, sub.Messages())
		takeFrom(t, sub.Messages())
		c.Expect(ackRun(puback, 1, 2)...)
		c.Expect(frames.Pingreq{})
		wantStat(t, s, "Connections", func(st stream.Stats) uint64 { return st.Connections }, 1)
	})
}

func TestMessageLargerThanMaxUnreadGetsThrough(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: 1000})
		sub := subscribed(t, s, c, "a", atLeast)
		large := strings.Repeat("x", 5000)
		for i := range 3 {
			c.Send(publish("a", large, atLeast, uint16(i+1), false))
		}
		for range 3 {
			wantPayloads(t, sub.Messages(), large)
		}
		c.Expect(ackRun(puback, 1, 3)...)
	})
}

// The session reconnects even if a consumer reads no messages meanwhile.
func TestSessionReconnectsWhileItsInboxIsFull(t *testing.T) {
	for _, o := range []*stream.Options{{}, keepingSession()} {
		t.Run(fmt.Sprintf("KeepSession %v", o.KeepSession), func(t *testing.T) {
			cost := costOfMessage(t, "a", 1000)
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o.MaxUnread = cost
				s, c := connected(t, b, o)
				subscribed(t, s, c, "a", exactly)
				for i := range 10 {
					c.Send(publish("a", strings.Repeat("x", 1000), exactly, uint16(i+1), false))
				}
				wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
				c.Abort() // the client notices the reset at the next PINGREQ
				c = b.Handshake(o.KeepSession)
				c.Grant(streamtest.Next[frames.Subscribe](c))
				published := inBackground(func() error { return s.Publish(t.Context(), message("b", "out", atMost)) })
				c.Expect(publish("b", "out", atMost, 0, false))
				if err := takeFrom(t, published); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestShutdownReadsOnWhenTheInboxIsFull(t *testing.T) {
	cost := costOfMessage(t, "a", 1000)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: cost})
		subscribed(t, s, c, "a", atLeast)
		for i := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), atLeast, uint16(i+1), false))
		}
		wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
		published := inBackground(func() error { return s.Publish(t.Context(), message("b", "out", atLeast)) })
		c.Complete(streamtest.Next[frames.Publish](c))
		// The PUBACK arrives after messages that nobody will receive.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if err := takeFrom(t, published); err != nil {
			t.Fatal(err)
		}
		c.ExpectDisconnect()
	})
}

// A consumer is half as fast as the broker. The session throttles reading, so that messages wait in
// the network and are not dropped. For a sleeping consumer the session delays reading only once.
func TestAFloodOfQoS0DoesNotOutrunAConsumerAtWork(t *testing.T) {
	const n = 20_000
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 256 << 10, KeepAlive: noPing})
		sub := subscribed(t, s, c, "a", atMost)
		go func() {
			for i := range n / 100 {
				c.Send(inboundRun("a", atMost, 100*i, 100)...)
				time.Sleep(50 * time.Microsecond)
			}
		}()
		got := 0
		for _, err := range sub.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got++; got == n/2 {
				break
			}
			time.Sleep(time.Microsecond)
		}
		if st := s.Stats(); st.Dropped > 0 {
			t.Errorf("%d messages were dropped while their consumer was at work", st.Dropped)
		}

		asleep := time.Now()
		for s.Stats().Received < n {
			time.Sleep(time.Microsecond)
		}
		if d := time.Since(asleep); d > 5*time.Millisecond {
			t.Errorf("a sleeping consumer held up reading for %v", d)
		}
	})
}
