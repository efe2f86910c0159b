package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// [MQTT-3.1.2-23]
func TestPingreqLeavesAfterNineTenthsOfTheKeepAlive(t *testing.T) {
	for _, row := range []struct{ keepAlive, silence time.Duration }{
		{0, 54 * time.Second},
		{time.Second, 900 * time.Millisecond},
		{10 * time.Second, 9 * time.Second},
		{time.Minute, 54 * time.Second},
		{20 * time.Minute, 18 * time.Minute},
		{65535 * time.Second, 58981500 * time.Millisecond},
	} {
		t.Run(row.keepAlive.String(), func(t *testing.T) {
			for _, v := range versions() {
				bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
					start := time.Now()
					_, c := connected(t, b, &stream.Options{Version: v, ClientID: "c", KeepAlive: row.keepAlive})
					for i := range 5 {
						c.Expect(frames.Pingreq{})
						wantElapsed(t, start, row.silence*time.Duration(i+1))
						c.Send(frames.Pingresp{})
					}
				}, streamtest.Timeout(100*time.Hour))
			}
		})
	}
}

// The keep alive interval begins when CONNECT is sent, not when CONNACK arrives.
func TestPingreqIsMeasuredFromConnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		c := b.Accept()
		c.ExpectConnect()
		start := time.Now()
		c.ExpectQuiet(9 * time.Second)
		c.Connack(false, frames.Success)
		<-s.Online()
		c.Expect(frames.Pingreq{})
		wantElapsed(t, start, 54*time.Second)
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{KeepAlive: 5 * time.Second})
		c := b.Accept()
		c.ExpectConnect()
		start := time.Now()
		c.ExpectQuiet(7 * time.Second) // longer than the keep alive
		c.Connack(false, frames.Success)
		<-s.Online()
		for _, at := range []time.Duration{7000, 11500, 16000} {
			c.Expect(frames.Pingreq{})
			wantElapsed(t, start, at*time.Millisecond)
			c.Send(frames.Pingresp{})
		}
	})
}

func TestReceivedPacketsDoNotPostponePingreq(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := connected(t, b, nil)
		start := time.Now()
		for range 2 {
			for range 5 {
				c.ExpectQuiet(10 * time.Second)
				c.Send(publish("t", "p", 0, 0, false))
			}
			c.Expect(frames.Pingreq{})
			c.Send(frames.Pingresp{})
		}
		wantElapsed(t, start, 2*54*time.Second)
	})
}

func TestSentAndAnsweredPacketsPostponePingreq(t *testing.T) {
	for name, send := range map[string]func(t *testing.T, s *stream.Session, c *streamtest.Conn){
		"PUBLISH of QoS 0": func(t *testing.T, s *stream.Session, c *streamtest.Conn) {
			wantError(t, s.Publish(t.Context(), message("t", "p", 0)), nil)
			c.Expect(publish("t", "p", 0, 0, false))
			c.Send(publish("other", "p", 0, 0, false))
		},
		"PUBLISH of QoS 1": func(t *testing.T, s *stream.Session, c *streamtest.Conn) {
			goPublish(s, message("t", "p", 1))
			c.Send(ack(puback, streamtest.Next[frames.Publish](c).ID))
		},
		"PUBACK": func(t *testing.T, s *stream.Session, c *streamtest.Conn) {
			c.Send(publish("t", "p", 1, 9, false))
			takeFrom(t, s.Messages())
			c.Expect(ack(puback, 9))
		},
		"PUBCOMP": func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.Send(ack(pubrel, 9))
			c.Expect(pubcompUnknown(9))
		},
		"SUBSCRIBE": func(t *testing.T, s *stream.Session, c *streamtest.Conn) {
			subscribed(t, s, c, "f", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				for range 3 {
					c.ExpectQuiet(53 * time.Second)
					send(t, s, c)
				}
				last := time.Now()
				c.Expect(frames.Pingreq{})
				wantElapsed(t, last, 54*time.Second)
			})
		})
	}
}

func TestNegativeKeepAliveLetsABrokerBeSilent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: -time.Hour})
		c.ExpectQuiet(24 * time.Hour)
		published := goPublish(s, message("t", "p", 1))
		p := streamtest.Next[frames.Publish](c)
		c.ExpectQuiet(24 * time.Hour)
		c.Complete(p)
		if err := <-published; err != nil {
			t.Fatal(err)
		}
	})
}

// T2, T3: a frozen or unreachable broker sends no PINGRESP, so the session closes the connection.
func TestMissingPingrespClosesTheConnection(t *testing.T) {
	for _, row := range []struct{ keepAlive, wait time.Duration }{
		{time.Second, time.Second},
		{9 * time.Second, 9 * time.Second},
		{10 * time.Second, 10 * time.Second},
		{20 * time.Second, 20 * time.Second},
		{time.Minute, 20 * time.Second},
		{65535 * time.Second, 20 * time.Second},
	} {
		t.Run(row.keepAlive.String(), func(t *testing.T) {
			for _, v := range versions() {
				bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
					o := faultOptions(v)
					o.KeepAlive = row.keepAlive
					s, c := connected(t, b, o)
					c.Expect(frames.Pingreq{})
					start := time.Now()
					for _, p := range c.Rest() { // with a short keep alive the client sends further PINGREQs
						if p != (frames.Pingreq{}) {
							t.Fatalf("%v, want only PINGREQ before the end", p.Type())
						}
					}
					wantElapsed(t, start, row.wait)
					st := offline(t, s)
					wantText(t, st.Err, "PINGREQ")
					if st.Attempt != 0 {
						t.Fatalf("attempt %d, want 0", st.Attempt)
					}
					returns(t, b, s, nil, start.Add(row.wait))
				}, streamtest.Timeout(100*time.Hour))
			}
		})
	}
	t.Run("without another connection", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{NoReconnect: true})
			c.Expect(frames.Pingreq{})
			c.ExpectClosed()
			<-s.Done()
			wantText(t, s.Err(), "PINGREQ")
			b.ExpectNoDial(time.Hour)
		})
	})
}

// A PINGRESP counts, whichever PINGREQ it answers.
func TestLatePingrespKeepsTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := connected(t, b, nil)
		for range 20 {
			c.Expect(frames.Pingreq{})
			c.ExpectQuiet(20*time.Second - 1)
			c.Send(frames.Pingresp{})
		}
	})
}

// T4: a broker is alive while bytes arrive from it, even if the PINGRESP is late.
func TestOtherBytesExtendTheWaitForPingresp(t *testing.T) {
	t.Run("whole packets", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			_, c := connected(t, b, nil)
			c.Expect(frames.Pingreq{})
			for range 3 {
				c.ExpectQuiet(9 * time.Second)
				c.Send(publish("t", "p", 0, 0, false))
			}
			last := time.Now()
			c.ExpectClosed()
			wantElapsed(t, last, 20*time.Second)
		})
	})
	t.Run("parts of a long packet", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			in := s.Deliveries()
			long := encoded(t, version, publish("t", strings.Repeat("x", 400), 0, 0, false))
			start := time.Now()
			for len(long) > 1 {
				c.SendBytes(long[:1])
				long = long[1:]
				next := time.Now().Add(9 * time.Second)
				for time.Now().Before(next) {
					elapse(time.Second)
				}
			}
			if time.Since(start) < time.Hour {
				t.Fatal("the packet arrived within an hour, too fast for this test")
			}
			c.SendBytes(long)
			wantDelivery(t, in, "t", strings.Repeat("x", 400))
		})
	})
	t.Run("half a packet, then silence", func(t *testing.T) {
		for _, at := range []time.Duration{0, 30 * time.Second, 54 * time.Second} {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := faultOptions(frames.V311)
				s, c := connected(t, b, o)
				elapse(at - 1)
				c.SendBytes(encoded(t, frames.V311, publish("t", strings.Repeat("x", 400), 1, 1, false))[:200])
				reads := c.Reads()
				c.Expect(frames.Pingreq{})
				start := time.Now()
				c.ExpectClosed()
				wantElapsed(t, start, 20*time.Second)
				if n := c.Reads() - reads; n > 3 {
					t.Fatalf("%d reads of half a packet", n)
				}
				wantText(t, lost(t, s), "PINGREQ")
				returns(t, b, s, nil, start.Add(20*time.Second))
			})
		}
	})
	t.Run("half a packet after PINGREQ, then silence", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			_, c := connected(t, b, nil)
			c.Expect(frames.Pingreq{})
			c.ExpectQuiet(6 * time.Second)
			c.SendBytes([]byte{0x30, 100, 0})
			last := time.Now()
			c.ExpectClosed()
			// When the time for PINGRESP is up, bytes have arrived meanwhile. So the session waits
			// twenty seconds more.
			wantElapsed(t, last, 34*time.Second)
		})
	})
}

// T6, paho.mqtt.golang #208 and #430: while a consumer sleeps, reading pauses and PINGRESP stays
// unread. The session must not blame the broker for that.
func TestSleepingConsumerIsNotADeadBroker(t *testing.T) {
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxUnread: 2000})
		sub := subscribed(t, s, c, "a", 1)
		messages := sub.Messages()
		for n := range 10 {
			c.Send(publish("a", strings.Repeat("x", 1000), 1, uint16(n+1), false))
		}
		for n := range 10 {
			c.ExpectQuiet(20 * time.Minute)
			if n == 4 && !s.Stats().Paused {
				t.Fatal("reading does not pause")
			}
			takeFrom(t, messages)
			c.Expect(ack(puback, uint16(n+1)))
		}
		published := goPublish(s, message("t", "p", 1))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Connections != 1 || st.Paused {
			t.Fatalf("stats %+v", st)
		}
	}, streamtest.AutoPing())
}

// T5, T3: a write makes no progress, because the broker stops reading or the network loses the
// data.
func TestWriteWithoutProgressEndsTheConnection(t *testing.T) {
	for name, row := range map[string]struct {
		set  time.Duration
		wait time.Duration
	}{
		"by default":        {0, 10 * time.Second},
		"with WriteTimeout": {3 * time.Second, 3 * time.Second},
		"with a longer one": {5 * time.Minute, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := faultOptions(frames.V311)
				o.WriteTimeout, o.KeepAlive = row.set, noPing
				s, c := connected(t, b, o)
				c.Stall()
				acks := make(chan stream.Receipt, 10)
				start := time.Now()
				offer(s, 0, 2, 1, acks)
				offer(s, 2, 3, 0, acks)
				c.ExpectClosed()
				wantElapsed(t, start, row.wait)
				wantError(t, lost(t, s), os.ErrDeadlineExceeded)
				// The first message may have been sent. The other messages wait for the next
				// connection.
				wantReceipt(t, acks, 0, stream.ErrUnconfirmed, os.ErrDeadlineExceeded)
				c = b.Handshake(false)
				wantElapsed(t, start, row.wait+faultPause)
				p := streamtest.Next[frames.Publish](c)
				c.Expect(publish("n", "2", 0, 0, false))
				wantReceipt(t, acks, 2)
				c.Complete(p)
				wantReceipt(t, acks, 1)
			})
		})
	}
	t.Run("unless it goes on", func(t *testing.T) {
		bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			published := goPublish(s, message("t", strings.Repeat("x", 20<<10), 1))
			for range 19 { // 1 KiB every 9 s: progress, but the whole message takes much longer than 10 s
				elapse(9 * time.Second)
				if _, err := io.ReadFull(c.Raw(), make([]byte, 1<<10)); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			wantPending(t, published)
			wantError(t, lost(t, s), os.ErrDeadlineExceeded)
			if d := time.Since(start); d < 10*time.Second || d > 20*time.Second { // the check runs every ten seconds
				t.Fatalf("connection lost after %v without progress", d)
			}
		}, streamtest.Buffer(1<<10))
	})
}

// A long message on a slow line delays PINGREQ. The session keeps the connection, because the
// broker goes on reading.
func TestSlowLineIsNotADeadBroker(t *testing.T) {
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		published := goPublish(s, message("t", strings.Repeat("x", 200<<10), 1))
		raw := c.Raw()
		for n := 200 << 10; n > 0; {
			elapse(5 * time.Second)
			got, err := io.ReadFull(raw, make([]byte, min(n, 5<<10)))
			if err != nil {
				t.Fatalf("connection lost with %d bytes to go: %v; %v", n, err, lost(t, s))
			}
			n -= got
		}
		rest := len(encoded(t, version, publish("t", strings.Repeat("x", 200<<10), 1, 1, false))) - 200<<10
		if _, err := io.ReadFull(raw, make([]byte, rest)); err != nil {
			t.Fatal(err)
		}
		c.Send(ack(puback, 1))
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		c.Expect(frames.Pingreq{})
		if d := time.Since(start); d > 54*time.Second {
			t.Fatalf("PINGREQ after %v, want at most 54 s", d)
		}
	}, streamtest.Buffer(5<<10))
}

// T5: Publish to a broker that does not read ends with its context.
func TestPublishToABrokerThatDoesNotReadEndsByItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Queue: 3})
		c.Stall()
		reason := errors.New("enough")
		start := time.Now()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, reason)
		defer cancel()
		var calls []<-chan error
		for n := range 8 {
			calls = append(calls, inBackground(func() error { return s.Publish(ctx, numbered(n, 1)) }))
			synctest.Wait()
		}
		for n, call := range calls {
			err := <-call
			wantElapsed(t, start, 2*time.Second)
			if n == 0 { // the writer already has the first message
				wantError(t, err, stream.ErrUnconfirmed, reason)
				wantNoErrorIn(t, err, stream.ErrNotSent)
			} else {
				wantError(t, err, stream.ErrNotSent)
				wantNoErrorIn(t, err, stream.ErrUnconfirmed)
			}
		}
		c.Resume()
		c.Complete(streamtest.Next[frames.Publish](c))
		c.ExpectQuiet(50 * time.Second) // the messages of the other calls are not sent
	})
}

// T5: the queue for a broker that does not read is bounded.
func TestMemoryIsBoundedWhenTheBrokerDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 65535, Queue: 10, WriteTimeout: -1, KeepAlive: noPing})
		c.Stall()
		taken := 0
		for accepts(s, stream.Publishing{Message: message("t", strings.Repeat("x", 1000), 1)}) {
			taken++
		}
		// The limit is the sum of the batch being written, the waiting batch and the queue.
		if taken > 1+70+10 {
			t.Fatalf("%d messages of 1,000 bytes were accepted", taken)
		}
		for range 200 { // each time 40 kB of PUBCOMPs become pending
			c.Send(ackRun(pubrel, 1, 10_000)...)
		}
		synctest.Wait()
		if !s.Stats().Paused || c.Unread() < 1<<20 {
			t.Fatalf("%d bytes are unread, want at least 1 MiB while reading pauses", c.Unread())
		}
		if err := callClose(t, s).after(time.Second); err != nil {
			t.Fatal(err)
		}
	})
}

// A sleeper blocks the session's goroutine for a while, like a suspended machine. It does so when
// the session is about to log the next packet that it receives.
type sleeper struct {
	slog.Handler
	pause time.Duration
	armed atomic.Int32 // 2: the session asks whether to log packets; 1: it asks for one packet
}

// suspend makes the session sleep when it receives the next packet.
func (h *sleeper) suspend() { h.armed.Store(2) }

func (h *sleeper) Enabled(context.Context, slog.Level) bool {
	switch {
	case h.armed.CompareAndSwap(2, 1):
		return true
	case h.armed.CompareAndSwap(1, 0):
		elapse(h.pause)
	}
	return false
}

// T7: timers use the monotonic clock. After a jump of the clock the session sends one PINGREQ, not
// one for each missed interval.
func TestNoStormOfPingsAfterTheClockJumped(t *testing.T) {
	for _, jump := range []time.Duration{time.Minute, 24 * time.Hour} {
		for _, pinged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, PINGRESP awaited: %v", jump, pinged), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					machine := &sleeper{pause: jump}
					s, c := connected(t, b, &stream.Options{Logger: slog.New(machine)})
					if pinged {
						c.Expect(frames.Pingreq{})
					}
					machine.suspend()
					c.Send(ack(pubrel, 7))
					synctest.Wait()
					if pinged {
						c.Send(frames.Pingresp{}) // arrives while the session is suspended
					}
					elapse(jump)
					woke := time.Now()
					c.Expect(pubcompUnknown(7))
					wantElapsed(t, woke, 0)
					pings := 0
					for time.Since(woke) < 10*time.Minute {
						c.Expect(frames.Pingreq{})
						c.Send(frames.Pingresp{})
						pings++
					}
					if n := s.Stats().Connections; n != 1 || pings > 13 {
						t.Fatalf("%d connections, %d PINGREQ in %v", n, pings, time.Since(woke))
					}
				})
			})
		}
	}
}
