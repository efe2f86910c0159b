package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
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

func TestIntervalsOfAPolicyWithoutJitterAreExact(t *testing.T) {
	for name, row := range map[string]struct {
		policy *backoff.Backoff
		want   []time.Duration
	}{
		"Min, Max and Factor":         {&backoff.Backoff{Min: time.Second, Max: 30 * time.Second, Factor: 3}, seconds(1, 3, 9, 27, 30, 30, 30)},
		"Min and Max":                 {&backoff.Backoff{Min: time.Second, Max: 5 * time.Second}, seconds(1, 2, 4, 5, 5)},
		"one interval":                {every(7 * time.Second), seconds(7, 7, 7)},
		"none but of package backoff": {&backoff.Backoff{}, seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				b.Refuse(len(row.want), nil)
				s := open(t, b, &stream.Options{Reconnect: row.policy})
				b.Handshake(false)
				<-s.Online()
				if got := gaps(dialTimes(b)); !slices.Equal(got, row.want) {
					t.Fatalf("intervals %v, want %v", got, row.want)
				}
			})
		})
	}
}

// The session copies the Backoff of its Options. The caller may go on using its own, or share it
// between sessions.
func TestPolicyIsNotShared(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		policy := &backoff.Backoff{Min: time.Second, Max: time.Hour}
		for range 5 {
			policy.Duration()
		}
		b.Refuse(3, nil)
		s := open(t, b, &stream.Options{Reconnect: policy})
		policy.Min, policy.Jitter = time.Hour, true
		b.Handshake(false)
		<-s.Online()
		if got := gaps(dialTimes(b)); !slices.Equal(got, seconds(1, 2, 4)) {
			t.Fatalf("intervals %v", got)
		}
		if policy.Attempt() != 5 {
			t.Fatalf("the policy is at attempt %v", policy.Attempt())
		}
	})
}

// paho.golang #249. Intervals vary by up to half. In package backoff the first interval is always
// Min, and late intervals are always Max.
func TestIntervalsAreSpreadOverTheirUpperHalf(t *testing.T) {
	for name, row := range map[string]struct {
		policy *backoff.Backoff
		whole  []time.Duration
	}{
		"by default":  {nil, seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60, 60)},
		"with Jitter": {&backoff.Backoff{Min: time.Second, Max: 3 * time.Second, Jitter: true}, seconds(1, 2, 3, 3, 3)},
	} {
		t.Run(name, func(t *testing.T) {
			at := make([]map[time.Duration]bool, len(row.whole)) // the intervals of all sessions, by attempt
			for i := range at {
				at[i] = map[time.Duration]bool{}
			}
			const sessions = 30
			for range sessions {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					b.Refuse(len(row.whole), nil)
					s := open(t, b, &stream.Options{Reconnect: row.policy})
					b.Handshake(false)
					<-s.Online()
					got := gaps(dialTimes(b))
					if len(got) != len(row.whole) {
						t.Fatalf("%d intervals", len(got))
					}
					for i, d := range got {
						if d < row.whole[i]/2 || d > row.whole[i] {
							t.Errorf("interval %d is %v, outside %v to %v", i, d, row.whole[i]/2, row.whole[i])
						}
						at[i][d] = true
					}
				})
			}
			for i, different := range at {
				lo, hi := row.whole[i], time.Duration(0)
				for d := range different {
					lo, hi = min(lo, d), max(hi, d)
				}
				if len(different) < sessions*9/10 || hi-lo < row.whole[i]/4 {
					t.Errorf("interval %d of %d sessions: %d different ones, %v to %v", i, sessions, len(different), lo, hi)
				}
			}
		})
	}
}

// R1: 500 clients lose their broker at the same time. They must not all reconnect at the same time.
func TestFleetDoesNotReturnInStep(t *testing.T) {
	const fleet = 500
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var mu sync.Mutex
		var up bool
		arrivals := map[time.Duration]int{}
		start := time.Now()
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if !up {
				return nil, syscall.ECONNREFUSED
			}
			arrivals[time.Since(start).Truncate(50*time.Millisecond)]++
			return b.Dial(ctx, network, addr)
		}
		b.Respond(new(streamtest.Responder))
		var sessions []*stream.Session
		for range fleet {
			sessions = append(sessions, open(t, b, &stream.Options{DialContext: dial, KeepAlive: noPing}))
		}
		elapse(5 * time.Minute)
		mu.Lock()
		up, start = true, time.Now()
		mu.Unlock()
		for _, s := range sessions {
			<-s.Online()
		}
		if d := time.Since(start); d > time.Minute || d < 30*time.Second {
			t.Errorf("the last client is back after %v", d)
		}
		for at, n := range arrivals {
			if n > fleet/25 { // an even spread would be one client in 50 ms
				t.Errorf("%d of %d at %v", n, fleet, at)
			}
		}
		for _, s := range sessions { // ends all sessions at the same time
			go s.Close()
		}
		for _, s := range sessions {
			<-s.Done()
		}
	})
}

// Intervals start over after a connection that lasted ten times the preceding interval, or the
// longest interval.
func TestOnlyAConnectionThatLastedStartsTheIntervalsOver(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := &stream.Options{Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute}, KeepAlive: noPing}
		b.Refuse(3, nil)
		s := open(t, b, o)
		var c *streamtest.Conn
		for i, row := range []struct {
			before time.Duration // the interval before the connection
			lasts  time.Duration
		}{
			{7 * time.Second, 40*time.Second - 1}, // the intervals 1 + 2 + 4 s
			{8 * time.Second, time.Minute - 1},
			{16 * time.Second, time.Minute},
			{time.Second, 10*time.Second - 1},
			{2 * time.Second, 20 * time.Second},
			{time.Second, 10 * time.Second},
			{time.Second, 0},
			{2 * time.Second, 0},
			{4 * time.Second, 24 * time.Hour},
			{time.Second, 0},
		} {
			start := time.Now()
			if i > 0 {
				c.Drop()
				b.ExpectNoDial(row.before - 1)
			}
			c = b.Handshake(false)
			wantElapsed(t, start, row.before)
			<-s.Online()
			elapse(row.lasts)
		}
	})
}

// There was no interval before the first connection. So when it is lost, the session waits only for
// the shortest interval.
func TestLostFirstConnectionIsFollowedByTheShortestInterval(t *testing.T) {
	for _, lasted := range []time.Duration{0, time.Hour} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			_, c := connected(t, b, &stream.Options{Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute}, KeepAlive: noPing})
			c.ExpectQuiet(lasted)
			start := time.Now()
			c.Drop()
			b.Handshake(false)
			wantElapsed(t, start, time.Second)
		})
	}
}

// R2: a broker accepts every connection and closes it. The intervals must grow.
func TestAcceptedAndDroppedForEverBacksOff(t *testing.T) {
	for name, end := range map[string]func(c *streamtest.Conn){
		"CONNACK, then the end":             (*streamtest.Conn).Drop,
		"CONNACK, then a reset":             (*streamtest.Conn).Abort,
		"CONNACK, a second of life":         func(c *streamtest.Conn) { elapse(time.Second - 1); c.Drop() },
		"CONNACK and nonsense behind it":    func(c *streamtest.Conn) { c.SendBytes([]byte{0}); endsWith(t, c, frames.MalformedPacket) },
		"CONNACK and the end in one moment": nil,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, &stream.Options{Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute}})
				want := seconds(1, 2, 4, 8, 16, 32, 60, 60, 60, 60)
				for _, d := range want {
					c := b.Accept()
					c.ExpectConnect()
					c.Connack(false, frames.Success)
					if end != nil {
						<-s.Online()
						end(c)
					} else {
						c.Drop()
					}
					start := time.Now()
					st := offline(t, s)
					if st.Attempt != 0 { // no failed attempt, since the connection was accepted
						t.Fatalf("%+v", st)
					}
					b.ExpectNoDial(d - 1)
					wantElapsed(t, start, d-1)
				}
				if n := s.Stats().Connections; n != uint64(len(want)) {
					t.Fatalf("%d connections", n)
				}
			})
		})
	}
}

// R4: a message makes the broker close the connection whenever it is retransmitted.
func TestPoisonMessageBacksOffAndShowsInStates(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := &stream.Options{Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute}, ClientID: "k", KeepSession: true}
		s := open(t, b, o)
		published := goPublish(s, message("poison", "", 1))
		last := time.Now()
		for i, d := range seconds(0, 1, 2, 4, 8, 16, 32, 60, 60) {
			c := b.Handshake(i > 0)
			wantElapsed(t, last, d)
			c.Expect(publish("poison", "", 1, 1, i > 0))
			c.Drop()
			last = time.Now()
			wantError(t, offline(t, s).Err, io.EOF)
		}
		wantPending(t, published)
		s.Close()
		wantError(t, <-published, stream.ErrUnconfirmed, stream.ErrClosed)
	})
}

// R3: two clients have the same client identifier, so each makes the broker close the connection of
// the other.
func TestTwoClientsWithOneIdentifierTakeTurnsEverMoreSlowly(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := &stream.Options{ClientID: "one", KeepAlive: noPing}
		open(t, b, o)
		open(t, b, o)
		end := time.Now().Add(time.Hour)
		var owner *streamtest.Conn
		n := 0
		for time.Now().Before(end) {
			c := b.Handshake(false)
			if n++; owner != nil {
				owner.Drop()
			}
			owner = c
		}
		if n > 300 { // intervals double from 100 ms to a minute, and start over after a connection of a minute
			t.Fatalf("%d connections in an hour", n)
		}
	})
}

func TestSessionWithoutReconnectEndsWithItsConnection(t *testing.T) {
	t.Run("that was lost", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{NoReconnect: true})
			messages, states := s.Messages(), s.States(t.Context())
			acks := make(chan stream.Receipt, 4)
			offer(s, 0, 2, 1, acks)
			streamtest.Next[frames.Publish](c)
			asked := goSubscribe(s, filterOf("f", 1))
			streamtest.Next[frames.Subscribe](c)
			c.Abort()
			<-s.Done()
			wantError(t, s.Err(), syscall.ECONNRESET)
			wantReceipt(t, acks, 0, stream.ErrUnconfirmed, syscall.ECONNRESET)
			wantReceipt(t, acks, 1, stream.ErrNotSent, stream.ErrClosed, net.ErrClosed, syscall.ECONNRESET)
			wantError(t, <-asked, stream.ErrClosed, syscall.ECONNRESET)
			wantEnd(t, messages)
			var last stream.State
			for st := range states {
				last = st
			}
			if last.Online {
				t.Fatalf("%+v", last)
			}
			wantError(t, last.Err, stream.ErrClosed, syscall.ECONNRESET)
			wantError(t, s.Publish(t.Context(), message("t", "", 0)), stream.ErrNotSent, stream.ErrClosed, syscall.ECONNRESET)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			wantError(t, s.Err(), syscall.ECONNRESET)
			b.ExpectNoDial(time.Hour)
		})
	})
	t.Run("that the broker closed", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{NoReconnect: true})
			c.Drop()
			<-s.Done()
			wantError(t, s.Err(), io.EOF) // the end is an error, although the broker sent no error
		})
	})
	t.Run("that never was", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			s := open(t, b, &stream.Options{NoReconnect: true})
			<-s.Done()
			wantError(t, s.Err(), syscall.ECONNREFUSED)
			b.ExpectNoDial(time.Hour)
		})
	})
	t.Run("of Dial", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			wantError(t, <-goDial(t.Context(), t, b, "mqtt://broker", &stream.Options{NoReconnect: true}), syscall.ECONNREFUSED)
		})
	})
	t.Run("that Close ended", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{NoReconnect: true})
			s.Close()
			c.ExpectDisconnect()
			wantEnded(t, s)
		})
	})
}

// State.Attempt is the number of attempts since the last connection. State.Err is the error of the
// last attempt or of the lost connection.
func TestStatesTellWhereTheConnectionStands(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		began := time.Now()
		b.Hold(1)
		s, err := stream.Open("mqtt://user:hush@broker:1999", with(b, &stream.Options{ConnectTimeout: 5 * time.Second, Reconnect: every(time.Second)}))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		states := s.States(t.Context())
		next := func(online bool, attempt int, since time.Duration, cause error) {
			t.Helper()
			st := <-states
			if st.Online != online || st.Attempt != attempt || st.Since.Sub(began) != since ||
				(st.Err == nil) != (cause == nil) || st.Endpoint != "mqtt://broker:1999" {
				t.Fatalf("%+v (since %v), want online %v, attempt %d, since %v, error %v",
					st, st.Since.Sub(began), online, attempt, since, cause)
			}
			wantError(t, st.Err, cause)
		}
		next(false, 0, 0, nil)
		next(false, 1, 5*time.Second, context.DeadlineExceeded)
		b.Refuse(2, nil)
		next(false, 2, 6*time.Second, syscall.ECONNREFUSED)
		next(false, 3, 7*time.Second, syscall.ECONNREFUSED)
		c := b.Handshake(false)
		next(true, 0, 8*time.Second, nil)
		c.ExpectQuiet(4 * time.Second)
		b.Refuse(1, nil)
		c.Drop()
		next(false, 0, 12*time.Second, io.EOF)
		next(false, 1, 13*time.Second, syscall.ECONNREFUSED)
		b.Handshake(false)
		next(true, 0, 14*time.Second, nil)
		s.Close()
		next(false, 0, 14*time.Second, stream.ErrClosed)
		wantEnd(t, states)
	})
}

// N1: errors.Is and errors.As find the reason of a failed dial, and every attempt resolves the host
// name again.
func TestReasonsOfFailedDialsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		noSuchHost := &net.DNSError{Err: "no such host", Name: "broker.example", IsNotFound: true}
		lookupTimeout := &net.DNSError{Err: "i/o timeout", Name: "broker.example", IsTimeout: true}
		unreachable := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
		b.Refuse(1, &net.OpError{Op: "dial", Net: "tcp", Err: noSuchHost})
		b.Refuse(1, &net.OpError{Op: "dial", Net: "tcp", Err: lookupTimeout})
		b.Refuse(1, nil)
		b.Refuse(1, unreachable)
		b.Hold(1) // a dial that gets no answer
		s, err := stream.Open("mqtt://broker.example", with(b, &stream.Options{Reconnect: every(time.Second), ConnectTimeout: 3 * time.Second}))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		states := s.States(t.Context())
		attempt := 0
		fails := func(target error) error {
			t.Helper()
			st := <-states
			if attempt++; st.Attempt == 0 { // the State before the first attempt has failed
				st = <-states
			}
			if st.Attempt != attempt {
				t.Fatalf("%+v, want attempt %d", st, attempt)
			}
			wantError(t, st.Err, target)
			return st.Err
		}
		start := time.Now()
		var dns *net.DNSError
		if err := fails(noSuchHost); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("no *net.DNSError in %v", err)
		}
		if err := fails(lookupTimeout); !errors.As(err, &dns) || !dns.IsTimeout {
			t.Errorf("no *net.DNSError in %v", err)
		}
		var op *net.OpError
		if err := fails(syscall.ECONNREFUSED); !errors.As(err, &op) {
			t.Errorf("no *net.OpError in %v", err)
		}
		fails(unreachable)
		wantElapsed(t, start, 3*time.Second)
		if err := fails(context.DeadlineExceeded); !errors.As(err, &op) || !op.Timeout() {
			t.Errorf("no *net.OpError in %v", err)
		}
		wantElapsed(t, start, 4*time.Second+3*time.Second)
		b.Handshake(false)
		<-s.Online()
		if n := len(b.Dials()); n != 6 {
			t.Errorf("%d dials", n)
		}
		for _, d := range b.Dials() {
			if d.Network != "tcp" || d.Addr != "broker.example:1883" {
				t.Errorf("dialed %v", d)
			}
		}
	})
}

// N3: a broker may close the connection at any step without a reason. The session treats that as an
// error, not as a clean end, and reconnects.
func TestEndAtEveryStepIsAnErrorAndComesBack(t *testing.T) {
	type script struct {
		name string
		play func(t *testing.T, s *stream.Session, c *streamtest.Conn)
	}
	steps := []script{
		{"before CONNECT is read", func(*testing.T, *stream.Session, *streamtest.Conn) {}},
		{"after CONNECT", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) { c.ExpectConnect() }},
		{"inside CONNACK, 1 byte", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.ExpectConnect()
			c.SendBytes([]byte{0x20})
		}},
		{"inside CONNACK, 3 bytes", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.ExpectConnect()
			c.SendBytes([]byte{0x20, 2, 0})
		}},
		{"after CONNACK", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) { c.Handshake(false) }},
		{"after SUBSCRIBE", func(_ *testing.T, s *stream.Session, c *streamtest.Conn) {
			c.Handshake(false)
			streamtest.Next[frames.Subscribe](c)
		}},
		{"inside SUBACK", func(t *testing.T, s *stream.Session, c *streamtest.Conn) {
			c.Handshake(false)
			p := streamtest.Next[frames.Subscribe](c)
			c.SendBytes(encoded(t, frames.V311, frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1}})[:3])
		}},
		{"after SUBACK", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
		}},
		{"inside PUBLISH", func(t *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			c.SendBytes(encoded(t, frames.V311, publish("f", "half", 1, 1, false))[:6])
		}},
		{"after PUBLISH", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			c.Send(publish("f", "whole", 1, 1, false))
		}},
		{"after PINGREQ", func(_ *testing.T, _ *stream.Session, c *streamtest.Conn) {
			c.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			c.Expect(frames.Pingreq{})
		}},
	}
	for name, end := range map[string]func(c *streamtest.Conn){"end ": (*streamtest.Conn).Drop, "reset ": (*streamtest.Conn).Abort} {
		for _, step := range steps {
			t.Run(name+step.name, func(t *testing.T) {
				inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s := open(t, b, faultOptions(v))
					asked := goSubscribe(s, filterOf("f", 1))
					synctest.Wait()
					c := b.Accept()
					step.play(t, s, c)
					synctest.Wait()
					end(c)
					ended := time.Now()
					err := offline(t, s).Err
					if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
						!errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
						t.Fatalf("error is %v", err)
					}
					if s.Err() != nil {
						t.Fatalf("the session has ended: %v", s.Err())
					}
					c = b.Accept()
					wantElapsed(t, ended, faultPause)
					c.Handshake(false)
					c.Grant(streamtest.Next[frames.Subscribe](c))
					if err := <-asked; err != nil {
						t.Fatal(err)
					}
				})
			})
		}
	}
}

// N2: the connection is reset, by the broker or by the network.
func TestResetIsShown(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, faultOptions(frames.V311))
		c.Abort()
		wantError(t, lost(t, s), syscall.ECONNRESET)
	})
}

func TestDialReturnsTheErrorOfTheFirstAttemptAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Refuse(1, nil)
		start := time.Now()
		s, err := stream.Dial(t.Context(), "mqtt://broker", with(b, nil))
		wantElapsed(t, start, 0)
		wantError(t, err, syscall.ECONNREFUSED)
		if s != nil {
			t.Fatal("a session beside an error")
		}
		b.ExpectNoDial(time.Hour) // the bubble also fails if a goroutine is left
		if n := len(b.Dials()); n != 1 {
			t.Fatalf("%d dials", n)
		}
	})
}

func TestDialsContextDoesNotBoundTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		dialed := make(chan *stream.Session, 1)
		go func() {
			s, err := stream.Dial(ctx, "mqtt://broker", with(b, faultOptions(frames.V311)))
			if err != nil {
				t.Error(err)
			}
			dialed <- s
		}()
		c := b.Handshake(false)
		s := <-dialed
		defer s.Close()
		c.ExpectQuiet(10 * time.Second)
		start := time.Now()
		c.Drop()
		returns(t, b, s, nil, start)
	})
}

// C8: ConnectTimeout applies to reconnections too.
func TestConnectTimeoutBoundsEveryAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ConnectTimeout: 4 * time.Second, Reconnect: every(time.Second)})
		b.Hold(2)
		start := time.Now()
		c.Drop()
		c = b.Accept() // the broker sends no CONNACK on this connection
		wantElapsed(t, start, time.Second+2*(4*time.Second+time.Second))
		c.ExpectConnect()
		c.ExpectClosed()
		wantElapsed(t, start, 11*time.Second+4*time.Second)
		synctest.Wait()
		st := offline(t, s)
		wantError(t, st.Err, context.DeadlineExceeded)
		if st.Attempt != 3 {
			t.Fatalf("attempt %d", st.Attempt)
		}
		b.Handshake(false)
		wantElapsed(t, start, 16*time.Second)
	})
}

// E6, shortened: the connection is lost again and again. Each publishing gets one Receipt, and the
// publications are sent in order.
func TestPublishingOverAConnectionThatFlaps(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("KeepSession %v", keep), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, &stream.Options{
					ClientID: "k", KeepSession: keep, Window: 5, Queue: 5,
					Reconnect: every(50 * time.Millisecond), KeepAlive: noPing,
				})
				const publishers, each = 100, 5
				acks := make(chan stream.Receipt, publishers*each)
				for p := range publishers {
					go offer(s, p*each, (p+1)*each, frames.QoS(p%3), acks)
				}
				r := rand.New(rand.NewPCG(1, 2))
				for len(acks) < publishers*each {
					c := b.Handshake(keep)
					for range r.IntN(20) {
						synctest.Wait()
						if c.Bytes() == 0 || s.Stats().InFlight == 0 {
							break
						}
						switch p := streamtest.Next[frames.Packet](c).(type) {
						case frames.Publish:
							switch p.QoS {
							case 1:
								c.Send(ack(puback, p.ID))
							case 2:
								c.Send(ack(pubrec, p.ID))
							}
						case frames.Ack:
							c.Send(ack(pubcomp, p.ID))
						}
					}
					elapse(time.Millisecond)
					c.Drop()
				}
				seen := map[any]bool{}
				for range publishers * each {
					r := <-acks
					if seen[r.Tag] {
						t.Fatalf("two Receipts for %v", r.Tag)
					}
					seen[r.Tag] = true
					if r.Err != nil && (keep || !errors.Is(r.Err, stream.ErrUnconfirmed)) {
						t.Errorf("Receipt %+v", r)
					}
				}
				wantReceipts(t, acks, 0)
			})
		})
	}
}
