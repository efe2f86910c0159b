package stream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestReceiptCarriesMessageTagAndIdentifier(t *testing.T) {
	type tag struct{ row, column int }
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		acks := make(chan stream.Receipt, 1)
		for i, q := range []frames.QoS{0, 1, 2, 1} {
			m := frames.Message{Topic: "t/" + q.String(), Payload: []byte("payload"), QoS: q, Retain: i%2 == 0}
			s.Publishes() <- stream.Publishing{Message: m, Tag: tag{i, 7}, Ack: acks}
			p := streamtest.Next[frames.Publish](c)
			c.Complete(p)
			r := wantReceipt(t, acks, tag{i, 7})
			if r.Topic != m.Topic || &r.Payload[0] != &m.Payload[0] || r.QoS != q || r.Retain != m.Retain {
				t.Errorf("Receipt %+v of %+v", r, m)
			}
			if r.ID != p.ID || (r.ID == 0) != (q == 0) {
				t.Errorf("identifier %d in the Receipt of %+v", r.ID, p)
			}
		}
	})
}

func TestPublishingsWithoutAckUseThatOfTheOptions(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		common, own := make(chan stream.Receipt, 10), make(chan stream.Receipt, 10)
		s, c := connected(t, b, &stream.Options{Window: 10, Ack: common})
		offer(s, 0, 1, 1, nil)
		offer(s, 1, 2, 1, own)
		offer(s, 2, 3, 0, nil)
		s.Publishes() <- stream.Publishing{Message: message("#", "", 1), Tag: 3} // refused
		direct := goPublish(s, message("t", "", 1))
		staged := make(chan frames.Message, 1)
		staged <- message("t", "", 1)
		close(staged)
		out := s.PublishFrom(t.Context(), staged)
		synctest.Wait()
		for range 5 {
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		if err := takeFrom(t, direct); err != nil {
			t.Fatal(err)
		}
		if r := takeFrom(t, out); r.Err != nil {
			t.Fatal(r.Err)
		}
		wantReceipt(t, own, 1)
		tags := map[any]error{}
		for _, r := range wantReceipts(t, common, 3) {
			tags[r.Tag] = r.Err
		}
		if tags[0] != nil || tags[2] != nil || !errors.Is(tags[3], stream.ErrNotSent) {
			t.Fatalf("Receipts %v", tags)
		}
		wantReceipts(t, own, 0)
	})
}

// Without an Ack channel there are no Receipts.
func TestReceiptsThatNobodyWantsAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 2})
		for n := range 30 {
			offer(s, n, n+1, frames.QoS(n%3), nil)
		}
		s.Publishes() <- stream.Publishing{Message: message("", "", 1)}
		for range 30 {
			p := streamtest.Next[frames.Packet](c)
			for p.Type() == pubrel {
				c.Send(ack(pubcomp, p.(frames.Ack).ID))
				p = streamtest.Next[frames.Packet](c)
			}
			switch p := p.(frames.Publish); p.QoS {
			case 1:
				c.Send(ack(puback, p.ID))
			case 2:
				c.Send(ack(pubrec, p.ID))
			}
		}
		synctest.Wait()
		offer(s, 30, 40, 1, nil)
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 0)
		if err := callClose(t, s).after(0); err != nil {
			t.Fatal(err)
		}
	})
}

// A publisher that does not read its Receipts does not delay other publishers.
func TestLaggingAckChannelHoldsUpNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := new(logBook)
		s, c := connected(t, b, &stream.Options{Logger: book.logger()})
		dead, short, good := make(chan stream.Receipt), make(chan stream.Receipt, 2), make(chan stream.Receipt, 1)
		for n := range 100 {
			for i, acks := range []chan stream.Receipt{dead, short, good} {
				offer(s, 3*n+i, 3*n+i+1, 1, acks)
				c.Complete(streamtest.Next[frames.Publish](c))
			}
			wantReceipt(t, good, 3*n+2)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 100+98)
		published := goPublish(s, message("t", "", 2))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		c.Send(inboundRun("f", 1, 1, 3)...)
		wantPayloads(t, s.Messages(), countUp(1, 3)...)
		if n := book.count("level=WARN"); n != 1 {
			t.Errorf("%d warnings", n)
		}
		// No Receipt is lost, and the Receipts are in order.
		for n := range 100 {
			wantReceipt(t, dead, 3*n)
			wantReceipt(t, short, 3*n+1)
		}
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 0)
	})
}

func TestUnbufferedAckChannelWorks(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		r := new(streamtest.Responder)
		b.Respond(r)
		s := open(t, b, &stream.Options{Window: 10})
		const publishers, each = 10, 200
		var all sync.WaitGroup
		for p := range publishers {
			acks := make(chan stream.Receipt)
			all.Go(func() { offer(s, p*each, (p+1)*each, frames.QoS(p%3), acks) })
			all.Go(func() {
				for n := p * each; n < (p+1)*each; n++ {
					if r := <-acks; r.Tag != n || r.Err != nil {
						t.Errorf("Receipt %+v, want tag %d", r, n)
					}
					if n%50 == 0 {
						elapse(time.Minute)
					}
				}
			})
		}
		all.Wait()
	})
	t.Run("from one goroutine that publishes and selects", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Respond(new(streamtest.Responder))
			s := open(t, b, &stream.Options{Window: 3, Queue: 2})
			acks := make(chan stream.Receipt)
			const n = 500
			sent, got := 0, 0
			for got < n {
				publishes := s.Publishes()
				if sent == n {
					publishes = nil
				}
				select {
				case publishes <- publishing(sent, frames.QoS(1+sent%2), acks):
					sent++
				case r := <-acks:
					if r.Err != nil {
						t.Fatalf("Receipt %+v", r)
					}
					got++
				case <-s.Done():
					t.Fatal("done")
				}
			}
		})
	})
}

// The Receipts of a channel come in the order in which the publications ended. This also holds if
// the channel was full for a time.
func TestOrderOfReceiptsIsKeptAcrossALag(t *testing.T) {
	for _, size := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("buffer of %d", size), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Window: 100})
				acks := make(chan stream.Receipt, size)
				next := 0
				take := func(n int) {
					for range n {
						wantReceipt(t, acks, next)
						next++
					}
				}
				sent := 0
				send := func(n int) {
					offer(s, sent, sent+n, 1, acks)
					sent += n
					for range n {
						c.Complete(streamtest.Next[frames.Publish](c))
					}
				}
				for round := range 50 {
					send(1 + round%5)
					take(round % 4 % (1 + sent - next))
					if round%7 == 0 {
						take(sent - next) // the reader has received all Receipts so far
					}
				}
				take(sent - next)
			})
		})
	}
	t.Run("while it catches up", func(t *testing.T) {
		b := streamtest.New(t)
		b.Respond(new(streamtest.Responder))
		s := open(t, b, &stream.Options{Window: 1})
		for round := range 20 {
			acks := make(chan stream.Receipt, round%4)
			go offer(s, 0, 500, 1, acks)
			for n := range 500 {
				if r := <-acks; r.Tag != n || r.Err != nil {
					t.Fatalf("Receipt %+v, want tag %d", r, n)
				}
			}
		}
	})
}

// The goroutine that serves a lagging channel ends when the channel has caught up.
func TestLaggingAckChannelsLeaveNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		for n := range 50 {
			acks := make(chan stream.Receipt)
			offer(s, n, n+1, 1, acks)
			c.Complete(streamtest.Next[frames.Publish](c))
			synctest.Wait()
			wantReceipt(t, acks, n)
		}
		wantStat(t, s, "Receipts", func(st stream.Stats) int { return st.Receipts }, 0)
		if err := callClose(t, s).after(0); err != nil { // Close returns at once: no Receipt is unread
			t.Fatal(err)
		}
	})
}

// paho.mqtt.golang #563, #613 and #630: a publication gets exactly one Receipt, however the session
// or connection ends. A Receipt reports success only if the publication succeeded.
func TestExactlyOneReceiptInEveryEnd(t *testing.T) {
	for _, keep := range []bool{false, true} {
		for end, play := range map[string]func(t *testing.T, b *streamtest.Broker, s *stream.Session, c *streamtest.Conn){
			"acknowledged": func(_ *testing.T, _ *streamtest.Broker, _ *stream.Session, c *streamtest.Conn) {
				c.Respond(new(streamtest.Responder))
			},
			"Close":           func(_ *testing.T, _ *streamtest.Broker, s *stream.Session, _ *streamtest.Conn) { s.Close() },
			"connection lost": func(_ *testing.T, _ *streamtest.Broker, _ *stream.Session, c *streamtest.Conn) { c.Drop() },
			"lost, and back again": func(_ *testing.T, b *streamtest.Broker, _ *stream.Session, c *streamtest.Conn) {
				c.Drop()
				c = b.Handshake(true)
				c.Respond(new(streamtest.Responder))
			},
			"lost, and the session too": func(_ *testing.T, b *streamtest.Broker, _ *stream.Session, c *streamtest.Conn) {
				c.Drop()
				c = b.Handshake(false)
				c.Respond(new(streamtest.Responder))
			},
			"Shutdown that runs out of time": func(t *testing.T, _ *streamtest.Broker, s *stream.Session, _ *streamtest.Conn) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := s.Shutdown(ctx); err == nil {
					t.Error("Shutdown succeeded")
				}
			},
			"a violation": func(_ *testing.T, _ *streamtest.Broker, _ *stream.Session, c *streamtest.Conn) {
				c.SendBytes([]byte{0})
			},
		} {
			if end == "lost, and back again" && !keep {
				continue // session present would be a violation
			}
			t.Run(fmt.Sprintf("%s, KeepSession %v", end, keep), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: keep, Window: 5})
					acks := make(chan stream.Receipt, 200)
					for n := range 99 {
						offer(s, n, n+1, frames.QoS(n%3), acks)
					}
					s.Publishes() <- stream.Publishing{Message: message("+", "", 1), Tag: 99, Ack: acks}
					packets := nextPublishes(t, c, 8) // five of them of QoS 1 and 2
					c.Send(ack(puback, packets[1].ID), ack(pubrec, packets[2].ID))
					synctest.Wait() // the client has sent the next publications
					play(t, b, s, c)
					synctest.Wait()
					s.Close()
					seen := map[any]error{}
					for _, r := range wantReceipts(t, acks, 100) {
						if _, twice := seen[r.Tag]; twice {
							t.Errorf("two Receipts for %v", r.Tag)
						}
						seen[r.Tag] = r.Err
						if r.Err != nil && errors.Is(r.Err, stream.ErrNotSent) == errors.Is(r.Err, stream.ErrUnconfirmed) {
							t.Errorf("%v: %v", r.Tag, r.Err)
						}
					}
				})
			})
		}
	}
}

// A program publishes inside its receive loop and waits for each ack. It does so 100,000 times
// without a deadlock, at any window. rumqtt #1025.
func TestPublishingFromInsideTheReceiveLoop(t *testing.T) {
	type loop func(t *testing.T, sub *stream.Subscription, each func(frames.Message) bool)
	messages := func(_ *testing.T, sub *stream.Subscription, each func(frames.Message) bool) {
		for m := range sub.Messages() {
			if !each(m) {
				return
			}
		}
	}
	deliveries := func(_ *testing.T, sub *stream.Subscription, each func(frames.Message) bool) {
		for d := range sub.Deliveries() {
			ok := each(d.Message)
			d.Ack()
			if !ok {
				return
			}
		}
	}
	all := func(t *testing.T, sub *stream.Subscription, each func(frames.Message) bool) {
		for d, err := range sub.All(context.Background()) {
			if err != nil {
				t.Error(err)
				return
			}
			if !each(d.Message) {
				return
			}
		}
	}
	for _, row := range []struct {
		window, circling int
		q                frames.QoS
		n                int
		loop             loop
	}{
		{1, 1, 1, 5_000, messages},
		{1, 200, 1, 15_000, all},
		{1, 20, 2, 5_000, deliveries},
		{7, 50, 1, 20_000, deliveries},
		{7, 5, 2, 5_000, all},
		{1000, 2000, 1, 40_000, deliveries},
		{1000, 500, 2, 10_000, messages},
	} {
		t.Run(fmt.Sprintf("window %d, %d messages of QoS %d, %d at a time", row.window, row.n, row.q, row.circling), func(t *testing.T) {
			b := streamtest.New(t)
			b.Respond(&streamtest.Responder{Loopback: true, Window: 2 * row.circling})
			s := open(t, b, &stream.Options{Window: row.window})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			sub, err := s.Subscribe(ctx, filterOf("round", row.q))
			if err != nil {
				t.Fatal(err)
			}
			for range row.circling {
				if err := s.Publish(ctx, message("round", "", row.q)); err != nil {
					t.Fatal(err)
				}
			}
			var done atomic.Int64
			var consumers sync.WaitGroup
			for range min(row.window, 50) {
				consumers.Go(func() {
					row.loop(t, sub, func(m frames.Message) bool {
						if err := s.Publish(ctx, m); err != nil {
							if !errors.Is(err, stream.ErrClosed) {
								t.Error(err)
							}
							return false
						}
						return done.Add(1) < int64(row.n)
					})
					s.Close() // ends the receive loops
				})
			}
			consumers.Wait()
			if n := done.Load(); n < int64(row.n) {
				t.Fatalf("only %d messages were published again", n)
			}
		})
	}
}

// Nobody reads any channel of the session, and Publish still returns.
func TestReceiptsOfOthersGoOnWhenNobodyReads(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10, KeepAlive: noPing})
		sub := subscribed(t, s, c, "f", 1)
		sub.Messages()
		s.Deliveries()
		s.States(t.Context())
		in := make(chan frames.Message, 1000)
		for n := range 1000 {
			in <- numbered(n, 1)
		}
		s.PublishFrom(t.Context(), in)
		dead := make(chan stream.Receipt)
		go offer(s, 0, 100, 1, dead)
		c.Send(inboundRun("f", 1, 1, 400)...)
		c.Send(inboundRun("u", 1, 401, 400)...)
		var mine <-chan error
		for seen := range 1000 + 100 + 1 {
			if seen == 500 {
				mine = goPublish(s, message("mine", "", 1))
			}
			c.Complete(streamtest.Next[frames.Publish](c))
		}
		if err := takeFrom(t, mine); err != nil {
			t.Fatal(err)
		}
		s.Stats()
		wantText(t, callClose(t, s).within(time.Second, 2*time.Second), "nobody received")
	})
}
