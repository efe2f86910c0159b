package stream_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// retrying returns options for version v with retries, but without keep alive, so that only a retry
// sends a packet unprompted.
func retrying(v frames.Version, r *flow.Retry) *stream.Options {
	return &stream.Options{Version: v, ClientID: "c", KeepAlive: noPing, Window: 10, Retry: r}
}

// wantAgain expects the packet p once after each interval. The first interval begins now.
func wantAgain(t *testing.T, c *streamtest.Conn, p frames.Packet, intervals ...time.Duration) {
	t.Helper()
	for i, d := range intervals {
		last := time.Now()
		c.Expect(p)
		if got := time.Since(last); got != d {
			t.Fatalf("time %d: after %v, want %v", i+1, got, d)
		}
	}
}

func seconds(s ...float64) []time.Duration {
	d := make([]time.Duration, len(s))
	for i := range s {
		d[i] = time.Duration(math.Round(s[i]*1000)) * time.Millisecond
	}
	return d
}

func TestPublishIsSentAgainAfterIntervalsOfItsSize(t *testing.T) {
	for name, row := range map[string]struct {
		retry     flow.Retry
		size      int
		intervals []time.Duration
	}{
		"no payload":        {flow.Retry{}, 0, seconds(4, 4, 4, 4)},
		"10 kB":             {flow.Retry{}, 10_000, seconds(5, 6, 8, 12, 20)},
		"100 B":             {flow.Retry{}, 100, seconds(4.01, 4.02, 4.04)},
		"all fields set":    {flow.Retry{Initial: 2 * time.Second, Bandwidth: 100, Factor: 3}, 50, seconds(2.5, 3.5, 6.5, 15.5)},
		"Factor 1":          {flow.Retry{Initial: time.Second, Factor: 1}, 10_000, seconds(2, 2, 2, 2)},
		"never over a day":  {flow.Retry{Initial: time.Second, Bandwidth: 0.001}, 10_000, []time.Duration{24 * time.Hour, 24 * time.Hour}},
		"Max is not for it": {flow.Retry{Max: 5 * time.Second}, 10_000, seconds(5, 6, 8, 12)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []frames.Version{frames.V31, frames.V311} {
				for _, q := range []frames.QoS{1, 2} {
					bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
						s, c := connected(t, b, retrying(v, &row.retry))
						published := goPublish(s, message("t", strings.Repeat("x", row.size), q))
						p := streamtest.Next[frames.Publish](c)
						if p.DUP {
							t.Fatal("DUP the first time")
						}
						p.DUP = true // [MQTT-3.3.1-1], and the same identifier
						wantAgain(t, c, p, row.intervals...)
						c.Complete(p)
						if err := <-published; err != nil {
							t.Fatal(err)
						}
						c.ExpectQuiet(48 * time.Hour)
					}, streamtest.Timeout(100*time.Hour))
				}
			}
		})
	}
}

func TestPubrelIsSentAgainAfterDoublingIntervals(t *testing.T) {
	for name, row := range map[string]struct {
		retry     flow.Retry
		intervals []time.Duration
	}{
		"by default": {flow.Retry{}, seconds(4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024)},
		"with Max":   {flow.Retry{Initial: 3 * time.Second, Max: 10 * time.Second, Factor: 9}, seconds(3, 6, 10, 10, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []frames.Version{frames.V31, frames.V311} {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					s, c := connected(t, b, retrying(v, &row.retry))
					published := goPublish(s, message("t", "", 2))
					p := streamtest.Next[frames.Publish](c)
					c.Send(ack(pubrec, p.ID))
					c.Expect(ack(pubrel, p.ID))
					wantAgain(t, c, ack(pubrel, p.ID), row.intervals...)
					c.Send(ack(pubcomp, p.ID))
					if err := <-published; err != nil {
						t.Fatal(err)
					}
					c.ExpectQuiet(48 * time.Hour)
				})
			}
		})
	}
}

// U48: while reading is paused, the ack may lie unread, so nothing is sent again.
func TestNothingIsSentAgainWhileReadingIsPaused(t *testing.T) {
	cost := costOfMessage(t, "in", 1000)
	bothAcknowledged(t, func(t *testing.T, q frames.QoS) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			o := retrying(frames.V311, &flow.Retry{})
			o.MaxUnread = 8 * cost
			s, c := connected(t, b, o)
			sub := subscribed(t, s, c, "in", atLeast)
			subscribed(t, s, c, "other", atLeast)
			c = droppedAndBack(t, s, b, c, false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			request := streamtest.Next[frames.Subscribe](c)
			published := make(chan stream.Receipt, 1)
			s.Publishes() <- stream.Publishing{Message: message("out", "x", q), Ack: published}
			p := streamtest.Next[frames.Publish](c)
			const n = 100
			for i := range n {
				c.Send(publish("in", fmt.Sprintf("%01000d", i), atLeast, uint16(i+1), false))
			}
			wantStat(t, s, "Paused", func(st stream.Stats) bool { return st.Paused }, true)
			c.Grant(request)
			c.Send(ack(puback+frames.Type(q-1), p.ID)) // PUBACK or PUBREC
			c.ExpectQuiet(10 * time.Minute)
			got := sub.Messages()
			for i := range n {
				wantPayloads(t, got, fmt.Sprintf("%01000d", i))
			}
			for range n + int(q) - 1 {
				if a := streamtest.Next[frames.Ack](c); a.Kind == pubrel {
					c.Send(ack(pubcomp, a.ID))
				}
			}
			if r := takeFrom(t, published); r.Err != nil {
				t.Fatal(r.Err)
			}
			c.ExpectQuiet(10 * time.Minute)
		})
	})
}

// The interval of a PUBREL does not depend on the interval of its PUBLISH.
func TestPubrelDoesNotWaitAsLongAsItsPublish(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, retrying(frames.V311, &flow.Retry{}))
		goPublish(s, message("t", strings.Repeat("x", 1_000_000), 2)) // the size makes its retry interval 104 s
		p := streamtest.Next[frames.Publish](c)
		c.ExpectQuiet(10 * time.Second)
		c.Send(ack(pubrec, p.ID))
		c.Expect(ack(pubrel, p.ID))
		wantAgain(t, c, ack(pubrel, p.ID), seconds(4, 8, 16)...)
		c.Send(ack(pubcomp, p.ID))
	})
}

func TestRequestsAreSentAgainAfterDoublingIntervals(t *testing.T) {
	intervals := seconds(4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024)
	for _, v := range []frames.Version{frames.V31, frames.V311} {
		t.Run(v.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, retrying(v, &flow.Retry{}))
				asked := callSubscribe(t.Context(), t, s, filterOf("f", 1))
				p := streamtest.Next[frames.Subscribe](c)
				p.DUP = v == frames.V31 // in 3.1.1 this bit is reserved [MQTT-3.8.1-1]
				wantAgain(t, c, p, intervals...)
				c.Grant(p)
				sub := asked.granted()
				c.ExpectQuiet(time.Hour)

				left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
				u := streamtest.Next[frames.Unsubscribe](c)
				u.DUP = v == frames.V31 // [MQTT-3.10.1-1]
				wantAgain(t, c, u, intervals...)
				c.Unsuback(u)
				if err := <-left; err != nil {
					t.Fatal(err)
				}
				c.ExpectQuiet(time.Hour)
			})
		})
	}
}

// Each packet has its own interval: a new packet is retried after a short interval, although an
// older packet already has a long one.
func TestEachPacketHasAnIntervalOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, retrying(frames.V311, &flow.Retry{}))
		callSubscribe(t.Context(), t, s, filterOf("f", 1))
		asked := streamtest.Next[frames.Subscribe](c)
		wantAgain(t, c, asked, seconds(4, 8, 16)...) // the next retry is due after 32 s
		c.ExpectQuiet(time.Second)
		published := goPublish(s, message("t", "", 1))
		p := streamtest.Next[frames.Publish](c)
		p.DUP = true
		wantAgain(t, c, p, seconds(4, 4, 4)...)
		c.Complete(p)
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		wantAgain(t, c, asked, seconds(32-1-12)...)

		callSubscribe(t.Context(), t, s, filterOf("g", 1))
		other := streamtest.Next[frames.Subscribe](c)
		wantAgain(t, c, other, seconds(4, 8, 16, 32)...) // the last retry is at 60 s
		wantAgain(t, c, asked, seconds(4)...)
	})
}

func TestOnlyOverduePacketsAreSentAgainInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, retrying(frames.V311, &flow.Retry{}))
		acks := make(chan stream.Receipt, 10)
		var packets []frames.Publish
		for n := range 6 { // one publication per second
			s.Publishes() <- stream.Publishing{Message: message("t", "", 1), Tag: n, Ack: acks}
			p := streamtest.Next[frames.Publish](c)
			p.DUP = true
			packets = append(packets, p)
			if n == 1 {
				c.Complete(p)
				wantReceipt(t, acks, 1)
			}
			if n < 3 {
				c.ExpectQuiet(time.Second)
			}
		}
		wantAgain(t, c, packets[0], seconds(1)...)
		wantAgain(t, c, packets[2], seconds(2)...)
		wantAgain(t, c, packets[3], seconds(1)...)
		c.Expect(packets[4], packets[5])
		for _, i := range []int{5, 4, 3, 2, 0} {
			c.Complete(packets[i])
			wantReceipt(t, acks, i)
		}
		c.ExpectQuiet(time.Hour)
	})
}

// After a retry the broker may send two acks, one for each copy of a PUBLISH. The second has no
// effect.
func TestBothCopiesMayBeAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, retrying(frames.V311, &flow.Retry{}))
		published := goPublish(s, message("t", "", 1))
		p := streamtest.Next[frames.Publish](c)
		p.DUP = true
		wantAgain(t, c, p, seconds(4)...)
		c.Send(ack(puback, p.ID), ack(puback, p.ID))
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		next := goPublish(s, message("t", "", 1))
		if q := streamtest.Next[frames.Publish](c); q.ID == p.ID || q.DUP {
			t.Fatalf("%+v", q)
		}
		wantPending(t, next)
	})
}

func TestIntervalsStartOverWithAConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := retrying(frames.V311, &flow.Retry{})
		o.KeepSession, o.Reconnect = true, every(time.Second)
		s, c := connected(t, b, o)
		goPublish(s, message("t", strings.Repeat("x", 10_000), 1))
		goPublish(s, message("u", "", 2))
		var p, q frames.Publish
		for _, sent := range nextPublishes(t, c, 2) {
			if sent.DUP = true; sent.QoS == 1 {
				p = sent
			} else {
				q = sent
			}
		}
		c.Send(ack(pubrec, q.ID))
		c.Expect(ack(pubrel, q.ID))
		start := time.Now()
		var again []time.Duration
		for time.Since(start) < 40*time.Second {
			streamtest.Next[frames.Packet](c)
			again = append(again, time.Since(start))
		}
		if len(again) < 6 {
			t.Fatalf("retransmitted at %v", again)
		}
		c.Drop()

		b.ExpectNoDial(time.Second - 1)
		c = b.Accept()
		c.ExpectConnect()
		c.ExpectQuiet(9 * time.Second) // nothing is sent while offline
		c.Connack(true, frames.Success)
		up := time.Now()
		first := map[frames.Type]bool{}
		for range 2 {
			first[streamtest.Next[frames.Packet](c).Type()] = true
		}
		wantElapsed(t, up, 0)
		if !first[frames.TypePublish] || !first[pubrel] {
			t.Fatalf("retransmitted first: %v", first)
		}
		c.Expect(ack(pubrel, q.ID))
		wantElapsed(t, up, 4*time.Second)
		c.Expect(p)
		wantElapsed(t, up, 5*time.Second)
		c.Expect(p)
		wantElapsed(t, up, 11*time.Second)
		c.Expect(ack(pubrel, q.ID))
		wantElapsed(t, up, 12*time.Second)
	})
}

func TestNothingIsSentAgainWithoutRetry(t *testing.T) {
	for _, v := range []frames.Version{frames.V31, frames.V311} {
		bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
			o := retrying(v, nil)
			o.KeepAlive = 0
			s, c := connected(t, b, o)
			goPublish(s, message("t", "", 1))
			streamtest.Next[frames.Publish](c)
			goPublish(s, message("u", "", 2))
			q := streamtest.Next[frames.Publish](c)
			c.Send(ack(pubrec, q.ID))
			c.Expect(ack(pubrel, q.ID))
			callSubscribe(t.Context(), t, s, filterOf("f", 1))
			c.Grant(streamtest.Next[frames.Subscribe](c))
			c.ExpectQuiet(time.Hour)
		}, streamtest.AutoPing())
	}
}

// If a broker does not read, the session does not queue further copies of a packet.
func TestCopiesDoNotPileUpForABrokerThatDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := retrying(frames.V311, &flow.Retry{Initial: time.Second})
		o.WriteTimeout = -1
		s, c := connected(t, b, o)
		c.Stall()
		acks := make(chan stream.Receipt, 10)
		offer(s, 0, 5, 1, acks)
		callSubscribe(t.Context(), t, s, filterOf("f", 1))
		elapse(time.Hour)
		c.Resume()
		synctest.Wait()
		sent := c.Bytes()
		if sent > 14+2*(5*8+10)+1000 {
			t.Fatalf("%d bytes had accumulated", sent)
		}
	})
}
