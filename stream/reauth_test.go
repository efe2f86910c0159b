package stream_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A scripted is a scripted Exchange with the method M. A nil function gives the plain answer.
type scripted struct {
	first  func() ([]byte, error)
	answer func(context.Context, []byte) ([]byte, error)
	done   func([]byte) error
}

func (*scripted) Method() string { return "M" }

func (x *scripted) First() ([]byte, error) {
	if x.first != nil {
		return x.first()
	}
	return []byte("first"), nil
}

func (x *scripted) Answer(ctx context.Context, challenge []byte) ([]byte, error) {
	if x.answer != nil {
		return x.answer(ctx, challenge)
	}
	return append([]byte("answer to "), challenge...), nil
}

func (x *scripted) Done(data []byte) error {
	if x.done != nil {
		return x.done(data)
	}
	return nil
}

// A timedExchange allows the connection a lifetime.
type timedExchange struct {
	scripted
	expires func() time.Time
}

func (x *timedExchange) Expires() time.Time { return x.expires() }

// exchanges returns an Authenticate that makes the given exchanges, one after another, and at last
// plain ones.
func exchanges(list ...stream.Exchange) func(context.Context) (stream.Exchange, error) {
	var n atomic.Int32
	return func(context.Context) (stream.Exchange, error) {
		if i := int(n.Add(1)) - 1; i < len(list) {
			return list[i], nil
		}
		return &scripted{}, nil
	}
}

func authOf(code frames.ReasonCode, data string) frames.Auth {
	return frames.Auth{Code: code, Method: "M", Data: []byte(data)}
}

// welcome accepts the first exchange of a connection.
func welcome(c *streamtest.Conn, p frames.ConnackProperties) {
	p.AuthMethod = "M"
	c.ExpectConnect()
	c.Send(frames.Connack{Properties: &p})
}

// authenticated opens a session on MQTT 5 with enhanced authentication, and accepts its connection.
func authenticated(t *testing.T, b *streamtest.Broker, o stream.Options) (*stream.Session, *streamtest.Conn) {
	t.Helper()
	o.Version = frames.V5
	if o.V5.Authenticate == nil {
		o.V5.Authenticate = exchanges()
	}
	s := open(t, b, &o)
	c := b.Accept()
	welcome(c, frames.ConnackProperties{})
	<-s.Online()
	return s, c
}

// reauthenticating calls Reauthenticate and returns the channel of its result.
func reauthenticating(s *stream.Session) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Reauthenticate(context.Background()) }()
	return done
}

// V82: from the first AUTH to the last nothing else is sent, whatever becomes due meanwhile, and
// everything goes out afterwards.
func TestNothingElseIsSentDuringAReauthentication(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := newStuckStore()
		s, c := authenticated(t, b, stream.Options{ClientID: "c", KeepSession: true, Store: store, KeepAlive: 30 * time.Second, ConnectTimeout: time.Minute})
		sub := subscribed(t, s, c, "in/#", frames.ExactlyOnce)
		elapse(14 * time.Second) // PINGREQ becomes due during the exchange
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))

		receipts := make(chan error, 4)
		for _, m := range []frames.Message{message("out", "0", 0), message("out", "1", 1), message("out", "2", 2)} {
			go func() { receipts <- s.Publish(context.Background(), m) }()
		}
		go s.Subscribe(context.Background(), frames.Filter{Topic: "more"})
		c.Send(publish("in/1", "x", frames.AtLeastOnce, 1, false), publish("in/2", "y", frames.ExactlyOnce, 2, false))
		for range 2 { // receiving goes on
			d := <-sub.Deliveries()
			d.Ack()
		}
		c.ExpectQuiet(7 * time.Second)
		c.Send(authOf(frames.ContinueAuthentication, "x"))
		c.Expect(authOf(frames.ContinueAuthentication, "answer to x"))
		c.ExpectQuiet(7 * time.Second) // 28 s since the last packet but AUTH
		c.Send(authOf(frames.Success, "proof"))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		seen := map[frames.Type]int{}
		for range 6 {
			p := nextOf(c)
			if seen[p.Type()]++; p.Type() == frames.TypeSubscribe {
				c.Grant(p.(frames.Subscribe))
			}
			if p, ok := p.(frames.Publish); ok && p.QoS == frames.AtLeastOnce {
				c.Complete(p)
			} else if ok && p.QoS == frames.ExactlyOnce {
				c.Send(frames.Ack{Kind: pubrec, ID: p.ID, AckReason: frames.AckReason{Code: frames.QuotaExceeded}})
			}
		}
		if seen[frames.TypePublish] != 3 || seen[puback] != 1 || seen[pubrec] != 1 || seen[frames.TypeSubscribe] != 1 {
			t.Errorf("the client sent %v", seen)
		}
		for range 3 {
			if err := <-receipts; err != nil && !errors.Is(err, stream.ErrRefused) {
				t.Error(err)
			}
		}
		if st := s.Stats(); st.Connections != 1 {
			t.Errorf("%d connections", st.Connections)
		}
	})
}

// nextOf returns the next packet of any type.
func nextOf(c *streamtest.Conn) frames.Packet { return streamtest.Next[frames.Packet](c) }

// V82: an AUTH waits for a commit of the Store that is under way, however long it takes, and
// packets that overtake the commit come before the AUTH.
func TestTheFirstAUTHWaitsForACommitAndNotForItsTime(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := newStuckStore()
		s, c := authenticated(t, b, stream.Options{ClientID: "c", KeepSession: true, Store: store, KeepAlive: 30 * time.Second})
		synctest.Wait()
		store.stick()
		go s.Publish(context.Background(), message("out", "1", frames.AtLeastOnce))
		synctest.Wait()
		done := reauthenticating(s)
		go s.Subscribe(context.Background(), frames.Filter{Topic: "more"})
		c.Grant(streamtest.Next[frames.Subscribe](c))
		for range 2 {
			c.Expect(frames.Pingreq{})
			c.Send(frames.Pingresp{})
		}
		store.release()
		p := streamtest.Next[frames.Publish](c)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(ack(puback, p.ID), authOf(frames.Success, ""))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// A stuckStore is a memory store whose commits wait while it is stuck.
type stuckStore struct {
	*flow.MemoryStore
	free chan struct{} // closed while commits do not wait
}

func newStuckStore() *stuckStore {
	s := &stuckStore{flow.NewMemoryStore(), make(chan struct{})}
	close(s.free)
	return s
}

func (s *stuckStore) stick()   { s.free = make(chan struct{}) }
func (s *stuckStore) release() { close(s.free) }

func (s *stuckStore) Commit(changes []flow.Change) error {
	<-s.free
	return s.MemoryStore.Commit(changes)
}

// V82: a PINGREQ that waits for the end of the exchange does not make the connection dead, and the
// keep alive of a silent broker does not spin meanwhile.
func TestPINGREQOfASilentBrokerComesAfterTheExchange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{KeepAlive: 20 * time.Second, PingTimeout: time.Second})
		elapse(17 * time.Second)
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.ExpectQuiet(9 * time.Second)
		c.Send(authOf(frames.Success, ""))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c.Expect(frames.Pingreq{})
			c.Send(frames.Pingresp{})
		}
	})
}

// V81: a broker that does not end the exchange gets DISCONNECT 0x83 after ConnectTimeout, or half
// the keep alive. The next connection has an exchange of its own.
func TestABrokerThatDoesNotEndAReauthenticationIsLeft(t *testing.T) {
	for _, tt := range []struct{ connect, keepAlive, want time.Duration }{
		{4 * time.Second, time.Minute, 4 * time.Second},
		{time.Minute, 20 * time.Second, 10 * time.Second},
		{-1, -1, 10 * time.Second},
	} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := authenticated(t, b, stream.Options{ConnectTimeout: tt.connect, KeepAlive: tt.keepAlive})
			done := reauthenticating(s)
			c.Expect(authOf(frames.ReAuthenticate, "first"))
			began := time.Now()
			c.ExpectDisconnectCode(frames.ImplementationSpecificError)
			if took := time.Since(began); took != tt.want {
				t.Errorf("it took %v, want %v", took, tt.want)
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), "too long") {
				t.Error(err)
			}
			welcome(b.Accept(), frames.ConnackProperties{})
			<-s.Online()
		})
	}
}

// V81: a fault in an Exchange at any step of a re-authentication ends the connection with 0x83, and
// a new Exchange authenticates the next one.
func TestAFaultInAReauthenticationEndsTheConnection(t *testing.T) {
	fault := errors.New("fault")
	for name, x := range map[string]*scripted{
		"First fails":   {first: func() ([]byte, error) { return nil, fault }},
		"First panics":  {first: func() ([]byte, error) { panic(fault) }},
		"Answer fails":  {answer: func(context.Context, []byte) ([]byte, error) { return nil, fault }},
		"Answer panics": {answer: func(context.Context, []byte) ([]byte, error) { panic(fault) }},
		"Answer blocks": {answer: func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, fault }},
		"Answer is too long": {answer: func(context.Context, []byte) ([]byte, error) {
			return make([]byte, 1<<16), nil
		}},
		"Done fails":  {done: func([]byte) error { return fault }},
		"Done panics": {done: func([]byte) error { panic(fault) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := authenticated(t, b, stream.Options{V5: stream.OptionsV5{Authenticate: exchanges(&scripted{}, x)}})
				done := reauthenticating(s)
				if x.first == nil {
					c.Expect(authOf(frames.ReAuthenticate, "first"))
					c.Send(authOf(frames.ContinueAuthentication, "x"))
				}
				if x.done != nil {
					c.Expect(authOf(frames.ContinueAuthentication, "answer to x"))
					c.Send(authOf(frames.Success, ""))
				}
				c.ExpectDisconnectCode(frames.ImplementationSpecificError)
				if err := <-done; err == nil {
					t.Error("Reauthenticate returned nil")
				}
				welcome(b.Accept(), frames.ConnackProperties{})
				<-s.Online()
			})
		})
	}
}

// V81: an answer that is larger than the broker's Maximum Packet Size is not sent.
func TestAnAUTHAboveMaximumPacketSizeIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		large := &scripted{answer: func(context.Context, []byte) ([]byte, error) { return make([]byte, 100), nil }}
		s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{Authenticate: exchanges(&scripted{}, large)}})
		c := b.Accept()
		welcome(c, frames.ConnackProperties{MaximumPacket: 60})
		<-s.Online()
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(authOf(frames.ContinueAuthentication, "x"))
		c.ExpectDisconnectCode(frames.ImplementationSpecificError)
		var large1 *frames.TooLargeError
		if err := <-done; !errors.As(err, &large1) || large1.Limit != 60 {
			t.Error(err)
		}
	})
}

// V79, V80: an AUTH that does not belong to the exchange ends the connection with 0x82.
func TestAnAUTHThatDoesNotBelongToAReauthenticationEndsTheConnection(t *testing.T) {
	for name, p := range map[string][]frames.Packet{
		"another method": {frames.Auth{Code: frames.ContinueAuthentication, Method: "N"}},
		"no method":      {frames.Auth{Code: frames.ContinueAuthentication}},
		"0x19":           {authOf(frames.ReAuthenticate, "")},
		"twice":          {authOf(frames.ContinueAuthentication, ""), authOf(frames.ContinueAuthentication, "")},
		"after the end":  {authOf(frames.Success, ""), authOf(frames.Success, "")},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := authenticated(t, b, stream.Options{})
				reauthenticating(s)
				c.Expect(authOf(frames.ReAuthenticate, "first"))
				c.Send(p...)
				if name == "twice" {
					synctest.Wait()
				}
				c.ExpectDisconnectCode(frames.ProtocolViolation)
			})
		})
	}
}

// V80: an AUTH without a re-authentication under way, or without a method of ours, is refused.
func TestAnUnsolicitedAUTHEndsTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := authenticated(t, b, stream.Options{})
		c.Send(authOf(frames.ContinueAuthentication, ""))
		c.ExpectDisconnectCode(frames.ProtocolViolation)
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5})
		if err := s.Reauthenticate(t.Context()); err == nil || !strings.Contains(err.Error(), "Authenticate") {
			t.Error(err)
		}
		c.Send(authOf(frames.Success, ""))
		c.ExpectDisconnectCode(frames.ProtocolViolation)
	})
}

// V81: a broker that refuses the credentials anew ends the connection, and the client waits for the
// longest interval.
func TestABrokerMayEndAReauthentication(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{})
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(frames.Disconnect{Code: frames.NotAuthorized, Reason: "expired"})
		c.ExpectClosed()
		var ended *stream.DisconnectError
		if err := <-done; !errors.As(err, &ended) || ended.Code != frames.NotAuthorized || ended.Reason != "expired" {
			t.Error(err)
		}
		b.ExpectNoDial(29 * time.Second)
	})
}

// V81: the method of a connection cannot change, and an Authenticate that fails ends the
// connection.
func TestAReauthenticationKeepsItsMethod(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{V5: stream.OptionsV5{Authenticate: exchanges(&scripted{}, &otherMethod{})}})
		done := reauthenticating(s)
		c.ExpectDisconnectCode(frames.ImplementationSpecificError)
		if err := <-done; err == nil || !strings.Contains(err.Error(), "method") {
			t.Error(err)
		}
	})
}

type otherMethod struct{ scripted }

func (*otherMethod) Method() string { return "other" }

// A second call joins the exchange under way; a call that has given up does not end it.
func TestCallsOfReauthenticateShareOneExchange(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := authenticated(t, b, stream.Options{})
		first := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		second := reauthenticating(s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Reauthenticate(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.ExpectNone()
		c.Send(authOf(frames.Success, ""))
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
		again := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(authOf(frames.Success, ""))
		if err := <-again; err != nil {
			t.Error(err)
		}
	})
}

// V84: a connection that is lost ends the exchange. A late result of it has no effect on the next
// connection.
func TestALateResultOfAnExchangeHasNoEffect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		late := make(chan struct{})
		slow := &scripted{answer: func(context.Context, []byte) ([]byte, error) { <-late; return []byte("late"), nil }}
		s, c := authenticated(t, b, stream.Options{V5: stream.OptionsV5{Authenticate: exchanges(&scripted{}, slow)}})
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(authOf(frames.ContinueAuthentication, "x"))
		synctest.Wait()
		c.Abort()
		if err := <-done; err == nil {
			t.Error("Reauthenticate returned nil")
		}
		c = b.Accept()
		welcome(c, frames.ConnackProperties{})
		<-s.Online()
		again := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		close(late)
		c.ExpectQuiet(time.Second)
		c.Send(authOf(frames.Success, ""))
		if err := <-again; err != nil {
			t.Error(err)
		}
	})
}

// An Exchange with a lifetime is renewed at nine tenths of it, at least a second later, and not at
// all if it is the zero time or lies beyond all reach.
func TestAnExchangeIsRenewedBeforeItExpires(t *testing.T) {
	expires := func(d time.Duration) *timedExchange {
		return &timedExchange{expires: func() time.Time { return time.Now().Add(d) }}
	}
	never := &timedExchange{expires: func() time.Time { return time.Time{} }}
	far := &timedExchange{expires: func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := authenticated(t, b, stream.Options{KeepAlive: -1,
			V5: stream.OptionsV5{Authenticate: exchanges(expires(100*time.Second), expires(-time.Hour), far, never)}})
		for _, want := range []time.Duration{90 * time.Second, time.Second} {
			began := time.Now()
			c.Expect(authOf(frames.ReAuthenticate, "first"))
			if got := time.Since(began); got != want {
				t.Errorf("renewed after %v, want %v", got, want)
			}
			c.Send(authOf(frames.Success, ""))
		}
		c.ExpectQuiet(24 * time.Hour)
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := authenticated(t, b, stream.Options{KeepAlive: -1, V5: stream.OptionsV5{Authenticate: exchanges(never)}})
		c.ExpectQuiet(24 * time.Hour)
	})
}

// Expires is code of the user too: while it blocks or panics, the session does not.
func TestExpiresMayBlockOrPanic(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		late := make(chan struct{})
		blocks := &timedExchange{expires: func() time.Time { <-late; return time.Time{} }}
		panics := &timedExchange{expires: func() time.Time { panic("no") }}
		s, c := authenticated(t, b, stream.Options{V5: stream.OptionsV5{Authenticate: exchanges(&scripted{}, blocks, panics)}})
		done := reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(authOf(frames.Success, ""))
		synctest.Wait()
		if st := s.Stats(); st.Connections != 1 { // the loop answers
			t.Errorf("%d connections", st.Connections)
		}
		close(late)
		if err := <-done; err != nil {
			t.Error(err)
		}
		done = reauthenticating(s)
		c.Expect(authOf(frames.ReAuthenticate, "first"))
		c.Send(authOf(frames.Success, ""))
		if err := <-done; err == nil || !strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
		c.ExpectDisconnectCode(frames.ImplementationSpecificError)
	})
}
