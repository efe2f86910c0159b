package stream_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// fullDisk is a store whose commits can be made to fail.
type fullDisk struct {
	flow.Store
	full atomic.Bool
}

var errFull = errors.New("no space left")

func (s *fullDisk) Commit(c []flow.Change) error {
	if s.full.Load() {
		return errFull
	}
	return s.Store.Commit(c)
}

// D1: if the store fails, the client does not send the packets that depend on the commit, and
// closes the connection. Publications that could not be stored fail with the error of the store.
// Earlier publications continue when the store works again.
func TestAStoreThatFailsCostsTheConnectionAndNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 10)
		store := &fullDisk{Store: flow.NewMemoryStore()}
		o := kept(10, acks)
		o.Store = store
		s, c := connected(t, b, o)
		c.Send(publish("in", "x", 2, 7, false))
		d := <-s.Deliveries()

		store.full.Store(true)
		d.Ack()
		c.ExpectClosed() // no PUBREC
		wantError(t, lost(t, s), errFull)
		sendAll(s, message("out", "1", 1))
		c = b.Handshake(true)
		c.ExpectClosed() // no PUBLISH
		r := <-acks
		wantError(t, r.Err, stream.ErrNotSent, errFull)
		wantError(t, s.Publish(t.Context(), message("out", "2", 2)), stream.ErrNotSent, errFull)
		if st := s.Stats(); !st.StoreFailing || st.Queued != 0 || st.InFlight != 0 {
			t.Errorf("the failed publications were not removed: %+v", st)
		}

		store.full.Store(false)
		c = b.Handshake(true)
		c.Send(publish("in", "x", 2, 7, true))
		c.Expect(ack(pubrec, 7))
		c.Send(ack(pubrel, 7))
		c.Expect(ack(pubcomp, 7))
		wantNoDelivery(t, s.Deliveries())
		sendAll(s, message("out", "3", 1))
		c.Complete(streamtest.Next[frames.Publish](c))
		wantReceipts(t, acks, 1)
		if st := s.Stats(); st.StoreFailing {
			t.Error("the store still counts as failing")
		}
		s.Close()
		snap, err := store.Attach("kept")
		if err != nil || len(snap.Publications) > 0 {
			t.Errorf("the store holds a failed publication: %+v, %v", snap, err)
		}
	})
}

// Sync waits until all earlier changes are committed.
func TestSyncWaitsForTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := &slowDisk{Store: flow.NewMemoryStore(), release: make(chan error)}
		defer close(store.release)
		o := kept(10, nil)
		o.Store = store
		s, c := connected(t, b, o)
		sync := func() <-chan error { return inBackground(func() error { return s.Sync(t.Context()) }) }
		if err := s.Sync(t.Context()); err != nil { // returns at once: there are no changes
			t.Error(err)
		}
		sendAll(s, message("out", "1", 1))
		first := sync()
		wantPending(t, first)
		sendAll(s, message("out", "2", 2))
		second, third := sync(), sync()
		store.release <- nil
		if err := takeFrom(t, first); err != nil {
			t.Error(err)
		}
		wantPending(t, second)
		store.release <- nil
		if err := errors.Join(takeFrom(t, second), takeFrom(t, third)); err != nil {
			t.Error(err)
		}
		c.Expect(publish("out", "1", 1, 1, false), publish("out", "2", 2, 2, false))

		c.Send(publish("in", "x", 2, 7, false))
		wantDelivery(t, s.Deliveries(), "in", "x").Ack()
		settled := sync()
		wantPending(t, settled)
		store.release <- nil
		if err := takeFrom(t, settled); err != nil {
			t.Error(err)
		}
		c.Expect(ack(pubrec, 7))

		sendAll(s, message("out", "3", 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, s.Sync(ctx), context.DeadlineExceeded)
		failed := sync()
		wantPending(t, failed)
		store.release <- errFull
		wantError(t, takeFrom(t, failed), errFull)
	})
}

// Sync returns an error without a store or a kept session, because no changes are stored then.
func TestSyncNeedsAStoreAndAKeptSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		for _, o := range []*stream.Options{nil, {Store: flow.NewMemoryStore(), ClearSession: true}, {ClientID: "k", KeepSession: true}} {
			s := open(t, b, o)
			var bad *stream.OptionError
			if err := s.Sync(t.Context()); !errors.As(err, &bad) {
				t.Errorf("%+v: error %v", o, err)
			}
		}
	})
}

// slowDisk is a store whose commits wait until the script releases them.
type slowDisk struct {
	flow.Store
	release chan error // the results of commits; when closed, commits no longer wait
}

func (s *slowDisk) Commit(c []flow.Change) error {
	if !recordsOnly(c) {
		if err := <-s.release; err != nil {
			return err
		}
	}
	return s.Store.Commit(c)
}

// Close returns the error of the store if changes could not be stored.
func TestCloseReportsAStoreThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := &fullDisk{Store: flow.NewMemoryStore()}
		o := kept(10, nil)
		o.Store = store
		s := open(t, b, o)
		b.Hold(100)
		store.full.Store(true)
		sendAll(s, message("out", "1", 1))
		<-time.After(10 * time.Second)
		if !s.Stats().StoreFailing {
			t.Error("Stats do not show the failing store")
		}
		wantError(t, s.Close(), errFull)
	})
}
