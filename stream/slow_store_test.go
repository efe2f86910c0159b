package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A slowStore calls hold in the middle of each commit.
type slowStore struct {
	flow.Store
	hold func()
}

func (s *slowStore) Commit(changes []flow.Change) error {
	s.hold()
	return s.Store.Commit(changes)
}

// U3: a commit that outlasts KeepAlive and PingTimeout is logged and shown in Stats as what it is.
// The broker, which answers each PINGREQ, is not accused.
func TestASlowCommitIsNotTakenForADeadBroker(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		store := &slowStore{flow.NewMemoryStore(), func() { elapse(60 * time.Second) }}
		s, c := connected(t, b, &stream.Options{
			ClientID: "k", KeepSession: true, Store: store, KeepAlive: 5 * time.Second, Logger: log.logger(),
		})
		done := inBackground(func() error { return s.Publish(t.Context(), message("a", "", atLeast)) })
		elapse(50 * time.Second)
		if st := s.Stats(); st.StoreWaiting != 50*time.Second || !st.Online {
			t.Errorf("StoreWaiting is %v, Online %t", st.StoreWaiting, st.Online)
		}
		for len(done) == 0 {
			switch p := streamtest.Next[frames.Packet](c).(type) {
			case frames.Pingreq:
				c.Send(frames.Pingresp{})
			case frames.Publish:
				c.Send(ack(puback, p.ID))
			}
			synctest.Wait()
		}
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		if n := s.Stats().Connections; n != 1 || log.count("commit of the Store takes long") == 0 {
			t.Errorf("%d connections; the log:\n%s", n, log.text.String())
		}
	})
}

// U3: on a socket, PINGREQ is sent while a commit is under way.
func TestPingreqIsSentDuringACommit(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	release := make(chan struct{})
	store := &slowStore{flow.NewMemoryStore(), func() { <-release }}
	s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Store: store, KeepAlive: time.Second})
	done := inBackground(func() error { return s.Publish(t.Context(), message("a", "", atLeast)) })
	for range 2 {
		c.Expect(frames.Pingreq{})
		c.Send(frames.Pingresp{})
	}
	close(release)
	for {
		if p, ok := streamtest.Next[frames.Packet](c).(frames.Publish); ok {
			c.Send(ack(puback, p.ID))
			break
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
