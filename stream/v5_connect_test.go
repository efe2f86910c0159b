package stream_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// five returns the options o for MQTT 5.
func five(o stream.Options) *stream.Options {
	o.Version = frames.V5
	return &o
}

// greeted accepts the next connection of s with a CONNACK of MQTT 5.
func greeted(t *testing.T, b *streamtest.Broker, s *stream.Session, present bool, p *frames.ConnackProperties) (*streamtest.Conn, frames.Connect) {
	t.Helper()
	c := b.Accept()
	hello := c.ExpectConnect()
	c.Send(frames.Connack{SessionPresent: present, Properties: p})
	<-s.Online()
	return c, hello
}

// welcomed opens a session of MQTT 5 and accepts its first connection.
func welcomed(t *testing.T, b *streamtest.Broker, o stream.Options, p *frames.ConnackProperties) (*stream.Session, *streamtest.Conn) {
	t.Helper()
	s := open(t, b, five(o))
	c, _ := greeted(t, b, s, false, p)
	return s, c
}

func ptr[T any](v T) *T { return &v }

// V5. A property that CONNACK does not have, a value out of range and a wrong length end the
// attempt with the reason code.
func TestABadConnackIsAnsweredWithItsReason(t *testing.T) {
	connack := func(properties ...byte) []byte {
		b := append([]byte{0x20, byte(3 + len(properties)), 0, 0, byte(len(properties))}, properties...)
		return b
	}
	for name, c := range map[string]struct {
		bytes []byte
		code  frames.ReasonCode
	}{
		"receive maximum twice":      {connack(0x21, 0, 1, 0x21, 0, 1), frames.ProtocolViolation},
		"message expiry interval":    {connack(0x02, 0, 0, 0, 1), frames.ProtocolViolation},
		"receive maximum 0":          {connack(0x21, 0, 0), frames.ProtocolViolation},
		"maximum QoS 2":              {connack(0x24, 2), frames.ProtocolViolation},
		"maximum packet size 0":      {connack(0x27, 0, 0, 0, 0), frames.ProtocolViolation},
		"retain available 2":         {connack(0x25, 2), frames.ProtocolViolation},
		"properties beyond the end":  {[]byte{0x20, 4, 0, 0, 9, 0x24}, frames.MalformedPacket},
		"length in too many bytes":   {[]byte{0x20, 4, 0, 0, 0x80, 0}, frames.MalformedPacket},
		"a name that is not UTF-8":   {connack(0x26, 0, 1, 0xFF, 0, 1, 'v'), frames.MalformedPacket},
		"session present when clean": {[]byte{0x20, 3, 1, 0, 0}, frames.ProtocolViolation}, // V11
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, five(stream.Options{}))
				conn := b.Accept()
				conn.ExpectConnect()
				conn.SendBytes(c.bytes)
				conn.ExpectDisconnectCode(c.code)
				wantViolation(t, offline(t, s).Err, "CONNACK")
			})
		})
	}
}

// V16. A first packet that is not CONNACK ends the attempt, and the error names it.
func TestAFirstPacketInPlaceOfConnackIsAnsweredWithProtocolError(t *testing.T) {
	for _, p := range []frames.Packet{
		frames.Disconnect{Code: frames.ServerBusy},
		frames.Auth{Code: frames.ContinueAuthentication, Method: "M"},
		publish("a", "x", 0, 0, false),
	} {
		t.Run(p.Type().String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, five(stream.Options{}))
				c := b.Accept()
				c.ExpectConnect()
				c.Send(p)
				c.ExpectDisconnectCode(frames.ProtocolViolation)
				wantViolation(t, offline(t, s).Err, p.Type().String()+": came in place of CONNACK")
			})
		})
	}
}

// V6. A clean client needs no client identifier at all. An identifier for a client that has one is
// ignored and logged. A kept session needs one.
func TestAClientIdentifierIsAssignedOnlyToAClientWithoutOne(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, _ := welcomed(t, b, stream.Options{}, nil)
		if id := s.State().Server.ClientID; id != "" {
			t.Errorf("client identifier %q", id)
		}
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logBook{}
		s, _ := welcomed(t, b, stream.Options{ClientID: "mine", Logger: book.logger()}, &frames.ConnackProperties{AssignedClientID: "x"})
		if id := s.State().Server.ClientID; id != "mine" || book.count("assigned=x") != 1 {
			t.Errorf("client identifier %q, logged %d times", id, book.count("assigned=x"))
		}
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, five(stream.Options{KeepSession: true}))
		c := b.Handshake(false)
		c.ExpectDisconnectCode(frames.ProtocolViolation)
		wantViolation(t, offline(t, s).Err, "no assigned client identifier")
	})
}

// V7. The session goes on under the identifier that the broker has assigned: on the next
// connection, and in the next process with the Store.
func TestAnAssignedClientIdentifierIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		o := stream.Options{KeepSession: true, Store: store}
		s := open(t, b, five(o))
		c, hello := greeted(t, b, s, false, &frames.ConnackProperties{AssignedClientID: "X"})
		if hello.ClientID != "" || hello.CleanSession || s.State().Server.ClientID != "X" {
			t.Fatalf("CONNECT %+v, Server %+v", hello, s.State().Server)
		}
		c.Drop()
		c, hello = greeted(t, b, s, true, nil)
		if hello.ClientID != "X" || hello.CleanSession {
			t.Errorf("the second CONNECT is %+v", hello)
		}
		go s.Close()
		c.ExpectDisconnectCode(frames.Success)
		<-s.Done()

		snap, err := store.Attach("X")
		if err != nil || snap.Owner != "X" || snap.Session.ClientID != "X" {
			t.Fatalf("the Store has %+v, %v", snap, err)
		}
		store.Detach()
		s = open(t, b, five(o))
		if _, hello = greeted(t, b, s, true, nil); hello.ClientID != "X" || hello.CleanSession {
			t.Errorf("the CONNECT of the next process is %+v", hello)
		}
	})
}

// V8. The keep alive of the broker counts. Each CONNECT asks for that of the options.
func TestTheKeepAliveOfTheBrokerCounts(t *testing.T) {
	for server, first := range map[uint16]time.Duration{5: 4500 * time.Millisecond, 65535: 58981500 * time.Millisecond} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, five(stream.Options{}))
			c := b.Accept()
			c.ExpectConnect()
			start := time.Now()
			c.Send(frames.Connack{Properties: &frames.ConnackProperties{ServerKeepAlive: &server}})
			for n := range 2 {
				if n > 0 && server > 1000 {
					break
				}
				for time.Since(start) < first {
					c.ExpectQuiet(min(30*time.Minute, first-time.Since(start)) - time.Millisecond)
					elapse(time.Millisecond)
				}
				c.Expect(frames.Pingreq{})
				start = time.Now()
				c.Send(frames.Pingresp{})
			}
			if got := s.State().Server.KeepAlive; got != time.Duration(server)*time.Second {
				t.Errorf("Server.KeepAlive is %v", got)
			}
			c.Drop()
			if hello := b.Accept().ExpectConnect(); hello.KeepAlive != 60 {
				t.Errorf("the next CONNECT asks for %v s", hello.KeepAlive)
			}
		})
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := welcomed(t, b, stream.Options{}, &frames.ConnackProperties{ServerKeepAlive: ptr(uint16(0))})
		c.ExpectQuiet(24 * time.Hour)
	})
}

// V9, V15, V25. CONNECT announces the limits of the options, the same ones on every connection. A
// kept session is for ever unless SessionExpiry is set, and a clean one asks for no expiry.
func TestConnectAnnouncesTheLimitsOfTheOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o      stream.Options
		expiry uint32
	}{
		"kept for ever": {stream.Options{KeepSession: true, ClientID: "k"}, 0xFFFFFFFF},
		"kept for 90.5 s": {stream.Options{KeepSession: true, ClientID: "k",
			V5: stream.OptionsV5{SessionExpiry: 90500 * time.Millisecond}}, 91},
		"clean": {stream.Options{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				c.o.MaxPacket, c.o.V5.ReceiveMaximum, c.o.V5.TopicAliases = 5000, 7, 3
				s := open(t, b, five(c.o))
				for range 2 {
					conn, hello := greeted(t, b, s, false, nil)
					p := hello.Properties
					if p.MaximumPacket != 5000 || p.ReceiveMaximum != 7 || p.TopicAliasMaximum != 3 ||
						p.SessionExpiry != c.expiry || hello.CleanSession == c.o.KeepSession {
						t.Errorf("CONNECT is %+v with %+v", hello, p)
					}
					conn.Drop()
					lost(t, s)
				}
			})
		})
	}
}

// V10, V30. The error of a refused connection has the reason and the user properties. The text
// quotes at most 1,024 bytes of the reason.
func TestARefusedConnectionTellsTheReason(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, five(stream.Options{}))
		c := b.Accept()
		c.ExpectConnect()
		long := "no\r\n" + strings.Repeat("x", 60000)
		user := []frames.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}
		c.Send(frames.Connack{Code: frames.RetainNotSupported, Properties: &frames.ConnackProperties{Reason: long, User: user}})
		err := offline(t, s).Err
		wantError(t, err, frames.RetainNotSupported)
		var refused *stream.ConnectError
		if !errors.As(err, &refused) || refused.Reason != long || len(refused.User) != 2 || refused.User[1] != user[1] {
			t.Fatalf("%.200v", err)
		}
		if text := err.Error(); len(text) > 1200 || strings.ContainsAny(text, "\r\n") || !strings.Contains(text, `no\r\n`) {
			t.Errorf("%d bytes: %.100q", len(text), text)
		}
	})
}

// V11, D-1. A session that the broker has and this client does not know is taken over, with one
// Warn.
func TestAnUnknownSessionOfTheBrokerIsTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelWarn}
		s := open(t, b, five(stream.Options{KeepSession: true, ClientID: "k", Logger: slog.New(book)}))
		c, _ := greeted(t, b, s, true, nil)
		if !s.State().Resumed {
			t.Error("the session is not resumed")
		}
		if list := book.take(); len(list) != 1 || !strings.Contains(list[0].what, "does not know") {
			t.Errorf("logged %v", list)
		}
		c.Send(publish("a", "backlog", 1, 1, true))
		wantDelivery(t, s.Deliveries(), "a", "backlog").Ack()
		c.Expect(ack(puback, 1))
		c.Drop()
		greeted(t, b, s, true, nil)
		if list := book.take(); len(list) != 0 {
			t.Errorf("logged again: %v", list)
		}
	})
}

// V12, V14. When the broker has lost the session, a PUBLISH is sent as a new one. A publication
// past PUBREC ends, and no PUBREL is sent. Identifiers of received QoS 2 messages are free.
func TestALostSessionEndsExchangesPastPubrec(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 4)
		store := flow.NewMemoryStore()
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Store: store, Window: 4, Ack: acks}, nil)
		sendAll(s, message("a", "1", 1), message("b", "2", 2), message("c", "3", 2))
		c.Expect(publish("a", "1", 1, 1, false), publish("b", "2", 2, 2, false), publish("c", "3", 2, 3, false))
		c.Send(ack(pubrec, 2), publish("in", "x", 2, 9, false))
		c.Expect(ack(pubrel, 2))
		wantDelivery(t, s.Deliveries(), "in", "x").Ack()
		c.Expect(ack(pubrec, 9))
		c.Drop()
		c, _ = greeted(t, b, s, false, nil)
		r := wantReceipt(t, acks, nil, stream.ErrUnconfirmed, stream.ErrSessionLost)
		if r.Topic != "b" {
			t.Errorf("the Receipt is of %q", r.Topic)
		}
		c.Expect(publish("a", "1", 1, 1, false), publish("c", "3", 2, 3, false))
		c.Send(publish("in", "y", 2, 9, false))
		wantDelivery(t, s.Deliveries(), "in", "y")
		if s.State().Resumed {
			t.Error("the session is resumed")
		}
		go s.Close()
		c.Rest()
		<-s.Done()
		snap, err := store.Attach("k")
		if err != nil || len(snap.Publications) != 2 || len(snap.Received) != 0 {
			t.Errorf("the Store has %+v, %v", snap, err)
		}
	})
}

// V13. The session expiry of CONNACK counts. A DISCONNECT that ends the session is not sent where
// the session ends anyway.
func TestTheSessionExpiryOfTheBrokerCounts(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Store: store},
			&frames.ConnackProperties{SessionExpiry: ptr(uint32(30))})
		if got := s.State().Server.SessionExpiry; got != 30*time.Second {
			t.Errorf("Server.SessionExpiry is %v", got)
		}
		c.Drop()
		c, hello := greeted(t, b, s, true, nil)
		if got := s.State().Server.SessionExpiry; got >= 0 || hello.Properties.SessionExpiry != 0xFFFFFFFF {
			t.Errorf("Server.SessionExpiry is %v after CONNECT asked for %d", got, hello.Properties.SessionExpiry)
		}
		go s.Close()
		if d := streamtest.Next[frames.Disconnect](c); d.SessionExpiry != nil {
			t.Errorf("DISCONNECT is %+v", d)
		}
		c.Drop()
		<-s.Done()
		if snap, _ := store.Attach("k"); snap.Session == nil || snap.Session.Expiry != 0xFFFFFFFF {
			t.Errorf("the Store has %+v", snap.Session)
		}
	})
}
