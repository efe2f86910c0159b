package stream_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
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

// What is not in the store is not on the wire: the connection goes, the state
// stays, and all of it goes on when there is room again.
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

		store.full.Store(false)
		c = b.Handshake(true)
		c.Expect(publish("out", "1", 1, 1, false)) // for the first time
		c.Send(ack(puback, 1), publish("in", "x", 2, 7, true))
		c.Expect(ack(pubrec, 7))
		c.Send(ack(pubrel, 7))
		c.Expect(ack(pubcomp, 7))
		if r := <-acks; r.Err != nil {
			t.Error(r.Err)
		}
		synctest.Wait()
		if n := len(s.Deliveries()); n != 0 {
			t.Errorf("delivered %d times more", n)
		}
		if st := s.Stats(); st.StoreFailing {
			t.Error("the store still counts as failing")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Close says that the store does not hold what it should.
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
			t.Error("Stats do not show it")
		}
		wantError(t, s.Close(), errFull)
	})
}
