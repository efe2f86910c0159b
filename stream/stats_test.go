package stream_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestStatsCountPublications(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		receipts := make(chan stream.Receipt, 10)
		s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Window: 2, Ack: receipts})
		for i := range 5 {
			s.Publishes() <- stream.Publishing{Message: message("a", strconv.Itoa(i), atLeast)}
		}
		synctest.Wait()
		if st := s.Stats(); st.Sent != 2 || st.InFlight != 2 || st.Queued != 3 || st.Acknowledged != 0 {
			t.Fatalf("with a window of 2: %+v", st)
		}
		first := streamtest.Next[frames.Publish](c)
		c.Complete(first)
		synctest.Wait()
		if st := s.Stats(); st.Sent != 3 || st.InFlight != 2 || st.Queued != 2 || st.Acknowledged != 1 {
			t.Fatalf("after one ack: %+v", st)
		}
		c = droppedAndBack(t, s, b, c, true)
		synctest.Wait()
		if st := s.Stats(); st.Sent != 5 || st.InFlight != 2 || st.Connections != 2 {
			t.Fatalf("after a reconnect: %+v", st)
		}
		for range 4 {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		synctest.Wait()
		if st := s.Stats(); st.Sent != 7 || st.InFlight != 0 || st.Queued != 0 || st.Acknowledged != 5 || len(receipts) != 5 {
			t.Fatalf("at the end: %+v", st)
		}
	})
}

func TestStatsCountPublicationsThatWaitOffline(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Refuse(1000, nil)
		s := open(t, b, nil)
		for range 3 {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atMost)}
		}
		synctest.Wait()
		if st := s.Stats(); st.Queued != 3 || st.Sent != 0 || st.Online || st.Connections != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestStatsCountReceiptsThatWait(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10})
		lagging := make(chan stream.Receipt)
		for range 4 {
			s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast), Ack: lagging}
		}
		for range 4 {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 4)
		takeFrom(t, lagging)
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 3)
		for range 3 {
			takeFrom(t, lagging)
		}
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 0)
	})
}

func TestStatsCountInboundPackets(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		in, read := s.Stats().BytesIn, s.Stats().Reads
		packets := []frames.Packet{
			publish("a", "1", atLeast, 1, false), publish("a", "2", exactly, 2, false), publish("a", "2", exactly, 2, true),
			publish("a", "3", atMost, 0, false), publish("b", "4", atLeast, 4, false),
		}
		size := 0
		for _, p := range packets {
			wire, err := p.Append(nil, version)
			if err != nil {
				t.Fatal(err)
			}
			size += len(wire)
		}
		c.Send(packets...)
		synctest.Wait()
		st := s.Stats()
		if st.Received != 5 || st.Inbox != 4 || st.Unclaimed != 1 || st.Unacked != 4 || st.Subscribed != 1 || !st.Online {
			t.Fatalf("%+v", st)
		}
		if st.BytesIn-in != uint64(size) || st.Reads-read != 1 {
			t.Fatalf("%d bytes in %d reads, want %d in one", st.BytesIn-in, st.Reads-read, size)
		}
		ch := sub.Deliveries()
		one, two, three := takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch)
		synctest.Wait()
		if st := s.Stats(); st.Inbox != 1 || st.InboxBytes == 0 || st.Unacked != 4 {
			t.Fatalf("received and not acknowledged: %+v", st)
		}
		for _, d := range []stream.Delivery{three, two, one} {
			d.Ack()
		}
		c.Expect(ack(puback, 1), ack(pubrec, 2), ack(pubrec, 2))
		wantPayloads(t, s.Messages(), "4")
		c.Expect(ack(puback, 4))
		synctest.Wait()
		if st := s.Stats(); st.Inbox != 0 || st.InboxBytes != 0 || st.Unacked != 0 || st.Unclaimed != 0 {
			t.Fatalf("acknowledged: %+v", st)
		}
	})
}

func TestStatsCountBytesAndWrites(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		synctest.Wait()
		was, bytes, writes := s.Stats(), c.Bytes(), c.Writes()
		for i := range 10 {
			if err := s.Publish(t.Context(), message("a", strconv.Itoa(i), atMost)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		st := s.Stats()
		if got, want := st.BytesOut-was.BytesOut, uint64(c.Bytes()-bytes); got != want || want == 0 {
			t.Errorf("BytesOut grew by %d, want %d", got, want)
		}
		if got, want := st.Writes-was.Writes, uint64(c.Writes()-writes); got != want || want == 0 {
			t.Errorf("Writes grew by %d, want %d", got, want)
		}
	})
}

func TestStatsStayUnchangedAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		wantPayloads(t, sub.Messages(), "1")
		c.Expect(ack(puback, 1))
		published := inBackground(func() error { return s.Publish(t.Context(), message("x", "y", atLeast)) })
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := takeFrom(t, published); err != nil {
			t.Fatal(err)
		}
		before := s.Stats()
		s.Close()
		<-s.Done()
		st := s.Stats()
		if st.Received != 3 || st.Sent != 1 || st.Acknowledged != 1 || st.Connections != 1 || st.Inbox != 2 {
			t.Fatalf("%+v", st)
		}
		if st.Online || st.InFlight != 0 || st.Queued != 0 || st.Unacked != 0 || st.BytesOut != before.BytesOut+2 {
			t.Fatalf("%+v", st)
		}
		if again := s.Stats(); again != st {
			t.Fatalf("Stats changed after Done:\n%+v\n%+v", st, again)
		}
	})
}

func TestStatsAnswerWhileEverybodySleeps(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		sub.Messages()
		s.Deliveries()
		c.Send(inboundRun("a", atLeast, 1, 500)...)
		c.Send(inboundRun("b", atLeast, 501, 500)...)
		synctest.Wait()
		began := time.Now()
		if st := s.Stats(); st.Received != 1000 || st.Unacked != 1000 || time.Since(began) != 0 {
			t.Fatalf("after %v: %+v", time.Since(began), st)
		}
	})
}

// A Store that hangs holds up Close, and the figures tell why: they do not wait for the end.
func TestStatsDoNotWaitForTheEndOfASession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		goOn := make(chan struct{})
		store := &slowStore{flow.NewMemoryStore(), func() { <-goOn }}
		s, _ := connected(t, b, &stream.Options{ClientID: "c", KeepSession: true, Store: store})
		s.Publishes() <- stream.Publishing{Message: message("a", "x", atLeast)}
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			s.Close()
		}()
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { close(goOn) })
		began := time.Now()
		if st := s.Stats(); st.StoreWaiting == 0 || st.InFlight != 1 || time.Since(began) != 0 {
			t.Errorf("after %v: %+v", time.Since(began), st)
		}
		<-closed
		if st := s.Stats(); st.StoreWaiting != 0 || st.Commits == 0 || st.Online {
			t.Errorf("after the end: %+v", st)
		}
	})
}
