package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// referTo is a policy that takes a Server Reference for host and port.
func referTo(_ context.Context, r stream.Redirect) (string, error) {
	if r.Reference == "" || strings.ContainsAny(r.Reference, " /@") {
		return "", fmt.Errorf("bad reference %q", r.Reference)
	}
	return "mqtt://" + r.Reference, nil
}

// dialed returns the host and port that the next connection goes to, and the connection.
func dialed(b *streamtest.Broker) (string, *streamtest.Conn) {
	c := b.Accept()
	_, addr := c.Dialed()
	c.ExpectConnect()
	return addr, c
}

// refer refuses a connection with a Server Reference.
func refer(c *streamtest.Conn, code frames.ReasonCode, reference string) {
	c.Send(frames.Connack{Code: code, Properties: &frames.ConnackProperties{ServerReference: reference}})
}

// V75: without a policy the reference is in the error, and the client comes back to its URL at the
// ordinary interval.
func TestWithoutAPolicyARedirectIsAnErrorWithTheReference(t *testing.T) {
	for _, code := range []frames.ReasonCode{frames.UseAnotherServer, frames.ServerMoved} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, &stream.Options{Version: frames.V5, Reconnect: doubling()})
			_, c := dialed(b)
			refer(c, code, "b:1884")
			var refused *stream.ConnectError
			if err := lost(t, s); !errors.As(err, &refused) || refused.Code != code || refused.ServerReference != "b:1884" {
				t.Error(err)
			}
			b.ExpectNoDial(time.Second - time.Millisecond)
			addr, c := dialed(b)
			if addr != "broker:1883" {
				t.Errorf("dialed %s", addr)
			}
			c.Connack(false, frames.Success)
			<-s.Online()
			c.Send(frames.Disconnect{Code: code, ServerReference: "b:1884"})
			var bye *stream.DisconnectError
			if err := lost(t, s); !errors.As(err, &bye) || bye.Code != code || bye.ServerReference != "b:1884" {
				t.Error(err)
			}
			if addr, _ := dialed(b); addr != "broker:1883" {
				t.Errorf("dialed %s", addr)
			}
		})
	}
}

// V76: an attempt follows at most eight redirects and goes nowhere twice; then the back-off holds.
func TestAnAttemptEndsAfterEightRedirectsAndInACircle(t *testing.T) {
	for name, tt := range map[string]struct {
		next func(addr string) string
		want []string
	}{
		"chain": {func(addr string) string {
			n := 0
			fmt.Sscanf(addr, "b%d:", &n)
			return fmt.Sprintf("b%d:1", n+1)
		}, []string{"broker:1883", "b1:1", "b2:1", "b3:1", "b4:1", "b5:1", "b6:1", "b7:1", "b8:1"}},
		"circle": {func(addr string) string {
			if addr == "b:1" {
				return "broker:1883"
			}
			return "b:1"
		}, []string{"broker:1883", "b:1"}},
		"itself":  {func(addr string) string { return addr }, []string{"broker:1883"}},
		"empty":   {func(string) string { return "" }, []string{"broker:1883"}},
		"garbage": {func(string) string { return "b c:1" }, []string{"broker:1883"}},
		"no port": {func(string) string { return "b:x" }, []string{"broker:1883"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, &stream.Options{Version: frames.V5, Reconnect: doubling(), V5: stream.OptionsV5{Redirect: referTo}})
				var got []string
				for range tt.want {
					addr, c := dialed(b)
					got = append(got, addr)
					refer(c, frames.UseAnotherServer, tt.next(addr))
				}
				wantError(t, lost(t, s), frames.UseAnotherServer)
				b.ExpectNoDial(time.Second - time.Millisecond)
				if !slices.Equal(got, tt.want) {
					t.Errorf("dialed %v, want %v", got, tt.want)
				}
				if addr, _ := dialed(b); addr != "broker:1883" {
					t.Errorf("the next attempt dialed %s", addr)
				}
			})
		})
	}
}

// V77: after ServerMoved the client begins at the new broker, after UseAnotherServer at its URL. It
// makes no difference whether CONNACK or DISCONNECT has the code.
func TestAMovedBrokerIsTheFirstToBeTriedAgain(t *testing.T) {
	for code, want := range map[frames.ReasonCode]string{frames.ServerMoved: "b:1884", frames.UseAnotherServer: "broker:1883"} {
		for _, connack := range []bool{true, false} {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{Redirect: referTo}})
				_, c := dialed(b)
				if connack {
					refer(c, code, "b:1884")
				} else {
					c.Connack(false, frames.Success)
					<-s.Online()
					c.Send(frames.Disconnect{Code: code, ServerReference: "b:1884"})
					lost(t, s)
				}
				addr, c := dialed(b)
				if addr != "b:1884" {
					t.Fatalf("the redirect leads to %s", addr)
				}
				c.Connack(false, frames.Success)
				<-s.Online()
				if st := s.State(); st.Endpoint != "mqtt://b:1884" {
					t.Errorf("State has %s", st.Endpoint)
				}
				c.Drop()
				if addr, _ := dialed(b); addr != want {
					t.Errorf("after %v the client dialed %s, want %s", code, addr, want)
				}
			})
		}
	}
}

// V78: FollowSecure does not follow a reference that came without TLS, and the error says so.
func TestFollowSecureNeedsTLS(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5, Reconnect: doubling(), V5: stream.OptionsV5{Redirect: stream.FollowSecure}})
		_, c := dialed(b)
		refer(c, frames.ServerMoved, "b")
		err := lost(t, s)
		wantError(t, err, frames.ServerMoved)
		wantText(t, err, "without TLS")
		b.ExpectNoDial(time.Second - time.Millisecond)
	})
}

// V78: the broker that is referred to gets no credentials of the first one, unless the answer of
// the policy has some.
func TestAReferredBrokerGetsNoCredentialsUnlessThePolicySaysSo(t *testing.T) {
	for url, want := range map[string]string{"mqtt://b": "", "mqtt://u2:p2@b": "u2"} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, &stream.Options{Version: frames.V5, Username: "u", Password: []byte("p"), V5: stream.OptionsV5{
				Redirect: func(context.Context, stream.Redirect) (string, error) { return url, nil }}})
			c := b.Accept()
			if p := c.ExpectConnect(); p.UserName != "u" {
				t.Errorf("the first broker got %q", p.UserName)
			}
			refer(c, frames.UseAnotherServer, "b")
			c = b.Accept()
			if p := c.ExpectConnect(); p.UserName != want || (len(p.Password) > 0) != (want != "") {
				t.Errorf("the second broker got %q with a password of %d bytes", p.UserName, len(p.Password))
			}
			c.Connack(false, frames.Success)
			<-s.Online()
		})
	}
}

// V78: a kept session is not taken to a broker that may not have it.
func TestRedirectOfAKeptSessionNeedsASharedSession(t *testing.T) {
	o := stream.Options{Version: frames.V5, ClientID: "c", KeepSession: true, V5: stream.OptionsV5{Redirect: referTo}}
	var bad *stream.OptionError
	if _, err := stream.Open("mqtt://broker", &o); !errors.As(err, &bad) || bad.Field != "V5.Redirect" {
		t.Error(err)
	}
}

// Close during a policy that waits ends it.
func TestCloseEndsAPolicyThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		asked := make(chan struct{})
		s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{
			Redirect: func(ctx context.Context, _ stream.Redirect) (string, error) {
				close(asked)
				<-ctx.Done()
				return "", ctx.Err()
			}}})
		_, c := dialed(b)
		refer(c, frames.UseAnotherServer, "b")
		<-asked
		began := time.Now()
		if err := s.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
	})
}
