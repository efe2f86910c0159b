package stream_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// everySecond returns a backoff whose intervals are exactly one second.
func everySecond() *backoff.Backoff { return &backoff.Backoff{Min: time.Second, Max: time.Second} }

func TestStatesBeginWithThePresentOne(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		opened := time.Now()
		s := open(t, b, nil)
		before := takeFrom(t, s.States(t.Context()))
		if before.Online || before.Err != nil || before.Attempt != 0 || !before.Since.Equal(opened) {
			t.Fatalf("before the first attempt has ended: %+v", before)
		}
		b.Handshake(false)
		synctest.Wait()
		if st := takeFrom(t, s.States(t.Context())); !st.Online || st.Err != nil {
			t.Fatalf("connected: %+v", st)
		}
	})
}

func TestStatesTellEachChange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Refuse(2, nil)
		o := keepingSession()
		o.Reconnect = everySecond()
		began := time.Now()
		s := open(t, b, o)
		states := s.States(t.Context())
		want := func(what string, at time.Duration, want stream.State, cause error) {
			t.Helper()
			st := <-states
			if !errors.Is(st.Err, cause) || (st.Err == nil) != (cause == nil) {
				t.Fatalf("%s: the error is %v, want %v", what, st.Err, cause)
			}
			want.Endpoint, want.Since, want.Err = "mqtt://broker:1883", began.Add(at), st.Err
			want.Version, want.Server = st.Version, st.Server
			if !want.Online && cause != stream.ErrClosed {
				want.Next = want.Since.Add(time.Second)
			}
			if st != want {
				t.Fatalf("%s:\n got %+v\nwant %+v", what, st, want)
			}
		}
		synctest.Wait()
		want("first attempt", 0, stream.State{Attempt: 1}, syscall.ECONNREFUSED)
		want("second attempt", time.Second, stream.State{Attempt: 2}, syscall.ECONNREFUSED)
		c := b.Accept()
		c.ExpectConnect()
		c.Connack(false, frames.ServerUnavailable)
		want("refused", 2*time.Second, stream.State{Attempt: 3}, frames.ServerUnavailable)
		c = b.Handshake(true)
		want("resumed", 3*time.Second, stream.State{Online: true, Resumed: true}, nil)
		c.Drop()
		want("lost", 3*time.Second, stream.State{}, io.EOF)
		b.Handshake(false)
		want("anew", 4*time.Second, stream.State{Online: true}, nil)
		s.Close()
		want("closed", 4*time.Second, stream.State{}, stream.ErrClosed)
		wantEnd(t, states)
	})
}

func TestSlowReaderOfStatesSeesTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		states := s.States(t.Context())
		c := b.Handshake(false)
		for range 3 {
			c = droppedAndBack(t, s, b, c, false)
		}
		c.Drop()
		lost(t, s)
		synctest.Wait()
		if st := takeFrom(t, states); st.Online || st.Err == nil {
			t.Fatalf("state %+v, want offline with an error", st)
		}
		wantIdle(t, states)
		b.Handshake(false)
		if st := takeFrom(t, states); !st.Online {
			t.Fatalf("state %+v, want online", st)
		}
		wantIdle(t, states)
	})
}

func TestReadersOfStatesDoNotDisturbEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		asleep := s.States(t.Context())
		var seen []bool
		var reader sync.WaitGroup
		awake := s.States(t.Context())
		reader.Go(func() {
			for st := range awake {
				seen = append(seen, st.Online)
			}
		})
		synctest.Wait()
		droppedAndBack(t, s, b, c, false).Drop()
		synctest.Wait()
		s.Close()
		reader.Wait()
		if want := []bool{true, false, true, false, false}; !slices.Equal(seen, want) {
			t.Fatalf("the reader saw %v, want %v", seen, want)
		}
		wantError(t, takeFrom(t, asleep).Err, stream.ErrClosed)
		wantEnd(t, asleep)
	})
}

func TestStatesEndWithTheirContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		states, others := s.States(ctx), s.States(t.Context())
		takeFrom(t, others)
		cancel()
		if !takeFrom(t, states).Online {
			t.Fatal("the state sent before cancel is gone")
		}
		wantEnd(t, states)
		c.Drop()
		if takeFrom(t, others).Online {
			t.Fatal("the other reader missed the change")
		}
		states = s.States(ctx) // States is called after its context has ended
		takeFrom(t, states)
		wantEnd(t, states)
	})
}

func TestStatesAfterCloseShowTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, nil)
		s.Close()
		states := s.States(t.Context())
		if st := takeFrom(t, states); st.Online {
			t.Fatalf("state %+v after Close", st)
		}
		wantEnd(t, states)
	})
}

func TestStateShowsWhyASessionEndedByItself(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{NoReconnect: true})
		states := s.States(t.Context())
		c.Drop()
		var last stream.State
		for st := range states {
			last = st
		}
		wantError(t, last.Err, stream.ErrClosed, io.EOF)
		wantLevel(t, s.Done())
	})
}

func TestEndpointShowsNoSecret(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, err := stream.Open("mqtt://user:password@broker:1884", with(b, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if st := takeFrom(t, s.States(t.Context())); st.Endpoint != "mqtt://broker:1884" {
			t.Fatalf("Endpoint is %q, want it without user and password", st.Endpoint)
		}
	})
}

// State.Resumed is always false with MQTT 3.1, whose CONNACK has no session present flag.
func TestResumedIsNeverSetOnMQTT31(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V31, ClientID: "k", KeepSession: true})
		c := b.Accept()
		c.ExpectConnect()
		c.SendBytes([]byte{0x20, 2, 1, 0})
		wantLevel(t, s.Online())
		if st := takeFrom(t, s.States(t.Context())); st.Resumed {
			t.Fatalf("state %+v, want Resumed unset", st)
		}
	})
}

func TestOnlineIsALevel(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, nil)
		first := s.Online()
		wantIdle(t, first)
		if s.Online() != first {
			t.Fatal("Online returned another channel without a change of state")
		}
		c := b.Handshake(false)
		wantLevel(t, first)
		if s.Online() != first {
			t.Fatal("Online returned another channel while the session is online")
		}
		c.Drop()
		synctest.Wait()
		wantLevel(t, first) // a closed channel stays closed
		second := s.Online()
		wantIdle(t, second)
		b.Handshake(false)
		wantLevel(t, second)
		s.Close()
		wantIdle(t, s.Online()) // after Close only Done is closed
	})
}
