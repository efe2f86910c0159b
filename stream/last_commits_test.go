package stream_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// hanging passes commits to a store after they have waited for a value from release.
type hanging struct {
	flow.Store
	release chan error
}

func (h *hanging) Commit(changes []flow.Change) error {
	if recordsOnly(changes) {
		return h.Store.Commit(changes)
	}
	if err := <-h.release; err != nil {
		return err
	}
	return h.Store.Commit(changes)
}

// endedInACommit returns a session with NoReconnect whose connection has ended while the Store
// commits a publication. Two messages have arrived.
func endedInACommit(t *testing.T, b *streamtest.Broker, log *logBook, acks chan stream.Receipt) (*stream.Session, *hanging) {
	store := &hanging{flow.NewMemoryStore(), make(chan error)}
	o := kept(1, acks)
	o.Store, o.NoReconnect, o.KeepAlive, o.Logger = store, true, 5*time.Second, log.logger()
	s, c := connected(t, b, o)
	c.Send(publish("in", "1", exactly, 1, false), publish("in", "2", atMost, 0, false))
	synctest.Wait()
	sendAll(s, message("out", "1", atLeast))
	synctest.Wait()
	c.Drop()
	synctest.Wait()
	return s, store
}

// While commits hang when NoReconnect ends the session, calls keep their limits, consumers get the
// messages that have arrived, and Stats and the log name the reason.
func TestNothingWaitsForACommitThatHangsAfterTheLastConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		acks := make(chan stream.Receipt, 1)
		s, store := endedInACommit(t, b, &log, acks)
		wantFigures(t, s)
		in := s.Deliveries()
		takeFrom(t, in).Ack()
		store.release <- nil // the publication

		wantFigures(t, s) // while the commit of the ack hangs
		takeFrom(t, in).Ack()
		if n := log.count("a commit of the Store takes long"); n != 2 {
			t.Errorf("two commits that take long are logged %d times:\n%s", n, log.text.String())
		}
		if isDone(s) {
			t.Fatal("the session is over before its last commit")
		}
		store.release <- nil
		wantReceipt(t, acks, nil, stream.ErrKept)
		<-s.Done()
		snap, err := store.Attach("kept")
		if err != nil || len(snap.Publications) != 1 || len(snap.Received) != 1 {
			t.Errorf("the Store has %+v, error %v", snap, err)
		}
	})
}

// wantFigures wants a commit that hangs, calls of Stats that do not wait for it, and calls of Sync
// that end with their context.
func wantFigures(t *testing.T, s *stream.Session) {
	t.Helper()
	synctest.Wait()
	elapse(time.Second)
	began := time.Now()
	if st := s.Stats(); st.StoreWaiting == 0 || time.Since(began) != 0 {
		t.Errorf("after %v: %+v", time.Since(began), st)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	wantError(t, s.Sync(ctx), context.DeadlineExceeded)
	if took := time.Since(began); took != time.Minute {
		t.Errorf("Sync returned after %v", took)
	}
}

// The first attempt of a session with NoReconnect fails while a commit hangs.
func TestNothingWaitsForACommitThatHangsWhenTheFirstAttemptFails(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 1)
		store := &hanging{flow.NewMemoryStore(), make(chan error)}
		errLine := errors.New("no line")
		o := kept(1, acks)
		o.Store, o.NoReconnect = store, true
		o.DialContext = func(context.Context, string, string) (net.Conn, error) {
			elapse(time.Second)
			return nil, errLine
		}
		s, err := stream.Open("mqtt://broker", o)
		if err != nil {
			t.Fatal(err)
		}
		sendAll(s, message("out", "1", atLeast))
		wantFigures(t, s)
		store.release <- nil
		wantReceipt(t, acks, nil, stream.ErrKept)
		<-s.Done()
		wantError(t, s.Err(), errLine)
	})
}

// A commit that fails after the last connection is repeated without its publication, whose Receipt
// has the error.
func TestACommitThatFailsAfterTheLastConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 1)
		s, store := endedInACommit(t, b, new(logBook), acks)
		errDisk := errors.New("disk")
		store.release <- errDisk
		wantReceipt(t, acks, nil, stream.ErrNotSent, errDisk)
		close(store.release)
		in := s.Deliveries()
		takeFrom(t, in).Ack()
		takeFrom(t, in).Ack()
		<-s.Done()
		snap, err := store.Attach("kept")
		if err != nil || len(snap.Publications) != 0 || len(snap.Received) != 1 {
			t.Errorf("the Store has %+v, error %v", snap, err)
		}
	})
}

// Close and Shutdown wait for a commit that hangs after the last connection, and Shutdown no longer
// than its context.
func TestCloseAndShutdownAfterTheLastConnectionWaitForTheCommit(t *testing.T) {
	ends := map[string]func(*stream.Session) error{
		"Close":    (*stream.Session).Close,
		"Shutdown": func(s *stream.Session) error { return s.Shutdown(context.Background()) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 1)
				s, store := endedInACommit(t, b, new(logBook), acks)
				ended := inBackground(func() error { return end(s) })
				wantPending(t, ended)
				store.release <- nil
				if err := takeFrom(t, ended); err != nil {
					t.Fatal(err)
				}
				wantReceipt(t, acks, nil, stream.ErrKept)
			})
		})
	}
}
