package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func window(n uint16) *frames.ConnackProperties { return &frames.ConnackProperties{ReceiveMaximum: n} }

// V17. The Receive Maximum of the broker bounds the publications in flight, if it is below Window.
func TestTheReceiveMaximumOfTheBrokerBoundsTheWindow(t *testing.T) {
	for announced, want := range map[uint16]int{0: 5, 2: 2, 9: 5} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			acks := make(chan stream.Receipt, 8)
			s, c := welcomed(t, b, stream.Options{Window: 5, Ack: acks}, window(announced))
			for n := range 8 {
				sendAll(s, message("a", strconv.Itoa(n), frames.QoS(1+n%2)))
			}
			for n := range want {
				c.Expect(publish("a", strconv.Itoa(n), frames.QoS(1+n%2), uint16(n+1), false))
			}
			synctest.Wait()
			c.ExpectNone()
			if st := s.Stats(); st.Window != want || st.InFlight != want {
				t.Errorf("announced %d: window %d, in flight %d", announced, st.Window, st.InFlight)
			}
			c.Send(ack(puback, 1))
			if p := streamtest.Next[frames.Publish](c); string(p.Payload) != strconv.Itoa(want) {
				t.Errorf("sent %q", p.Payload)
			}
		})
	}
}

// V18. After a resume with a smaller Receive Maximum, resent and new publications share it, in
// their order.
func TestASmallerReceiveMaximumBoundsRetransmissions(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Window: 10}, nil)
		for n := range 12 {
			sendAll(s, message("a", strconv.Itoa(n), 1))
		}
		for n := range 10 {
			c.Expect(publish("a", strconv.Itoa(n), 1, uint16(n+1), false))
		}
		c.Drop()
		c, _ = greeted(t, b, s, true, window(3))
		for n := range 12 {
			p := streamtest.Next[frames.Publish](c)
			if string(p.Payload) != strconv.Itoa(n) || p.DUP != (n < 10) {
				t.Fatalf("sent %q, DUP %t, want number %d", p.Payload, p.DUP, n)
			}
			if n >= 2 {
				synctest.Wait()
				c.ExpectNone()
				c.Send(ack(puback, uint16(n-1)))
			}
		}
	})
}

// V19. A full window holds back publications and nothing else. A QoS 0 message waits behind a QoS 1
// message, since the order is kept.
func TestAFullWindowHoldsBackOnlyPublications(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 4)
		s, c := welcomed(t, b, stream.Options{Window: 4, Ack: acks}, window(1))
		sendAll(s, message("a", "1", 2), message("a", "2", 1), message("a", "3", 0))
		c.Expect(publish("a", "1", 2, 1, false))
		sub := callSubscribe(context.Background(), t, s, filterOf("f", 1))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		<-sub.done
		c.Send(publish("f", "in", 1, 5, false))
		wantDelivery(t, sub.sub.Deliveries(), "f", "in").Ack()
		c.Expect(ack(puback, 5))
		c.Send(ack(pubrec, 1))
		c.Expect(ack(pubrel, 1))
		time.Sleep(50 * time.Second)
		c.Expect(frames.Pingreq{})
		c.Send(frames.Pingresp{}, ack(pubcomp, 1))
		c.Expect(publish("a", "2", 1, 2, false), publish("a", "3", 0, 0, false))
	})
}

// V20, V21. An ack that refuses gives its place back, once. A PUBCOMP for a PUBREL of the earlier
// connection does not raise the window.
func TestARefusalGivesOnePlaceInTheWindowBack(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 16)
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Window: 4, Ack: acks}, window(2))
		for n := range 12 {
			sendAll(s, message("a", strconv.Itoa(n), 2))
		}
		next := func(n int) (id uint16) {
			t.Helper()
			p := streamtest.Next[frames.Publish](c)
			if string(p.Payload) != strconv.Itoa(n) {
				t.Fatalf("sent %q, want %d", p.Payload, n)
			}
			synctest.Wait()
			return p.ID
		}
		first, second := next(0), next(1)
		c.ExpectNone()
		refusal := frames.Ack{Kind: pubrec, ID: first, AckReason: frames.AckReason{Code: frames.QuotaExceeded}}
		c.Send(refusal, refusal)
		third := next(2)
		c.ExpectNone() // the second refusal is of no publication
		c.Send(ack(pubrec, second))
		c.Expect(ack(pubrel, second))
		c.Send(frames.Ack{Kind: pubcomp, ID: second, AckReason: frames.AckReason{Code: frames.PacketIdentifierNotFound}})
		next(3)
		c.ExpectNone()
		c.Send(ack(pubrec, third))
		c.Expect(ack(pubrel, third))
		c.Drop()

		c, _ = greeted(t, b, s, true, window(2))
		c.Expect(ack(pubrel, third))
		next(3)
		c.ExpectNone()
		c.Send(ack(pubcomp, third), ack(pubcomp, third))
		next(4)
		c.ExpectNone()
		if st := s.Stats(); st.InFlight != 2 || st.Window != 2 {
			t.Errorf("%d in flight, window %d", st.InFlight, st.Window)
		}
	})
}

func surplus(st stream.Stats) uint64 { return st.Surplus }

// V22. Messages beyond our Receive Maximum are delivered all the same, and counted, since mosquitto
// sends such. One record at Warn tells of them.
func TestMessagesBeyondTheReceiveMaximumAreDeliveredAndCounted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelWarn}
		s, c := welcomed(t, b, stream.Options{Logger: slog.New(book), DiscardUnclaimed: true, V5: stream.OptionsV5{ReceiveMaximum: 2}}, nil)
		sub := subscribed(t, s, c, "a", 2)
		c.Send(publish("a", "0", 0, 0, false), publish("a", "1", 1, 1, false), publish("a", "2", 2, 2, false),
			publish("a", "3", 1, 3, false), publish("a", "4", 2, 4, true), publish("a", "5", 0, 0, false))
		var held []stream.Delivery
		for n := range 6 {
			held = append(held, wantDelivery(t, sub.Deliveries(), "a", strconv.Itoa(n)))
		}
		wantStat(t, s, "Surplus", surplus, 2)
		if list := book.take(); len(list) != 1 {
			t.Errorf("logged %v", list)
		}
		for _, d := range held {
			d.Ack()
		}
		c.Expect(ack(puback, 1), ack(pubrec, 2), ack(puback, 3), ack(pubrec, 4))
	})
}

// A copy of a QoS 2 message that is in the quota already takes no place in it.
func TestASecondCopyTakesNoPlaceInTheQuota(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{V5: stream.OptionsV5{ReceiveMaximum: 1}}, nil)
		c.Send(publish("a", "1", 2, 1, false), publish("a", "1", 2, 1, true))
		wantDelivery(t, s.Deliveries(), "a", "1").Ack()
		c.Expect(ack(pubrec, 1), ack(pubrec, 1))
	})
}

// V23. A broker that sends the backlog of a resumed session at once, with DUP, is not cut off. The
// messages in excess are counted.
func TestTheBacklogOfAResumedSessionMayExceedTheReceiveMaximum(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := stream.Options{KeepSession: true, ClientID: "k", V5: stream.OptionsV5{ReceiveMaximum: 2}}
		s := open(t, b, five(o))
		c, _ := greeted(t, b, s, true, nil)
		for id := uint16(1); id <= 5; id++ {
			c.Send(publish("a", strconv.Itoa(int(id)), 1, id, true))
		}
		synctest.Wait() // the first acks come after all five messages
		for id := uint16(1); id <= 5; id++ {
			wantDelivery(t, s.Deliveries(), "a", strconv.Itoa(int(id))).Ack()
			c.Expect(ack(puback, id))
		}
		wantStat(t, s, "Surplus", surplus, 3)
		c.Send(publish("a", "6", 1, 6, false), publish("a", "7", 1, 7, false))
		wantDelivery(t, s.Deliveries(), "a", "6")
		wantStat(t, s, "Surplus", surplus, 3)
	})
}

// V24. The place of a QoS 1 message is free after PUBACK, and of a QoS 2 message after PUBCOMP or a
// PUBREC that refuses. QoS 0 messages and other exchanges go on meanwhile.
func TestTheQuotaOfReceivedMessagesIsHeldToTheEndOfTheExchange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{V5: stream.OptionsV5{ReceiveMaximum: 1}}, nil)
		in := s.Deliveries()
		for _, step := range []uint16{1, 2} { // the place is used again each time
			c.Send(publish("a", "q1", 1, step, false), publish("a", "q0", 0, 0, false))
			held := wantDelivery(t, in, "a", "q1")
			wantDelivery(t, in, "a", "q0")
			done := goPublish(s, message("out", "x", 1))
			c.Complete(streamtest.Next[frames.Publish](c))
			wantError(t, <-done, nil)
			held.Ack()
			c.Expect(ack(puback, step))
		}
		c.Send(publish("a", "q2", 2, 3, false))
		wantDelivery(t, in, "a", "q2").Ack()
		c.Expect(ack(pubrec, 3))
		c.Send(ack(pubrel, 3))
		c.Expect(ack(pubcomp, 3))
		c.Send(publish("a", "no", 2, 4, false))
		wantDelivery(t, in, "a", "no").Reject(frames.QuotaExceeded, "")
		c.Expect(frames.Ack{Kind: pubrec, ID: 4, AckReason: frames.AckReason{Code: frames.QuotaExceeded}})
		c.Send(publish("a", "q2", 2, 5, false))
		wantDelivery(t, in, "a", "q2").Ack()
		c.Expect(ack(pubrec, 5))
		wantStat(t, s, "Surplus", surplus, 0)
		c.Send(publish("a", "more", 1, 6, false)) // PUBREC has freed nothing
		wantDelivery(t, in, "a", "more")
		wantStat(t, s, "Surplus", surplus, 1)
	})
}

// A violation while the writer is busy closes the connection at once, without the DISCONNECT that
// would wait behind the blocked write.
func TestAViolationOnABusyWriterClosesTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		c.Stall()
		done := goPublish(s, message("a", "stuck", 1))
		synctest.Wait()
		start := time.Now()
		c.Send(publish("a", "before", 0, 0, false), frames.Pingreq{}, publish("a", "after", 0, 0, false))
		wantViolation(t, lost(t, s), "PINGREQ")
		wantDelivery(t, s.Deliveries(), "a", "before")
		wantNoDelivery(t, s.Deliveries())
		if took := time.Since(start); took > time.Second {
			t.Errorf("the connection was lost after %v", took)
		}
		wantError(t, <-done, stream.ErrUnconfirmed)
		c = b.Handshake(false)
		done = goPublish(s, message("a", "next", 1))
		c.Complete(streamtest.Next[frames.Publish](c))
		wantError(t, <-done, nil)
	})
}

// The connection breaks, or the broker reads nothing, while the DISCONNECT with the reason is
// written.
func TestAStuckDisconnectDoesNotHoldUpTheNextConnection(t *testing.T) {
	for name, cut := range map[string]func(*streamtest.Conn){"reset": (*streamtest.Conn).Abort, "stalled": func(*streamtest.Conn) {}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := welcomed(t, b, stream.Options{}, nil)
				c.Stall()
				start := time.Now()
				c.Send(publish("a", "before", 0, 0, false), frames.Pingreq{}, publish("a", "after", 0, 0, false))
				synctest.Wait()
				cut(c)
				err := lost(t, s)
				wantViolation(t, err, "PINGREQ")
				if took := time.Since(start); took > time.Second || errors.Is(err, stream.ErrClosed) {
					t.Errorf("the connection was lost after %v: %v", took, err)
				}
				b.Handshake(false)
				<-s.Online()
			})
		})
	}
}

// askedHandler calls asked for each record at Warn, before it is logged.
type askedHandler struct {
	slog.Handler
	asked func()
}

func (h askedHandler) Enabled(_ context.Context, level slog.Level) bool {
	if level == slog.LevelWarn {
		h.asked()
	}
	return false
}

func TestALogHandlerIsAskedWithoutALock(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	var sub atomic.Pointer[stream.Subscription]
	asked := make(chan bool, 10)
	log := slog.New(askedHandler{slog.DiscardHandler, func() {
		free := make(chan struct{})
		go func() {
			sub.Load().Err() // needs the lock of the inboxes
			close(free)
		}()
		select {
		case <-free:
			asked <- true
		case <-time.After(5 * time.Second):
			asked <- false
		}
	}})
	s, c := welcomed(t, b, stream.Options{Logger: log, V5: stream.OptionsV5{ReceiveMaximum: 1}}, nil)
	sub.Store(subscribed(t, s, c, "a", 1))
	c.Send(publish("a", "1", 1, 1, false), publish("a", "2", 1, 2, false))
	if !<-asked {
		t.Error("the session holds a lock while it asks the log handler")
	}
}
