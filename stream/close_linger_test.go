package stream_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Close reads until the broker closes the connection, because closing with unread bytes would reset
// the connection and lose the last acks. Close ignores the packets that it reads.
func TestCloseReadsOnUntilTheBrokerCloses(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *stream.Session) *closing{
		"Close":    callClose,
		"Shutdown": func(t *testing.T, s *stream.Session) *closing { return callShutdown(t.Context(), t, s) },
	} {
		t.Run(name, func(t *testing.T) {
			bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "f", 1)
				c.Send(inboundRun("f", 1, 1, 1)...)
				takeFrom(t, sub.Deliveries()).Ack()
				down := end(t, s)
				c.Expect(ack(puback, 1))
				c.ExpectDisconnect()
				down.pending()
				elapse(time.Second / 2)
				for range 10_000 {
					c.Send(publish("f", "too late", 1, 2, false), ack(frames.TypePubrel, 3))
				}
				synctest.Wait()
				if n := c.Unread(); n != 0 {
					t.Errorf("%d bytes are unread: a close would reset the connection", n)
				}
				down.pending()
				c.Drop()
				if err := down.after(time.Second / 2); err != nil {
					t.Error(err)
				}
				wantEnd(t, sub.Deliveries())
				wantEnded(t, s)
			}, streamtest.KeepOpen())
		})
	}
}

// Close waits a second for a broker that does not close the connection.
func TestCloseDoesNotWaitForABrokerThatStaysOpen(t *testing.T) {
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		down := callClose(t, s)
		c.ExpectDisconnect()
		if err := down.after(time.Second); err != nil {
			t.Error(err)
		}
		wantEnded(t, s)
	}, streamtest.KeepOpen())
}

// Close has one second for its last writes. The second begins with the first of these writes, after
// the commit that precedes them.
func TestASlowCommitDoesNotCostTheDisconnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := kept(1, nil)
		o.Store = &slowCard{flow.NewMemoryStore()}
		s, c := connected(t, b, o)
		sendAll(s, message("a", "1", 1))
		down := callClose(t, s)
		c.Expect(publish("a", "1", 1, 1, false))
		c.ExpectDisconnect()
		if err := down.after(3 * time.Second); err != nil {
			t.Error(err)
		}
	})
}

// slowCard is a store that takes three seconds for each commit.
type slowCard struct{ flow.Store }

func (s *slowCard) Commit(c []flow.Change) error {
	if !recordsOnly(c) {
		elapse(3 * time.Second)
	}
	return s.Store.Commit(c)
}

// bare is a connection without CloseWrite.
type bare struct{ net.Conn }

// Without CloseWrite the client only sends DISCONNECT, and the broker then closes the connection.
func TestCloseOfAConnectionThatCannotCloseOneDirection(t *testing.T) {
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := b.Dial(ctx, network, addr)
			return bare{c}, err
		}})
		down := callClose(t, s)
		c.ExpectType(frames.TypeDisconnect)
		c.Drop()
		if err := down.after(0); err != nil {
			t.Error(err)
		}
	}, streamtest.KeepOpen())
}

// Close waits only a second for a broker that never stops sending.
func TestCloseUnderAFloodEndsAfterASecond(t *testing.T) {
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ReceiveBytes: 1000})
		flood := encoded(t, version, publish("a", "x", 0, 0, false))
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				if _, err := c.Raw().Write(flood); err != nil {
					return
				}
				elapse(time.Millisecond)
			}
		}()
		if err := callClose(t, s).after(time.Second); err != nil {
			t.Error(err)
		}
		<-over
	}, streamtest.KeepOpen())
}
