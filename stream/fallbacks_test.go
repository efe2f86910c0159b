package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// wantDialed requires that the client dialed addr.
func wantDialed(t *testing.T, c *streamtest.Conn, addr string) {
	t.Helper()
	if _, got := c.Dialed(); got != addr {
		t.Fatalf("dialed %s, want %s", got, addr)
	}
}

// N1, N3. An attempt tries all endpoints in turn without a pause. Only then comes the interval. The
// next attempt begins with the endpoint that was connected last.
func TestAnAttemptTriesEachEndpointFromTheLastGoodOne(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := faultOptions(frames.V311)
		o.Fallbacks = []string{"mqtt://b:4242"}
		b.Refuse(2, nil)
		s := open(t, b, o) // mqtt://broker
		st := offline(t, s)
		wantText(t, st.Err, "mqtt://broker:1883: ")
		wantText(t, st.Err, "mqtt://b:4242: ")

		b.Refuse(1, nil)
		start := time.Now()
		c := b.Accept()
		wantElapsed(t, start, faultPause)
		wantDialed(t, c, "b:4242")
		c.Handshake(false)
		up(t, s)
		if st := <-s.States(t.Context()); st.Endpoint != "mqtt://b:4242" {
			t.Errorf("Endpoint is %q", st.Endpoint)
		}
		c.Drop()
		if st := offline(t, s); st.Endpoint != "mqtt://b:4242" {
			t.Errorf("Endpoint is %q after the loss", st.Endpoint)
		}
		c = b.Accept()
		wantDialed(t, c, "b:4242")
		c.ExpectConnect()
		c.Drop() // before CONNACK, so the same attempt goes on with the next endpoint
		start = time.Now()
		c = b.Accept()
		wantElapsed(t, start, 0)
		wantDialed(t, c, "broker:1883")
		c.Handshake(false)
		up(t, s)
	})
}

// ConnectTimeout applies to each endpoint separately, so a silent endpoint does not shorten the
// time for the next.
func TestEachEndpointHasItsOwnConnectTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Hold(1)
		done := goDial(t.Context(), t, b, "mqtt://hole", &stream.Options{Fallbacks: []string{"mqtt://b"}, ConnectTimeout: time.Second})
		start := time.Now()
		c := b.Accept()
		wantElapsed(t, start, time.Second)
		wantDialed(t, c, "b:1883")
		c.Handshake(false)
		if err := outcome(t, done); err != nil {
			t.Error(err)
		}
	})
}

// The order of fallbacks is random, so that the clients of a failed broker spread over the other
// brokers.
func TestTheOrderOfFallbacksDiffersFromClientToClient(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		second := make(map[string]int)
		for range 300 {
			b.Refuse(1, nil)
			o := faultOptions(frames.V311)
			o.Fallbacks = []string{"mqtt://b", "mqtt://c", "mqtt://d"}
			s := open(t, b, o)
			c := b.Handshake(false)
			_, addr := c.Dialed()
			second[addr]++
			s.Close()
		}
		for _, addr := range []string{"b:1883", "c:1883", "d:1883"} {
			if n := second[addr]; n < 60 {
				t.Errorf("%s was second %d times of 300: %v", addr, n, second)
			}
		}
	})
}

func TestBadFallbacksAreNamed(t *testing.T) {
	for _, row := range []struct {
		fallbacks []string
		words     []string
	}{
		{[]string{"mqtt://b", "b:1883"}, []string{"Fallbacks[1]", "scheme"}},
		{[]string{"http://b"}, []string{"Fallbacks[0]", "http", "wss"}},
		{[]string{"mqtt://u:hush@b:0"}, []string{"Fallbacks[0]", "port"}},
		{[]string{"mqtt://:hush@b"}, []string{"password", "user name"}},
	} {
		_, err := stream.Open("mqtt://broker", &stream.Options{Version: frames.V311, Fallbacks: row.fallbacks})
		for _, word := range row.words {
			wantText(t, err, word)
		}
		wantHidden(t, err.Error(), "hush")
	}
}

// User and password in a fallback URL apply to the endpoint of that URL. A fallback URL without a
// user takes the user of the main URL. Username in Options overrides both URLs.
func TestEachEndpointHasItsOwnUser(t *testing.T) {
	for _, row := range []struct {
		o    stream.Options
		want []string
	}{
		{stream.Options{}, []string{"first", "first", "second"}},
		{stream.Options{Username: "all"}, []string{"all", "all", "all"}},
	} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			row.o.Fallbacks = []string{"mqtt://b", "mqtt://second:hush@c"}
			s, err := stream.Open("mqtt://first:hush@broker", with(b, &row.o))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var users []string
			for range 3 {
				c := b.Accept()
				users = append(users, c.ExpectConnect().UserName)
				c.Drop()
			}
			if slices.Sort(users); !slices.Equal(users, row.want) {
				t.Errorf("users %q, want %q", users, row.want)
			}
		})
	}
}

// After the broker rejected the credentials, the session asks for new credentials at the longest
// interval, until the broker accepts them. Dial returns the refusal.
func TestRefusedCredentialsAreTriedAgainAtTheSlowestInterval(t *testing.T) {
	for _, code := range []frames.ReasonCode{frames.BadUserNameOrPassword, frames.NotAuthorized} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			asked := 0
			o := &stream.Options{
				Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute},
				Prepare: login(func(context.Context) (string, []byte, error) {
					asked++
					return strings.Repeat("i", asked), nil, nil
				}),
			}
			s, c := connected(t, b, o)
			c.Drop()
			c = b.Accept()
			for n := 2; n < 5; n++ {
				if user := c.ExpectConnect().UserName; len(user) != n {
					t.Errorf("user %q at connection %d", user, n)
				}
				c.Connack(false, code)
				start := time.Now()
				synctest.Wait()
				wantError(t, offline(t, s).Err, code)
				c = b.Accept()
				wantElapsed(t, start, time.Minute)
			}
			c.Handshake(false)
			up(t, s)
			s.Close()

			refused := goDial(t.Context(), t, b, "mqtt://broker", nil)
			c = b.Accept()
			c.ExpectConnect()
			c.Connack(false, code)
			wantError(t, outcome(t, refused), code)
			b.ExpectNoDial(time.Hour)
		})
	}
}

// If one endpoint refuses the credentials and another endpoint is unreachable, the session retries
// at the ordinary interval.
func TestARefusalByOneOfSeveralEndpointsDoesNotSlowDownTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := &stream.Options{Fallbacks: []string{"mqtt://b"}, Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute}}
		s := open(t, b, o)
		refuse := func(c *streamtest.Conn) {
			c.ExpectConnect()
			c.Connack(false, frames.NotAuthorized)
		}
		refuse(b.Accept())
		b.Accept().Drop()
		start := time.Now()
		refuse(b.Accept())
		wantElapsed(t, start, time.Second)
		refuse(b.Accept())
		start = time.Now()
		b.Handshake(false)
		wantElapsed(t, start, time.Minute)
		up(t, s)
	})
}

// The session calls Prepare for every connection, so that certificates can rotate.
func TestPrepareIsAskedForTLSAtEveryConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		old, renewed := newAuthority(t), newAuthority(t)
		trusted := []*authority{old, old, renewed}
		asked := 0
		errVault := errors.New("the vault is sealed")
		o := faultOptions(frames.V311)
		o.Prepare = withTLS(func(ctx context.Context) (*tls.Config, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the context of Prepare has no deadline")
			}
			if asked == len(trusted) {
				return nil, errVault
			}
			asked++
			return &tls.Config{RootCAs: trusted[asked-1].pool, MinVersion: tls.VersionTLS10}, nil
		})
		s, err := stream.Open("mqtts://broker", with(b, o))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i, a := range []*authority{old, renewed, renewed} {
			c := b.Accept()
			secured := tls.Server(c.Raw(), &tls.Config{
				Certificates: []tls.Certificate{a.issue(t, nil)},
			})
			c.Wrap(secured)
			if i == 1 { // the client does not trust the renewed certificate yet
				if err := secured.Handshake(); err == nil {
					t.Error("the client trusted an unknown authority")
				}
				offline(t, s)
				continue
			}
			c.Handshake(false)
			up(t, s)
			if p := secured.ConnectionState().NegotiatedProtocol; p != "" {
				t.Errorf("the negotiated protocol is %q, want none", p)
			}
			c.Drop()
			offline(t, s)
		}
		b.ExpectNoDial(faultPause + time.Second)
		wantError(t, offline(t, s).Err, errVault)
	})
}

// The minimum version is TLS 1.2, even if MinVersion in the configuration is lower.
func TestTLS11IsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		a := newAuthority(t)
		done := goDial(t.Context(), t, b, "mqtts://broker", &stream.Options{TLS: &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS10}})
		secured := tls.Server(b.Accept().Raw(), &tls.Config{
			Certificates: []tls.Certificate{a.issue(t, nil)},
			MinVersion:   tls.VersionTLS10,
			MaxVersion:   tls.VersionTLS11,
		})
		if err := secured.Handshake(); err == nil {
			t.Error("the handshake succeeded with TLS 1.1")
		}
		wantText(t, outcome(t, done), "tls")
	})
}
