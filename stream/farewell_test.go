package stream_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// V86: the will is published by DISCONNECT 0x04 on MQTT 5, and by a close without DISCONNECT
// before; HangUp closes without DISCONNECT on every version.
func TestShutdownWithTheWill(t *testing.T) {
	for _, tt := range []struct {
		version  frames.Version
		farewell stream.Farewell
		want     frames.Packet // nil: no DISCONNECT
	}{
		{frames.V5, stream.Farewell{}, frames.Disconnect{}},
		{frames.V5, stream.Farewell{PublishWill: true}, frames.Disconnect{Code: frames.DisconnectWithWill}},
		{frames.V5, stream.Farewell{HangUp: true}, nil},
		{frames.V311, stream.Farewell{}, frames.Disconnect{}},
		{frames.V311, stream.Farewell{PublishWill: true}, nil},
		{frames.V31, stream.Farewell{HangUp: true}, nil},
	} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			will := message("will", "gone", 0)
			s, c := connected(t, b, &stream.Options{Version: tt.version, ClientID: "c", Will: &will})
			published := goPublish(s, message("out", "", frames.AtLeastOnce))
			p := streamtest.Next[frames.Publish](c)
			done := make(chan error, 1)
			go func() { done <- s.ShutdownWith(context.Background(), tt.farewell) }()
			c.ExpectQuiet(time.Second) // everything else ends as with Shutdown
			c.Complete(p)
			if tt.want != nil {
				c.Expect(tt.want)
			}
			c.ExpectClosed()
			if err := errors.Join(<-published, <-done); err != nil {
				t.Error(err)
			}
		})
	}
}

// V87: DISCONNECT ends the session or changes its expiry, and says why.
func TestShutdownWithPropertiesOfDISCONNECT(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		user := []frames.UserProperty{{Name: "k", Value: "1"}, {Name: "k", Value: "2"}}
		s, c := connected(t, b, &stream.Options{Version: frames.V5, ClientID: "c", KeepSession: true})
		go s.ShutdownWith(context.Background(), stream.Farewell{Expiry: 1500 * time.Millisecond, Reason: "update", User: user})
		seconds := uint32(2)
		c.Expect(frames.Disconnect{SessionExpiry: &seconds, Reason: "update", User: user})
		c.ExpectClosed()
	})
}

// V87: the end of the session empties the Store, and no Receipt says that the Store keeps a
// message.
func TestShutdownWithEndSessionEmptiesTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		o := &stream.Options{Version: frames.V5, ClientID: "c", KeepSession: true, Store: store, Window: 1}
		s, c := connected(t, b, o)
		first := goPublish(s, message("out", "1", frames.AtLeastOnce))
		streamtest.Next[frames.Publish](c)
		second := goPublish(s, message("out", "2", frames.AtLeastOnce))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.ShutdownWith(ctx, stream.Farewell{EndSession: true}) }()
		zero := uint32(0)
		c.Expect(frames.Disconnect{SessionExpiry: &zero})
		c.ExpectClosed()
		wantError(t, <-first, stream.ErrUnconfirmed, stream.ErrClosed)
		wantError(t, <-second, stream.ErrNotSent, stream.ErrClosed)
		wantError(t, <-done, context.DeadlineExceeded)

		s, c = connected(t, b, o)
		c.ExpectQuiet(time.Second)
		if st := s.Stats(); st.Queued+st.InFlight != 0 {
			t.Errorf("the Store still had %d publications", st.Queued+st.InFlight)
		}
	})
}

// V86: a Farewell that the connection cannot carry is an error, and the session goes on.
func TestAFarewellThatTheConnectionCannotCarryIsAnError(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5})
		if err := s.ShutdownWith(t.Context(), stream.Farewell{Reason: "r"}); err == nil {
			t.Error("ShutdownWith returned nil while offline")
		}
		c := b.Accept()
		c.ExpectConnect()
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{MaximumPacket: 20}})
		<-s.Online()
		var limit *stream.LimitError
		if err := s.ShutdownWith(t.Context(), stream.Farewell{Reason: strings.Repeat("r", 20)}); !errors.As(err, &limit) || limit.Limit != 20 {
			t.Error(err)
		}
		done := goPublish(s, message("out", "", frames.AtLeastOnce))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V311})
		var old *stream.VersionError
		if err := s.ShutdownWith(t.Context(), stream.Farewell{EndSession: true}); !errors.As(err, &old) {
			t.Error(err)
		}
		c.ExpectQuiet(time.Second)
	})
}

// V86: a session that ends offline, after ShutdownWith has begun, says that no DISCONNECT was sent.
func TestAFarewellThatWasNotSentIsAnError(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5, Reconnect: doubling()})
		go s.Publish(context.Background(), message("out", "", frames.AtLeastOnce))
		streamtest.Next[frames.Publish](c)
		b.Refuse(100, nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.ShutdownWith(ctx, stream.Farewell{Reason: "update"}) }()
		synctest.Wait()
		c.Drop()
		if err := <-done; err == nil || !strings.Contains(err.Error(), "ShutdownWith") {
			t.Error(err)
		}
	})
}

// V86: impossible combinations are refused before anything ends.
func TestImpossibleFarewells(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		kept, _ := connected(t, b, &stream.Options{Version: frames.V5, ClientID: "c", KeepSession: true})
		clean, c := connected(t, b, &stream.Options{Version: frames.V5})
		for _, tt := range []struct {
			s     *stream.Session
			f     stream.Farewell
			field string
		}{
			{kept, stream.Farewell{Expiry: -1}, "Expiry"},
			{kept, stream.Farewell{Expiry: math.MaxUint32 * time.Second}, "Expiry"},
			{kept, stream.Farewell{Expiry: time.Second, EndSession: true}, "Expiry"},
			{clean, stream.Farewell{Expiry: time.Second}, "Expiry"},
			{clean, stream.Farewell{HangUp: true, Reason: "r"}, "HangUp"},
			{clean, stream.Farewell{HangUp: true, EndSession: true}, "HangUp"},
			{clean, stream.Farewell{Reason: "a\x00b"}, "reason string"},
			{clean, stream.Farewell{Reason: strings.Repeat("r", 1<<16)}, "reason string"},
			{clean, stream.Farewell{User: []frames.UserProperty{{Name: "\xff"}}}, "user propert"},
		} {
			if err := tt.s.ShutdownWith(t.Context(), tt.f); err == nil || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("%+v: %v", tt.f, err)
			}
		}
		c.ExpectQuiet(time.Second)
	})
}

// ShutdownWith after the end is Close.
func TestShutdownWithAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := connected(t, b, &stream.Options{Version: frames.V5})
		s.Close()
		if err := s.ShutdownWith(t.Context(), stream.Farewell{Reason: "r"}); err != nil {
			t.Error(err)
		}
	})
}

// V85: a will delay is sent, and one that the session does not outlive is refused.
func TestWillDelay(t *testing.T) {
	will := message("will", "", 0)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		open(t, b, &stream.Options{Version: frames.V5, ClientID: "c", KeepSession: true, Will: &will,
			V5: stream.OptionsV5{WillDelay: 4500 * time.Millisecond, SessionExpiry: 5 * time.Second}})
		if p := b.Accept().ExpectConnect(); p.Properties.WillDelay != 5 || p.Properties.SessionExpiry != 5 {
			t.Errorf("CONNECT has %+v", p.Properties)
		}
	})
	for name, o := range map[string]stream.Options{
		"above the expiry":  {KeepSession: true, ClientID: "c", Will: &will, V5: stream.OptionsV5{WillDelay: 5 * time.Second, SessionExpiry: time.Second}},
		"without a session": {Will: &will, V5: stream.OptionsV5{WillDelay: time.Second}},
		"without a will":    {KeepSession: true, ClientID: "c", V5: stream.OptionsV5{WillDelay: time.Second}},
		"negative":          {KeepSession: true, ClientID: "c", Will: &will, V5: stream.OptionsV5{WillDelay: -1}},
	} {
		o.Version = frames.V5
		var bad *stream.OptionError
		if _, err := stream.Open("mqtt://broker", &o); !errors.As(err, &bad) || bad.Field != "V5.WillDelay" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
