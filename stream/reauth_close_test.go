package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// V84: Close during a re-authentication sends DISCONNECT and nothing else, and waits for nothing.
func TestCloseDuringAReauthenticationSendsOnlyDISCONNECT(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{})
		sub := subscribed(t, s, c, "in", frames.AtLeastOnce)
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		receipts := make(chan error, 2)
		for _, q := range []frames.QoS{frames.AtMostOnce, frames.AtLeastOnce} {
			go func() { receipts <- s.Publish(context.Background(), message("out", "", q)) }()
		}
		c.Send(publish("in", "x", frames.AtLeastOnce, 1, false))
		d := <-sub.Deliveries()
		d.Ack()
		synctest.Wait()
		began := time.Now()
		if err := s.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
		c.Expect(frames.Disconnect{})
		c.ExpectClosed()
		wantError(t, <-done, stream.ErrClosed)
		for range 2 {
			wantError(t, <-receipts, stream.ErrNotSent, stream.ErrClosed)
		}
	})
}

// V84: Close ends the context of an Exchange at every step, and so does not wait for it. It waits a
// second for one that ignores its context, and names it.
func TestCloseEndsAnExchangeAtEveryStep(t *testing.T) {
	ignores := make(chan struct{})
	for name, step := range map[string]struct {
		makes  func(context.Context)
		answer func(context.Context)
		takes  time.Duration
	}{
		"Authenticate waits":   {makes: func(ctx context.Context) { <-ctx.Done() }},
		"Answer waits":         {answer: func(ctx context.Context) { <-ctx.Done() }},
		"Authenticate ignores": {makes: func(context.Context) { <-ignores }, takes: time.Second},
		"Answer ignores":       {answer: func(context.Context) { <-ignores }, takes: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				ignores = make(chan struct{})
				again := false
				authenticate := func(ctx context.Context) (stream.Exchange, error) {
					if again && step.makes != nil {
						step.makes(ctx)
					}
					again = true
					return &scripted{answer: func(ctx context.Context, _ []byte) ([]byte, error) {
						step.answer(ctx)
						return nil, ctx.Err()
					}}, nil
				}
				s, c := authenticated(t, b, stream.Options{V5: stream.OptionsV5{Authenticate: authenticate}})
				done := reauthenticating(s)
				if step.makes == nil {
					c.Expect(authOf(frames.ReAuthenticate, "first"))
					c.Send(authOf(frames.ContinueAuthentication, ""))
				}
				synctest.Wait()
				began := time.Now()
				err := s.Close()
				if took := time.Since(began); took != step.takes {
					t.Errorf("Close took %v, want %v", took, step.takes)
				}
				if (err != nil) != (step.takes > 0) || err != nil && !strings.Contains(err.Error(), "Exchange") {
					t.Error(err)
				}
				wantError(t, <-done, stream.ErrClosed)
				close(ignores)
			})
		})
	}
}

// V84: Close during the first exchange of a connection returns at once.
func TestCloseEndsTheFirstExchange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		waits := &scripted{answer: func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }}
		s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{Authenticate: exchanges(waits)}})
		c := b.Accept()
		c.ExpectConnect()
		c.Send(authOf(frames.ContinueAuthentication, "x"))
		synctest.Wait()
		began := time.Now()
		if err := s.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
		c.ExpectClosed()
	})
}

// V83: nothing but AUTH is sent before CONNACK, while publications and subscriptions wait.
func TestPublicationsWaitForTheFirstExchange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{Authenticate: exchanges()}})
		done := make(chan error, 1)
		go func() { done <- s.Publish(context.Background(), message("out", "", frames.AtLeastOnce)) }()
		go s.Subscribe(context.Background(), frames.Filter{Topic: "in"})
		c := b.Accept()
		if p := c.ExpectConnect(); p.Properties.AuthMethod != "M" || string(p.Properties.AuthData) != "first" {
			t.Errorf("CONNECT has %+v", p.Properties)
		}
		c.Send(authOf(frames.ContinueAuthentication, "x"))
		c.Expect(authOf(frames.ContinueAuthentication, "answer to x"))
		c.ExpectQuiet(time.Second)
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{AuthMethod: "M", AuthData: []byte("proof")}})
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// V84: Shutdown during a re-authentication waits for its end, sends everything, and then
// DISCONNECT.
func TestShutdownWaitsForAReauthentication(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{})
		reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		receipt, ended := make(chan error, 1), make(chan error, 1)
		go func() { receipt <- s.Publish(context.Background(), message("out", "", frames.AtLeastOnce)) }()
		synctest.Wait()
		go func() { ended <- s.Shutdown(context.Background()) }()
		c.ExpectQuiet(time.Second)
		c.Send(authOf(frames.Success, ""))
		c.Complete(streamtest.Next[frames.Publish](c))
		c.ExpectDisconnect()
		if err := errors.Join(<-receipt, <-ended); err != nil {
			t.Error(err)
		}
	})
}

// V84: a connection that is cut during a re-authentication loses nothing: the packets that waited
// go out on the next connection, and were never sent before.
func TestACutDuringAReauthenticationLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{})
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		receipts := make(chan error, 2)
		for _, q := range []frames.QoS{frames.AtMostOnce, frames.AtLeastOnce} {
			go func() { receipts <- s.Publish(context.Background(), message("out", "", q)) }()
			synctest.Wait()
		}
		c.Drop()
		if err := <-done; err == nil {
			t.Error("Reauthenticate returned nil")
		}
		c = b.Accept()
		welcome(c, frames.ConnackProperties{})
		for range 2 {
			p := streamtest.Next[frames.Publish](c)
			if p.DUP {
				t.Error("a publication that was not sent has DUP")
			}
			c.Complete(p)
		}
		if err := errors.Join(<-receipts, <-receipts); err != nil {
			t.Error(err)
		}
	})
}

// A call while offline, or after the end, says why.
func TestReauthenticateNeedsAConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{Authenticate: exchanges()}})
		if err := s.Reauthenticate(t.Context()); err == nil {
			t.Error("Reauthenticate returned nil without a connection")
		}
		s.Close()
		wantError(t, s.Reauthenticate(t.Context()), stream.ErrClosed)
	})
}

// While reading is paused for consumers the limit of a re-authentication does not count, since the
// answer of the broker may lie unread. PINGREQ keeps the connection meanwhile [MQTT-3.1.2-20].
// After the pause the limit counts anew.
func TestTheLimitOfAReauthenticationDoesNotCountAPauseOfReading(t *testing.T) {
	for _, answered := range []bool{true, false} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := authenticated(t, b, stream.Options{KeepAlive: 20 * time.Second, ConnectTimeout: 4 * time.Second,
				MaxPacket: 1 << 10, ReceiveBytes: 1 << 10, MaxUnread: 1 << 10})
			sub := subscribed(t, s, c, "in", frames.AtLeastOnce)
			done := reauthenticating(s)
			c.Expect(authOf(frames.ReAuthenticate, "first"))
			last := time.Now()
			for id := range uint16(8) {
				c.Send(publish("in", strings.Repeat("x", 500), frames.AtLeastOnce, id+1, false))
			}
			if answered {
				c.Send(authOf(frames.Success, ""))
			}
			wantError(t, <-done, stream.ErrBehind)
			for range 3 {
				c.Expect(frames.Pingreq{})
				if now := time.Now(); now.Sub(last) != 18*time.Second {
					t.Errorf("PINGREQ comes after %v", now.Sub(last))
				}
				last = time.Now()
			}
			elapse(6 * time.Second)
			for range 8 {
				d := <-sub.Deliveries()
				d.Ack()
			}
			if answered {
				for range 8 {
					streamtest.Next[frames.Ack](c)
				}
				if st := s.Stats(); st.Connections != 1 || !st.Online {
					t.Errorf("%+v", st)
				}
				return
			}
			began := time.Now()
			c.ExpectDisconnectCode(frames.ImplementationSpecificError)
			if took := time.Since(began); took != 4*time.Second {
				t.Errorf("the limit is %v after the pause", took)
			}
		})
	}
}

// A re-authentication does not begin while reading is paused for consumers, since the answer of the
// broker would stay unread. Its call ends with ErrBehind, and the exchange comes later.
func TestAReauthenticationWaitsUntilReadingGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{KeepAlive: -1, MaxPacket: 1 << 10, ReceiveBytes: 1 << 10, MaxUnread: 1 << 10})
		sub := subscribed(t, s, c, "in", frames.AtLeastOnce)
		for id := range uint16(8) {
			c.Send(publish("in", strings.Repeat("x", 500), frames.AtLeastOnce, id+1, false))
		}
		synctest.Wait()
		if !s.Stats().Paused {
			t.Fatal("reading is not paused")
		}
		done := reauthenticating(s)
		c.ExpectQuiet(time.Minute)
		wantError(t, <-done, stream.ErrBehind)
		for range 8 {
			d := <-sub.Deliveries()
			d.Ack()
		}
		for begun := false; !begun; {
			_, begun = nextOf(c).(frames.Auth)
		}
		c.Send(authOf(frames.Success, ""))
		synctest.Wait()
		if st := s.Stats(); st.Connections != 1 || !st.Online {
			t.Errorf("%+v", st)
		}
	})
}
