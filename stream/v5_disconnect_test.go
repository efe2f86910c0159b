package stream_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// doubling is a policy with the intervals 1 s, 2 s, 4 s up to a minute.
func doubling() *backoff.Backoff { return &backoff.Backoff{Min: time.Second, Max: time.Minute} }

// V72: after each takeover the next attempt waits for the longest interval, and State says why.
func TestASessionThatIsTakenOverComesBackAtTheLongestInterval(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5, Reconnect: doubling()})
		for range 20 {
			c := b.Handshake(false)
			<-s.Online()
			c.Send(frames.Disconnect{Code: frames.SessionTakenOver})
			c.ExpectClosed()
			wantError(t, lost(t, s), frames.SessionTakenOver)
			b.ExpectNoDial(time.Minute - time.Millisecond)
		}
		b.Handshake(false)
	})
}

// V72: with NoReconnect a takeover ends the session.
func TestASessionThatIsTakenOverEndsWithNoReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5, NoReconnect: true})
		c.Send(frames.Disconnect{Code: frames.SessionTakenOver})
		<-s.Done()
		wantError(t, s.Err(), frames.SessionTakenOver)
	})
}

// V73: the code of a DISCONNECT decides how soon the client comes back, and whether the log has it
// as a mistake of this client.
func TestTheCodeOfDISCONNECTDecidesHowSoonTheClientComesBack(t *testing.T) {
	for _, tt := range []struct {
		codes   []frames.ReasonCode
		wait    time.Duration
		mistake bool
	}{
		{[]frames.ReasonCode{frames.NotAuthorized, frames.Banned, frames.BadAuthenticationMethod,
			frames.BadUserNameOrPassword, frames.AdministrativeAction}, time.Minute, false},
		{[]frames.ReasonCode{frames.ServerUnavailable, frames.ServerBusy, frames.ServerShuttingDown, frames.QuotaExceeded,
			frames.KeepAliveTimeout, frames.Success, frames.UnspecifiedError, 0xF7}, time.Second, false},
		{[]frames.ReasonCode{frames.MalformedPacket, frames.ProtocolViolation, frames.ReceiveMaximumExceeded,
			frames.TopicAliasInvalid, frames.PacketTooLarge}, time.Second, true},
	} {
		for _, code := range tt.codes {
			t.Run(code.Error(), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					book := &logbook{level: slog.LevelWarn}
					_, c := connected(t, b, &stream.Options{Version: frames.V5, Reconnect: doubling(), Logger: slog.New(book)})
					c.SendBytes([]byte{0xE0, 1, byte(code)})
					c.ExpectClosed()
					b.ExpectNoDial(tt.wait - time.Millisecond)
					b.Handshake(false)
					if warned := len(book.take()) > 0; warned != tt.mistake {
						t.Errorf("logged as a mistake: %v, want %v", warned, tt.mistake)
					}
				})
			})
		}
	}
}

// V73: a broker that sends its clients away is not the first one to be tried again.
func TestAClientThatIsSentAwayTriesTheNextEndpointFirst(t *testing.T) {
	for code, want := range map[frames.ReasonCode]string{
		frames.ServerUnavailable: "b:1883", frames.ServerBusy: "b:1883", frames.ServerShuttingDown: "b:1883",
		frames.KeepAliveTimeout: "b:1883", frames.QuotaExceeded: "b:1883", frames.UnspecifiedError: "a:1883",
	} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, err := stream.Open("mqtt://a", with(b, &stream.Options{Version: frames.V5, Fallbacks: []string{"mqtt://b"}}))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := b.Handshake(false)
			c.Send(frames.Disconnect{Code: code})
			c = b.Handshake(false)
			if _, addr := c.Dialed(); addr != want {
				t.Errorf("after %v the client dialed %s, want %s", code, addr, want)
			}
			c.Send(frames.Disconnect{Code: frames.ServerBusy})
			if _, addr := b.Handshake(false).Dialed(); addr != map[string]string{"a:1883": "b:1883", "b:1883": "a:1883"}[want] {
				t.Errorf("then it dialed %s", addr)
			}
		})
	}
}

// V74: packets before a DISCONNECT count, and packets after it do not.
func TestPacketsAfterDISCONNECTAreIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5})
		before, after := publish("in", "before", 0, 0, false), publish("in", "after", 0, 0, false)
		c.Send(before, frames.Disconnect{Code: frames.ServerShuttingDown}, after)
		c.ExpectClosed()
		wantError(t, lost(t, s), frames.ServerShuttingDown)
		if d := <-s.Deliveries(); string(d.Payload) != "before" {
			t.Errorf("got %q", d.Payload)
		}
		b.Handshake(false)
		elapse(time.Second)
		if st := s.Stats(); st.Received != 1 {
			t.Errorf("%d messages were received", st.Received)
		}
	})
}

// V74: a DISCONNECT that a broker must not send is refused.
func TestADISCONNECTWithSessionExpiryIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := connected(t, b, &stream.Options{Version: frames.V5})
		expiry := uint32(9)
		c.Send(frames.Disconnect{SessionExpiry: &expiry})
		c.ExpectDisconnectCode(frames.ProtocolViolation)
	})
}

// V88: a reason string cannot write into logs and errors, and is cut there; the field has it whole.
func TestReasonStringsAreQuotedAndCut(t *testing.T) {
	reason := "a\x1b[31m\n\"" + strings.Repeat("é", 30_000)
	check := func(t *testing.T, err error, field string) {
		t.Helper()
		if text := err.Error(); strings.ContainsAny(text, "\x1b\n") || len(text) > 3000 || !strings.Contains(text, `a\x1b[31m\n\"é`) {
			t.Errorf("%d bytes: %.200q", len(text), text)
		}
		if field != reason {
			t.Errorf("the field has %d bytes", len(field))
		}
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelInfo}
		s := open(t, b, &stream.Options{Version: frames.V5, Logger: slog.New(book), Reconnect: doubling()})
		c := b.Accept()
		c.ExpectConnect()
		c.Send(frames.Connack{Code: frames.ServerBusy, Properties: &frames.ConnackProperties{Reason: reason}})
		var refused *stream.ConnectError
		if err := lost(t, s); errors.As(err, &refused) {
			check(t, err, refused.Reason)
		} else {
			t.Error(err)
		}
		c = b.Handshake(false)
		<-s.Online()
		done := goPublish(s, message("out", "", frames.AtLeastOnce))
		p := streamtest.Next[frames.Publish](c)
		c.Send(frames.Ack{Kind: puback, ID: p.ID, AckReason: frames.AckReason{Code: frames.QuotaExceeded, Properties: &frames.AckProperties{Reason: reason}}})
		var refusal *stream.RefusalError
		if err := <-done; errors.As(err, &refusal) {
			check(t, err, refusal.Reason)
		} else {
			t.Error(err)
		}
		asked := goSubscribe(s, frames.Filter{Topic: "in"})
		r := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: r.ID, Codes: []frames.ReasonCode{frames.QuotaExceeded}, Properties: &frames.AckProperties{Reason: reason}})
		var denied *stream.RefusedError
		if err := <-asked; errors.As(err, &denied) {
			check(t, err, denied.Reason)
		} else {
			t.Error(err)
		}
		c.Send(frames.Disconnect{Code: frames.ServerBusy, Reason: reason})
		var bye *stream.DisconnectError
		if err := lost(t, s); errors.As(err, &bye) {
			check(t, err, bye.Reason)
		} else {
			t.Error(err)
		}
		for _, e := range book.take() {
			for _, v := range e.attrs {
				if err, ok := v.(error); ok && (len(err.Error()) > 3000 || strings.ContainsAny(err.Error(), "\x1b\n")) {
					t.Errorf("%s: %.200q", e.what, err)
				}
			}
		}
	})
}

// With a will the connection is closed without DISCONNECT, which makes mosquitto and mochi discard
// the will whatever its code is.
func TestAFaultOfTheBrokerLeavesTheWill(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		will := message("will", "x", 0)
		_, c := connected(t, b, &stream.Options{Version: frames.V5, Will: &will})
		c.SendBytes([]byte{0x40, 1, 0})
		c.ExpectClosed()
	})
}
