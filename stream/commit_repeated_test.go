package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// acksOnASlowDisk receives a QoS 2 message with the identifier 7 and acknowledges it. The commit of
// this ack is then under way.
func acksOnASlowDisk(t *testing.T, b *streamtest.Broker) (*stream.Session, *streamtest.Conn, *slowDisk) {
	t.Helper()
	store := &slowDisk{Store: flow.NewMemoryStore(), release: make(chan error)}
	o := kept(10, nil)
	o.Store, o.Reconnect = store, never()
	s, c := connected(t, b, o)
	c.Send(publish("in", "x", exactly, 7, false))
	wantDelivery(t, s.Deliveries(), "in", "x").Ack()
	synctest.Wait()
	return s, c, store
}

// U-T. The changes of a failed commit are not stored until it is repeated with success.
func TestSyncWaitsForTheRepetitionOfAFailedCommit(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _, store := acksOnASlowDisk(t, b)
		store.release <- errFull
		synctest.Wait()
		sync := func() <-chan error { return inBackground(func() error { return s.Sync(aMinute(t)) }) }
		between := sync()
		wantPending(t, between)
		elapse(time.Second)
		during := sync()
		wantPending(t, between)
		wantPending(t, during)
		store.release <- nil
		wantError(t, takeFrom(t, between), nil)
		wantError(t, takeFrom(t, during), nil)
		close(store.release)
		s.Close()
		if snap, err := store.Attach("kept"); err != nil || fmt.Sprint(snap.Received) != "[7]" {
			t.Errorf("after Sync the Store has %v, error %v", snap.Received, err)
		}
	})
}

// U-T. A change that was made after the failure is committed after the repetition.
func TestSyncWaitsForAChangeBehindTheRepetition(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _, store := acksOnASlowDisk(t, b)
		sendAll(s, numbered(1, exactly)) // waits while the commit is under way
		synctest.Wait()
		store.release <- errFull
		synctest.Wait()
		sync := inBackground(func() error { return s.Sync(aMinute(t)) })
		wantPending(t, sync)
		elapse(time.Second)
		store.release <- nil
		wantPending(t, sync)
		store.release <- nil
		wantError(t, takeFrom(t, sync), nil)
		close(store.release)
		s.Close()
		if snap, err := store.Attach("kept"); err != nil || fmt.Sprint(snap.Received) != "[7]" || len(snap.Publications) != 1 {
			t.Errorf("after Sync the Store has %+v, error %v", snap, err)
		}
	})
}

// U-T. Shutdown waits for a Store that fails, from any state of the commit, until it has all
// changes.
func TestShutdownWaitsForAStoreThatFails(t *testing.T) {
	for _, begin := range []string{"during the commit", "after its failure", "during its repetition"} {
		t.Run(begin, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, _, store := acksOnASlowDisk(t, b)
				if begin != "during the commit" {
					store.release <- errFull
				}
				if begin == "during its repetition" {
					elapse(time.Second)
				}
				down := callShutdown(t.Context(), t, s)
				down.pending()
				for range 5 {
					store.release <- errFull
					down.pending()
				}
				store.release <- nil
				<-down.done
				if down.err != nil {
					t.Error(down.err)
				}
				if snap, err := store.Attach("kept"); err != nil || fmt.Sprint(snap.Received) != "[7]" {
					t.Errorf("after Shutdown the Store has %v, error %v", snap.Received, err)
				}
			})
		})
	}
}

// U-T. When Shutdown runs out of time because of the Store, its error says so.
func TestShutdownThatGivesUpOnAStoreSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _, store := acksOnASlowDisk(t, b)
		store.release <- errFull
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		down := callShutdown(ctx, t, s)
		elapse(time.Second / 2)
		for range 2 { // Close tries again twice
			store.release <- errFull
		}
		wantError(t, down.within(time.Second/2, time.Second), errFull, context.DeadlineExceeded)
	})
}

// U-T. A connection is lost while its batch is being committed. The session connects again only
// after the result, which decides whether its publication is part of the session.
func TestALostConnectionEndsAfterItsCommit(t *testing.T) {
	for name, result := range map[string]error{"stored": nil, "not stored": errFull} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 10)
				store := &slowDisk{Store: flow.NewMemoryStore(), release: make(chan error)}
				o := kept(10, acks)
				o.Store, o.Reconnect = store, every(time.Second)
				s, c := connected(t, b, o)
				sendAll(s, numbered(1, atLeast))
				synctest.Wait()
				c.Drop()
				elapse(time.Minute)
				wantReceipts(t, acks, 0)
				store.release <- result
				close(store.release)
				c = b.Handshake(true)
				up(t, s)
				if result == nil {
					c.Complete(streamtest.Next[frames.Publish](c))
					if r := takeFrom(t, acks); r.Err != nil {
						t.Error(r.Err)
					}
				} else {
					wantError(t, takeFrom(t, acks).Err, stream.ErrNotSent, errFull)
				}
				c.ExpectQuiet(5 * time.Second)
				if n := s.Stats().Connections; n != 2 {
					t.Errorf("%d connections, want 2", n)
				}
				wantReceipts(t, acks, 0)
			})
		})
	}
}

// U-T. The Receipts of a session that ends give the reason why its last connection was lost, and
// not only that it was closed.
func TestReceiptsOfTheEndNameTheStoreThatFails(t *testing.T) {
	for _, end := range []string{"Close", "NoReconnect"} {
		t.Run(end, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 10)
				store := &fullDisk{Store: flow.NewMemoryStore()}
				o := kept(10, acks)
				o.Store, o.Reconnect, o.NoReconnect = store, never(), end == "NoReconnect"
				s, c := connected(t, b, o)
				sendAll(s, numbered(1, atLeast))
				streamtest.Next[frames.Publish](c) // stored and sent, and never acknowledged
				c.Send(publish("in", "x", exactly, 7, false))
				d := takeFrom(t, s.Deliveries())
				store.full.Store(true)
				d.Ack()
				c.ExpectClosed()
				wantError(t, s.Close(), errFull)
				r := takeFrom(t, acks)
				wantError(t, r.Err, stream.ErrUnconfirmed, stream.ErrClosed, errFull)
				wantNoErrorIn(t, r.Err, stream.ErrKept, stream.ErrNotSent)
				if n := strings.Count(r.Err.Error(), "mqtt:"); n != 1 {
					t.Errorf("the prefix occurs %d times in %q", n, r.Err)
				}
			})
		})
	}
}
