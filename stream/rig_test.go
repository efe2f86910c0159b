package stream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// bubble runs a script in a synctest bubble, with a broker of its own.
func bubble(t *testing.T, script func(t *testing.T, b *streamtest.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t)
		script(t, b)
	})
}

// version is the protocol version of the tests that do not choose one.
var version = frames.V311

// versions returns the protocol versions of a test that runs at several of them: 3.1 and 3.1.1 in
// the first run of all tests, and 5 in the second.
func versions() []frames.Version {
	if version >= frames.V5 {
		return []frames.Version{frames.V5}
	}
	return []frames.Version{frames.V31, frames.V311}
}

// open starts a session that dials b. The session is closed at the end of the test.
func open(t *testing.T, b *streamtest.Broker, o *stream.Options) *stream.Session {
	t.Helper()
	s, err := stream.Open("mqtt://broker", with(b, o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// connected opens a session and accepts its first connection.
func connected(t *testing.T, b *streamtest.Broker, o *stream.Options) (*stream.Session, *streamtest.Conn) {
	t.Helper()
	s := open(t, b, o)
	c := b.Handshake(false)
	<-s.Online()
	return s, c
}

func with(b *streamtest.Broker, o *stream.Options) *stream.Options {
	var c stream.Options
	if o != nil {
		c = *o
	}
	if c.DialContext == nil {
		c.DialContext = b.Dial
	}
	if c.Version == 0 {
		c.Version = version
	}
	if c.V5.ReceiveMaximum == 0 {
		c.V5.ReceiveMaximum = 65535 // scripts written for 3.1.1 know no Receive Maximum
	}
	return &c
}

func message(topic, payload string, q frames.QoS) frames.Message {
	return frames.Message{Topic: topic, Payload: []byte(payload), QoS: q}
}

// publish returns a PUBLISH packet.
func publish(topic, payload string, q frames.QoS, id uint16, dup bool) frames.Publish {
	return frames.Publish{Message: message(topic, payload, q), ID: id, DUP: dup}
}

func ack(kind frames.Type, id uint16) frames.Ack { return frames.Ack{Kind: kind, ID: id} }

// unsuback returns the answer to p, with the code Success for each filter.
func unsuback(p frames.Unsubscribe) frames.Unsuback {
	return frames.Unsuback{ID: p.ID, Codes: make([]frames.ReasonCode, len(p.Topics))}
}

// pubcompUnknown returns the PUBCOMP for a PUBREL of which the client knows no PUBREC. The reason
// code is 0x92 at MQTT 5; older versions have no code.
func pubcompUnknown(id uint16) frames.Ack {
	return frames.Ack{Kind: pubcomp, ID: id, AckReason: frames.AckReason{Code: frames.PacketIdentifierNotFound}}
}

// pubrelUnknown returns the PUBREL for a PUBREC of which the client knows no PUBLISH, with the same
// code.
func pubrelUnknown(id uint16) frames.Ack {
	return frames.Ack{Kind: pubrel, ID: id, AckReason: frames.AckReason{Code: frames.PacketIdentifierNotFound}}
}

// endsWith expects the client to end the connection because of a fault. At MQTT 5 a DISCONNECT with
// one of the codes precedes the end; before, DISCONNECT means that all is well, and there is none.
func endsWith(t *testing.T, c *streamtest.Conn, codes ...frames.ReasonCode) {
	t.Helper()
	if c.Version() >= frames.V5 {
		if code := streamtest.Next[frames.Disconnect](c).Code; !slices.Contains(codes, code) {
			t.Errorf("DISCONNECT with the code %v, want one of %v", code, codes)
		}
	}
	c.ExpectClosed()
}

const (
	puback  = frames.TypePuback
	pubrec  = frames.TypePubrec
	pubrel  = frames.TypePubrel
	pubcomp = frames.TypePubcomp
)

// subscribed subscribes s to a filter, which the broker grants.
func subscribed(t *testing.T, s *stream.Session, c *streamtest.Conn, filter string, q frames.QoS) *stream.Subscription {
	t.Helper()
	type result struct {
		sub *stream.Subscription
		err error
	}
	done := make(chan result, 1)
	go func() {
		sub, err := s.Subscribe(context.Background(), frames.Filter{Topic: filter, QoS: q})
		done <- result{sub, err}
	}()
	c.Grant(streamtest.Next[frames.Subscribe](c))
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.sub
}

// decoded subscribes to filters and returns the channel of decoded values.
func decoded[T any](ctx context.Context, s *stream.Session, dec func(frames.Message) (T, error), filters ...frames.Filter) (<-chan stream.Event[T], error) {
	sub, err := s.Subscribe(ctx, filters...)
	if err != nil {
		return nil, err
	}
	return stream.Decode(sub, dec), nil
}

// lost waits until the session has lost its connection, and returns the reason.
func lost(t *testing.T, s *stream.Session) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for st := range s.States(ctx) {
		if !st.Online && st.Err != nil {
			if text := st.Err.Error(); !strings.HasPrefix(text, "mqtt: ") || strings.Count(text, "mqtt: ") != 1 {
				t.Errorf("the text of State.Err is %q, want the prefix mqtt: once", text)
			}
			return st.Err
		}
	}
	t.Fatal("the session did not lose its connection")
	return nil
}

// elapse lets d pass on the bubble's clock.
func elapse(d time.Duration) { <-time.After(d) }

func wantError(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Fatalf("error is %v, want %v in it", err, target)
		}
	}
}
