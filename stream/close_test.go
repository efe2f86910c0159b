package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// E7, paho.mqtt.golang #509, #328, #468, #600 and #675: Close returns at every stage of a
// connection and stops every goroutine.
func TestCloseReturnsAtEveryStage(t *testing.T) {
	for _, row := range []struct {
		name  string
		o     stream.Options
		stage func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn
		takes time.Duration
		bye   bool // whether the client sends DISCONNECT
	}{
		{name: "before the dial has ended", stage: nil},
		{name: "dialing", stage: func(_ *testing.T, b *streamtest.Broker, _ *stream.Session) *streamtest.Conn {
			synctest.Wait()
			return nil
		}, o: stream.Options{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}},
		{name: "asking for credentials", stage: func(*testing.T, *streamtest.Broker, *stream.Session) *streamtest.Conn {
			synctest.Wait()
			return nil
		}, o: stream.Options{Prepare: login(func(ctx context.Context) (string, []byte, error) {
			<-ctx.Done()
			return "", nil, ctx.Err()
		})}},
		{name: "shaking hands, CONNECT not read", stage: func(_ *testing.T, b *streamtest.Broker, _ *stream.Session) *streamtest.Conn {
			c := b.Accept()
			c.Stall()
			return nil
		}},
		{name: "shaking hands, no CONNACK", stage: func(_ *testing.T, b *streamtest.Broker, _ *stream.Session) *streamtest.Conn {
			c := b.Accept()
			c.ExpectConnect()
			c.ExpectQuiet(time.Second)
			return c
		}},
		{name: "shaking hands, half a CONNACK", stage: func(_ *testing.T, b *streamtest.Broker, _ *stream.Session) *streamtest.Conn {
			c := b.Accept()
			c.ExpectConnect()
			c.SendBytes([]byte{0x20, 2})
			return c
		}},
		{name: "connected", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			return c
		}, bye: true},
		{name: "connected for long", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			for range 10 {
				c.Expect(frames.Pingreq{})
				c.Send(frames.Pingresp{})
			}
			return c
		}, bye: true},
		{name: "waiting for PINGRESP", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			c.Expect(frames.Pingreq{})
			return c
		}, bye: true},
		{name: "subscribing", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			goSubscribe(s, filterOf("f", 1))
			streamtest.Next[frames.Subscribe](c)
			return c
		}, bye: true},
		{name: "half of a packet received", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			c.SendBytes(encoded(t, frames.V311, publish("t", "payload", 1, 1, false))[:7])
			<-s.Online()
			return c
		}, bye: true},
		{name: "publications queued and in flight", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			acks := make(chan stream.Receipt, 100)
			offer(s, 0, 50, 2, acks)
			c.Send(ack(pubrec, nextPublishes(t, c, 1)[0].ID))
			c.Expect(ack(pubrel, 1))
			t.Cleanup(func() { wantReceipts(t, acks, 50) })
			return c
		}, bye: true},
		{name: "a batch blocked in its write", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			c.Stall()
			acks := make(chan stream.Receipt, 100)
			offer(s, 0, 50, 0, acks)
			synctest.Wait()
			t.Cleanup(func() { wantReceipts(t, acks, 50) })
			return c
		}, takes: time.Second},
		{name: "a batch blocked in its write, without WriteTimeout", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			c.Stall()
			acks := make(chan stream.Receipt, 100)
			offer(s, 0, 50, 1, acks)
			elapse(time.Hour)
			t.Cleanup(func() { wantReceipts(t, acks, 50) })
			return c
		}, takes: time.Second, o: stream.Options{WriteTimeout: -1, KeepAlive: noPing, Window: 10}},
		{name: "a broker that stops reading now", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			c.Stall()
			return c
		}, takes: time.Second},
		{name: "resuming", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			acks := make(chan stream.Receipt, 100)
			offer(s, 0, 50, 1, acks)
			nextPublishes(t, c, 10)
			c.Drop()
			c = b.Accept()
			c.ExpectConnect()
			c.Connack(true, frames.Success)
			nextPublishes(t, c, 3)
			t.Cleanup(func() { wantReceipts(t, acks, 50) })
			return c
		}, bye: true, o: stream.Options{ClientID: "k", KeepSession: true, Window: 10}},
		{name: "about to resume", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			acks := make(chan stream.Receipt, 100)
			offer(s, 0, 50, 1, acks)
			nextPublishes(t, c, 10)
			c.Drop()
			c = b.Accept()
			c.ExpectConnect()
			t.Cleanup(func() { wantReceipts(t, acks, 50) })
			return c
		}, o: stream.Options{ClientID: "k", KeepSession: true, Window: 10}},
		{name: "during back-off", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			c.Drop()
			b.ExpectNoDial(time.Hour)
			return nil
		}, o: stream.Options{Reconnect: never()}},
		{name: "refused for ever", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			b.ExpectNoDial(time.Hour)
			return nil
		}, o: stream.Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, syscall.ECONNREFUSED
		}}},
		{name: "the connection has just been lost", stage: func(_ *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			<-s.Online()
			c.Abort()
			return nil
		}},
		{name: "consumers hold messages", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			sub := subscribed(t, s, c, "f", 2)
			c.Send(inboundRun("f", 1, 1, 300)...)
			c.Send(inboundRun("u", 2, 301, 600)...)
			takeFrom(t, sub.Deliveries())
			takeFrom(t, s.Deliveries())
			takeFrom(t, s.Messages())
			c.ExpectQuiet(time.Second)
			return c
		}, bye: true},
		{name: "reading pauses", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			c.Send(inboundRun("f", 1, 1, 3000)...)
			synctest.Wait()
			if !s.Stats().Paused {
				t.Error("reading does not pause")
			}
			return c
		}, bye: true, o: stream.Options{MaxUnread: 1000}},
		{name: "an iterator waits", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			go func() {
				for range s.All(context.Background()) {
				}
			}()
			c.ExpectQuiet(time.Second)
			return c
		}, bye: true},
		{name: "Flush, Publish and Unsubscribe wait", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			sub := subscribed(t, s, c, "f", 2)
			published := goPublish(s, message("t", "", 1))
			streamtest.Next[frames.Publish](c)
			flushed := inBackground(func() error { return s.Flush(context.Background()) })
			left := inBackground(func() error { return sub.Unsubscribe(context.Background()) })
			streamtest.Next[frames.Unsubscribe](c)
			t.Cleanup(func() {
				wantError(t, takeFrom(t, published), stream.ErrUnconfirmed, stream.ErrClosed)
				wantError(t, takeFrom(t, flushed), stream.ErrClosed)
				if err := takeFrom(t, left); err != nil { // nil, because the broker drops the filters of a clean session
					t.Error(err)
				}
			})
			return c
		}, bye: true},
		{name: "stages wait", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			in := make(chan frames.Message, 10)
			out := s.PublishFrom(context.Background(), in)
			idle := s.PublishFrom(context.Background(), make(chan frames.Message))
			in <- message("t", "", 1)
			streamtest.Next[frames.Publish](c)
			t.Cleanup(func() {
				r := takeFrom(t, out)
				wantError(t, r.Err, stream.ErrUnconfirmed, stream.ErrClosed)
				wantEnd(t, out)
				wantEnd(t, idle)
			})
			return c
		}, bye: true},
		{name: "shutting down", stage: func(t *testing.T, b *streamtest.Broker, s *stream.Session) *streamtest.Conn {
			c := b.Handshake(false)
			goPublish(s, message("t", "", 1))
			streamtest.Next[frames.Publish](c)
			down := callShutdown(context.Background(), t, s)
			down.pending()
			t.Cleanup(func() {
				if err := down.after(0); err != nil {
					t.Error(err)
				}
			})
			return c
		}, bye: true},
	} {
		t.Run("E7 "+row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := row.o
				s := open(t, b, &o)
				var c *streamtest.Conn
				if row.stage != nil {
					c = row.stage(t, b, s)
				}
				if err := callClose(t, s).after(row.takes); err != nil {
					t.Fatal(err)
				}
				wantEnded(t, s)
				switch {
				case row.bye:
					wantOnlyDisconnectLast(t, c)
				case c != nil:
					for _, p := range c.Rest() {
						if p.Type() == frames.TypeDisconnect {
							t.Fatal("unexpected DISCONNECT")
						}
					}
				}
				dials := len(b.Dials())
				elapse(time.Hour)
				if len(b.Dials()) != dials {
					t.Fatal("the session dialed after Close")
				}
			})
		})
	}
}

// Close returns at once if the connection is already lost.
func TestCloseDoesNotWaitForABrokerThatIsGone(t *testing.T) {
	for name, gone := range map[string]func(c *streamtest.Conn){"closed": (*streamtest.Conn).Drop, "reset": (*streamtest.Conn).Abort} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				acks := make(chan stream.Receipt, 9)
				offer(s, 0, 5, 1, acks)
				synctest.Wait()
				gone(c)
				if err := callClose(t, s).after(0); err != nil {
					t.Fatal(err)
				}
				wantReceipts(t, acks, 5)
				wantEnded(t, s)
			})
		})
	}
}

// [MQTT-3.14.1-1] [MQTT-3.14.4-1] [MQTT-3.14.4-2]
func TestDisconnectIsTwoBytesAndNothingFollows(t *testing.T) {
	for _, v := range versions() {
		t.Run(v.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Version: v, ClientID: "c"})
				if err := callClose(t, s).after(0); err != nil {
					t.Fatal(err)
				}
				wantRaw(t, c, "e000")
			})
		})
	}
	for round := range 20 {
		t.Run(fmt.Sprintf("with publishers at work, %d", round), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Window: 1000, Queue: 10})
				in := s.Deliveries()
				var publishers sync.WaitGroup
				stop := make(chan struct{})
				for n := range 10 {
					publishers.Go(func() {
						for s.Publish(t.Context(), numbered(n, frames.QoS(n%2*2))) == nil {
						}
					})
					publishers.Go(func() {
						for {
							select {
							case s.Publishes() <- publishing(n, frames.QoS(n%3), nil):
							case <-stop:
								return
							}
						}
					})
				}
				c.Send(inboundRun("t", 1, 1, 500)...)
				c.Send(inboundRun("t", 2, 501, 500)...)
				publishers.Go(func() {
					for d := range in {
						d.Ack()
					}
				})
				for range 100 * round { // let the broker go on reading
					if p, is := streamtest.Next[frames.Packet](c).(frames.Publish); is && p.QoS == 1 {
						c.Send(ack(puback, p.ID))
					}
				}
				done := callClose(t, s)
				wantOnlyDisconnectLast(t, c)
				<-done.done
				if done.err != nil || done.took > time.Second {
					t.Errorf("Close returned after %v: %v", done.took, done.err)
				}
				close(stop)
				publishers.Wait()
			})
		})
	}
}

// paho.mqtt.golang #327. Close sends the acks of all acknowledged deliveries before DISCONNECT,
// even if the session learns of the last Ack and of Close at the same time.
func TestAcksThatAreDueLeaveBeforeDisconnect(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			machine := &sleeper{pause: time.Second}
			s, c := connected(t, b, &stream.Options{Logger: slog.New(machine)})
			in := s.Deliveries()
			c.Send(inboundRun("t", 1, 1, 20)...)
			c.Send(inboundRun("t", 2, 21, 20)...)
			synctest.Wait()
			machine.suspend()
			c.Send(ack(pubrel, 99))
			synctest.Wait()
			for range 40 {
				takeFrom(t, in).Ack()
			}
			done := callClose(t, s)
			c.Expect(pubcompUnknown(99))
			c.Expect(ackRun(puback, 1, 20)...)
			c.Expect(ackRun(pubrec, 21, 20)...)
			c.ExpectDisconnect()
			if err := done.after(time.Second); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCloseIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		unread := make(chan stream.Receipt)
		offer(s, 0, 3, 1, unread)
		var calls []*closing
		for range 20 {
			calls = append(calls, callClose(t, s))
		}
		for _, call := range calls {
			err := call.after(time.Second)
			wantText(t, err, "3 Receipts")
			if err != calls[0].err {
				t.Fatal("concurrent calls of Close returned different errors")
			}
		}
		wantOnlyDisconnectLast(t, c)
		if again := callClose(t, s); again.after(0) != calls[0].err {
			t.Fatal("a later Close returned another error")
		}
		if err := s.Shutdown(t.Context()); err != calls[0].err {
			t.Fatal("Shutdown after Close returned another error")
		}
		wantEnded(t, s)
	})
}

// E7: unread Receipts delay Close by a second. The error of Close gives their number.
func TestCloseGivesUpReceiptsThatNobodyTakes(t *testing.T) {
	t.Run("an unbuffered channel", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, &stream.Options{Window: 3})
			offer(s, 0, 7, 1, make(chan stream.Receipt))
			wantText(t, callClose(t, s).after(time.Second), "7 Receipts")
			wantEnded(t, s)
		})
	})
	t.Run("two that are too short, and one that is not", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, nil)
			some, few, all := make(chan stream.Receipt, 4), make(chan stream.Receipt, 1), make(chan stream.Receipt, 10)
			offer(s, 0, 10, 1, some)
			offer(s, 10, 20, 1, few)
			offer(s, 20, 30, 1, all)
			wantText(t, callClose(t, s).after(time.Second), "15 Receipts")
			wantReceipts(t, some, 4)
			wantReceipts(t, few, 1)
			wantReceipts(t, all, 10)
		})
	})
	t.Run("offline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, nil)
			offer(s, 0, 2, 1, make(chan stream.Receipt))
			wantText(t, callClose(t, s).after(time.Second), "2 Receipts")
		})
	})
	t.Run("and a stage", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, _ := connected(t, b, &stream.Options{Queue: 2000})
			in := make(chan frames.Message, 1068)
			for n := range cap(in) {
				in <- numbered(n, 1)
			}
			close(in)
			out := s.PublishFrom(t.Context(), in)
			synctest.Wait()
			// The channel has room for 1,024 Receipts. Receipts that enter the channel may count as
			// progress, so Close may wait longer.
			wantText(t, callClose(t, s).within(time.Second, 2*time.Second), "44 Receipts")
			n := 0
			for r := range out {
				if string(r.Payload) != fmt.Sprint(n) {
					t.Fatalf("Receipt %d is of %s", n, r.Payload)
				}
				n++
			}
			if n != 1024 {
				t.Fatalf("%d Receipts, want 1,024", n)
			}
		})
	})
}

// Close waits for a slow reader until it has received all Receipts.
func TestCloseWaitsForSlowTakersOfReceipts(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, nil)
		acks := make(chan stream.Receipt)
		offer(s, 0, 10, 1, acks)
		done := callClose(t, s)
		for n := range 10 {
			elapse(900 * time.Millisecond)
			if r := <-acks; r.Tag != n || r.Err == nil {
				t.Fatalf("Receipt %+v", r)
			}
		}
		if err := done.after(9 * time.Second); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReceiptsOfCloseSayIfTheMessageWasSent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 3})
		acks := make(chan stream.Receipt, 10)
		offer(s, 0, 3, 2, acks)
		offer(s, 3, 5, 1, acks)
		offer(s, 5, 6, 0, acks)
		packets := nextPublishes(t, c, 3)
		c.Send(ack(pubrec, packets[1].ID))
		c.Expect(ack(pubrel, packets[1].ID))
		c.Complete(packets[2])
		wantReceipt(t, acks, 2)
		p := streamtest.Next[frames.Publish](c)
		synctest.Wait()
		s.Close()
		for _, want := range []struct {
			tag int
			id  uint16
			err error
		}{
			{0, packets[0].ID, stream.ErrUnconfirmed},
			{1, packets[1].ID, stream.ErrUnconfirmed},
			{3, p.ID, stream.ErrUnconfirmed},
			{4, 0, stream.ErrNotSent},
			{5, 0, stream.ErrNotSent},
		} {
			r := wantReceipt(t, acks, want.tag, want.err, stream.ErrClosed, net.ErrClosed)
			if r.ID != want.id || errors.Is(r.Err, stream.ErrNotSent) == errors.Is(r.Err, stream.ErrUnconfirmed) {
				t.Fatalf("Receipt %+v", r)
			}
		}
		wantReceipts(t, acks, 0)
		wantOnlyDisconnectLast(t, c)
	})
}

func TestCallsAfterCloseSaySo(t *testing.T) {
	for _, when := range []string{"connected", "never connected"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				var s *stream.Session
				var sub *stream.Subscription
				if when == "connected" {
					var c *streamtest.Conn
					s, c = connected(t, b, nil)
					sub = subscribed(t, s, c, "f", 1)
					c.Send(inboundRun("f", 1, 1, 3)...)
					c.Send(inboundRun("u", 1, 4, 4)...)
					synctest.Wait()
				} else {
					b.Refuse(1000, nil)
					s = open(t, b, nil)
				}
				before := s.Stats()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				wantEnded(t, s)

				ctx := t.Context()
				wantError(t, s.Publish(ctx, message("t", "", 1)), stream.ErrClosed, stream.ErrNotSent, net.ErrClosed)
				_, err := s.Subscribe(ctx, filterOf("f", 1))
				wantError(t, err, stream.ErrClosed, net.ErrClosed)
				wantError(t, s.Flush(ctx), stream.ErrClosed, net.ErrClosed)
				if err := s.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				if accepts(s, publishing(0, 0, nil)) {
					t.Error("the session accepted a publishing")
				}
				wantEnd(t, s.PublishFrom(ctx, make(chan frames.Message)))
				full := make(chan frames.Message, 1)
				full <- message("t", "", 1)
				wantEnd(t, s.PublishFrom(ctx, full))
				if len(full) != 1 {
					t.Error("a stage received a message")
				}
				wantEnd(t, s.Messages())
				wantEnd(t, s.Deliveries())
				for d, err := range s.All(ctx) {
					t.Errorf("All yielded %v, %v", d, err)
				}
				states := s.States(ctx)
				st := takeFrom(t, states)
				if st.Online {
					t.Errorf("state %+v", st)
				}
				wantError(t, st.Err, stream.ErrClosed)
				wantEnd(t, states)
				after := s.Stats()
				if after.Online || after.Connections != before.Connections || after.Received != before.Received || after.Inbox != before.Inbox {
					t.Errorf("Stats %+v, before %+v", after, before)
				}
				if sub != nil {
					if after.Inbox != 7 {
						t.Errorf("Stats %+v", after)
					}
					wantEnd(t, sub.Messages())
					wantEnd(t, sub.Deliveries())
					wantError(t, sub.Unsubscribe(ctx), stream.ErrClosed, net.ErrClosed)
					if err := sub.Err(); err != nil {
						t.Error(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				wantEnded(t, s)
			})
		})
	}
}

// After Close, calls fail at once even if their context has ended too.
func TestCallsAfterCloseDoNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, nil)
		s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, s.Publish(ctx, message("t", "", 0)), stream.ErrNotSent)
		if err := s.Flush(ctx); err == nil {
			t.Error("Flush succeeded")
		}
		if _, err := s.Subscribe(ctx, filterOf("f", 0)); err == nil {
			t.Error("Subscribe succeeded")
		}
		wantEnd(t, s.PublishFrom(ctx, nil))
	})
}

// Done is closed last: all other channels are closed before it.
func TestDoneIsClosedLast(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "f", 1)
		messages, deliveries, states := s.Messages(), sub.Deliveries(), s.States(t.Context())
		out := s.PublishFrom(t.Context(), make(chan frames.Message))
		acks := make(chan stream.Receipt, 4)
		offer(s, 0, 4, 1, acks)
		checked := make(chan string, 1)
		go func() {
			<-s.Done()
			var open []string
			isClosed := func(name string, closed bool) {
				if !closed {
					open = append(open, name)
				}
			}
			_, ok := <-messages
			isClosed("Messages", !ok)
			_, ok = <-deliveries
			isClosed("Deliveries", !ok)
			_, ok = <-out
			isClosed("PublishFrom", !ok)
			for range states {
			}
			isClosed("Receipts", len(acks) == 4)
			checked <- strings.Join(open, ", ")
		}()
		s.Close()
		if open := <-checked; open != "" {
			t.Fatalf("still open when Done was closed: %s", open)
		}
	})
}

// If the last write of Close fails, Close does not wait any longer, and the Receipts give the error
// of the write.
func TestCloseTellsTheReceiptsWhyTheLastWriteFailed(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Stall()
		acks := make(chan stream.Receipt, 1)
		offer(s, 0, 1, 1, acks)
		synctest.Wait()
		done := callClose(t, s)
		elapse(300 * time.Millisecond)
		c.Abort()
		if err := done.after(300 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		wantReceipt(t, acks, 0, stream.ErrUnconfirmed, stream.ErrClosed, syscall.ECONNRESET)
		wantEnded(t, s)
	})
}

// If the broker reads within a second after Close, it receives DISCONNECT.
func TestCloseGivesABrokerASecondToRead(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Stall()
		offer(s, 0, 1, 1, make(chan stream.Receipt, 1))
		synctest.Wait()
		done := callClose(t, s)
		elapse(900 * time.Millisecond)
		c.Resume()
		if err := done.after(900 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		c.Expect(publish("n", "0", 1, 1, false))
		c.ExpectDisconnect()
	})
}
