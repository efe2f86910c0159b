package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// C1 to C12 are the numbers of known faults of MQTT clients. Each test is for the faults named
// above it.

// turnedAway requires that an answer to CONNECT makes the attempt fail. First it tests Dial, which
// returns the error. Then it tests an open session, which shows the error in its State and
// reconnects after its interval.
func turnedAway(t *testing.T, b *streamtest.Broker, v frames.Version, answer func(c *streamtest.Conn), check func(err error)) {
	t.Helper()
	start := time.Now()
	dialed := goDial(t.Context(), t, b, "mqtt://broker", faultOptions(v))
	c := b.Accept()
	c.ExpectConnect()
	answer(c)
	err := outcome(t, dialed)
	if err == nil {
		t.Fatal("Dial succeeded")
	}
	check(err)
	wantElapsed(t, start, 0)

	s := open(t, b, faultOptions(v))
	c = b.Accept()
	c.ExpectConnect()
	answer(c)
	st := offline(t, s)
	check(st.Err)
	if st.Attempt != 1 || st.Resumed {
		t.Fatalf("state %+v after the first attempt", st)
	}
	select {
	case <-s.Online():
		t.Fatal("the session is online")
	default:
	}
	returns(t, b, s, nil, start)
	if st := <-s.States(t.Context()); !st.Online || st.Err != nil || st.Attempt != 0 {
		t.Fatalf("state %+v after the connection", st)
	}
}

// C1 [MQTT-3.1.4-5] [MQTT-3.2.2-5]
func TestConnectErrorTellsTheRefusalCodesApart(t *testing.T) {
	codes := []frames.ReasonCode{
		frames.UnsupportedProtocolVersion, frames.ClientIdentifierNotValid, frames.ServerUnavailable,
		frames.BadUserNameOrPassword, frames.NotAuthorized,
	}
	for i, code := range codes {
		t.Run("C1 CONNACK "+code.Error(), func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				turnedAway(t, b, v, func(c *streamtest.Conn) {
					c.Connack(false, code)
					c.ExpectClosed()
				}, func(err error) {
					wantRefusal(t, err, code)
					for j, other := range codes {
						if j != i && errors.Is(err, other) {
							t.Fatalf("%v is also %v", err, other)
						}
					}
				})
			})
		})
	}
}

func wantRefusal(t *testing.T, err error, code frames.ReasonCode) {
	t.Helper()
	var refused *stream.ConnectError
	if !errors.As(err, &refused) || refused.Code != code || !errors.Is(err, code) {
		t.Fatalf("error is %v, want a ConnectError of %v", err, code)
	}
}

// C2 [MQTT-3.2.2-6]
func TestReservedConnackCodesRefuse(t *testing.T) {
	for _, code := range []frames.ReasonCode{6, 7, 127, 128, 255} {
		t.Run("C2 "+code.Error(), func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				turnedAway(t, b, v, func(c *streamtest.Conn) {
					c.Connack(false, code)
					c.ExpectClosed()
				}, func(err error) { wantRefusal(t, err, code) })
			})
		})
	}
}

// C3 [MQTT-3.2.2-1]
func TestSessionPresentForACleanSession(t *testing.T) {
	t.Run("C3 closes on 3.1.1", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			turnedAway(t, b, frames.V311, func(c *streamtest.Conn) {
				c.Connack(true, frames.Success)
				c.ExpectClosed()
			}, func(err error) { wantViolation(t, err, "session present") })
		})
	})
	for _, keep := range []bool{false, true} {
		name := "C3 is ignored on 3.1, clean session"
		if keep {
			name = "C3 is ignored on 3.1, kept session"
		}
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := faultOptions(frames.V31)
				o.KeepSession = keep
				s := open(t, b, o)
				b.Handshake(true)
				up(t, s)
				if st := <-s.States(t.Context()); !st.Online || st.Resumed {
					t.Errorf("state %+v", st)
				}
			})
		})
	}
	t.Run("C3 shows as Resumed for a kept session on 3.1.1", func(t *testing.T) { // [MQTT-3.2.2-2]
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			o := faultOptions(frames.V311)
			o.KeepSession = true
			s := open(t, b, o)
			b.Handshake(true)
			up(t, s)
			if st := <-s.States(t.Context()); !st.Resumed {
				t.Errorf("state %+v", st)
			}
		})
	})
}

// C4 [MQTT-2.2.2-2]
func TestConnackWithFlagBits(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"C4 reserved acknowledge flag 1":              {0x20, 2, 0x02, 0},
		"C4 reserved acknowledge flag 7":              {0x20, 2, 0x80, 0},
		"C4 all reserved acknowledge flags":           {0x20, 2, 0xFE, 0},
		"C4 reserved acknowledge flags and a session": {0x20, 2, 0xFF, 0},
	} {
		t.Run(name+" closes on 3.1.1", func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				turnedAway(t, b, frames.V311, func(c *streamtest.Conn) {
					c.SendBytes(bytes)
					c.ExpectClosed()
				}, func(err error) { wantViolation(t, err, "CONNACK") })
			})
		})
		t.Run(name+" is ignored on 3.1", func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, faultOptions(frames.V31))
				c := b.Accept()
				c.ExpectConnect()
				c.SendBytes(bytes)
				up(t, s)
			})
		})
	}
	for _, first := range []byte{0x21, 0x22, 0x28, 0x2F} {
		t.Run(fmt.Sprintf("C4 fixed header %#02x closes", first), func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				turnedAway(t, b, v, func(c *streamtest.Conn) {
					c.SendBytes([]byte{first, 2, 0, 0})
					endsWith(t, c, frames.MalformedPacket, frames.ProtocolViolation)
				}, func(err error) { wantViolation(t, err, "CONNACK: reserved flags") })
			})
		})
	}
}

// C5
func TestConnackOfAnotherLengthCloses(t *testing.T) {
	rows := map[string][]byte{
		"C5 length 0": {0x20, 0},
		"C5 length 1": {0x20, 1, 0},
		"C5 length 4": {0x20, 4, 0, 0, 0, 0},
	}
	if version < frames.V5 { // three bytes are the least at MQTT 5
		rows["C5 length 3"] = []byte{0x20, 3, 0, 0, 0}
	}
	for name, bytes := range rows {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				turnedAway(t, b, v, func(c *streamtest.Conn) {
					c.SendBytes(bytes)
					endsWith(t, c, frames.MalformedPacket, frames.ProtocolViolation)
				}, func(err error) { wantViolation(t, err, "CONNACK") })
			})
		})
	}
}

// C6 [MQTT-3.2.0-1]
func TestErrorShowsDataInPlaceOfConnack(t *testing.T) {
	for name, row := range map[string]struct {
		bytes []byte
		want  string
	}{
		"C6 HTTP":                      {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), `"HTTP/1.1 400 Bad Request"`},
		"C6 a greeting that waits":     {[]byte("SSH-2.0-OpenSSH_9.9\r\n"), `"SSH-2.0-OpenSSH_9.9\r\n"`},
		"C6 a greeting that looks fit": {[]byte("220 mail.example.com ESMTP Postfix (Debian/GNU) says hello\r\n"), `"220 mail.example.com ESM"`},
		"C6 a TLS alert":               {[]byte{0x15, 3, 1, 0, 2, 2, 70}, `"\x15\x03\x01\x00\x02\x02F"`},
		"C6 PUBLISH":                   {encoded(t, version, publish("t", "hush", 0, 0, false)), "PUBLISH"},
		"C6 PINGRESP":                  {[]byte{0xD0, 0}, "PINGRESP"},
		"C6 CONNECT come back":         {encoded(t, version, frames.Connect{ClientID: "c", Version: version}), "CONNECT"},
		"C6 SUBACK":                    {encoded(t, version, frames.Suback{ID: 1, Codes: []frames.ReasonCode{0}}), "SUBACK"},
	} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				turnedAway(t, b, v, func(c *streamtest.Conn) {
					c.SendBytes(row.bytes)
					for _, p := range c.Rest() { // at MQTT 5 a packet is answered with the reason
						if d, ok := p.(frames.Disconnect); !ok || v < frames.V5 || d.Code != frames.ProtocolViolation {
							t.Errorf("the client sent %+v", p)
						}
					}
				}, func(err error) {
					wantText(t, err, "CONNACK")
					wantText(t, err, row.want)
				})
			})
		})
	}
	t.Run("C6 PUBLISH shows no payload", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			dialed := goDial(t.Context(), t, b, "mqtt://broker", nil)
			c := b.Accept()
			c.ExpectConnect()
			c.Send(publish("t", "hush", 0, 0, false))
			endsWith(t, c, frames.ProtocolViolation)
			wantHidden(t, (outcome(t, dialed)).Error(), "hush")
		})
	})
	t.Run("C6 text and then the end", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			turnedAway(t, b, v, func(c *streamtest.Conn) {
				c.SendBytes([]byte("<html>404"))
				c.Drop()
			}, func(err error) { wantText(t, err, `"<html>404"`) })
		})
	})
	t.Run("C6 text and then silence", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			dialed := goDial(t.Context(), t, b, "mqtt://broker", nil)
			c := b.Accept()
			c.ExpectConnect()
			c.SendBytes([]byte("<html>404"))
			err := outcome(t, dialed)
			wantError(t, err, context.DeadlineExceeded)
			wantText(t, err, `"<html>404"`)
		})
	})
}

// C7 [MQTT-4.8.0-1]
func TestSecondConnackCloses(t *testing.T) {
	t.Run("C7 second CONNACK", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			start := time.Now()
			s, c := connected(t, b, faultOptions(v))
			c.Connack(false, frames.Success)
			endsWith(t, c, frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "CONNACK: a second time")
			returns(t, b, s, nil, start)
		})
	})
	t.Run("C7 second CONNACK in the segment of the first", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			start := time.Now()
			s := open(t, b, faultOptions(v))
			c := b.Accept()
			c.ExpectConnect()
			c.Send(frames.Connack{}, frames.Connack{})
			endsWith(t, c, frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "CONNACK: a second time")
			returns(t, b, s, nil, start)
		})
	})
}

// C8 [MQTT-3.1.4-4]
func TestConnectTimeoutEndsAnAttemptExactly(t *testing.T) {
	const limit = 7 * time.Second
	for name, row := range map[string]struct {
		url    string
		plan   func(b *streamtest.Broker, o *stream.Options)
		answer func(t *testing.T, b *streamtest.Broker)
	}{
		"C8 no CONNACK": {answer: func(t *testing.T, b *streamtest.Broker) {
			c := b.Accept()
			c.ExpectConnect()
			c.ExpectClosed()
		}},
		"C8 part of a CONNACK": {answer: func(t *testing.T, b *streamtest.Broker) {
			c := b.Accept()
			c.ExpectConnect()
			c.SendBytes([]byte{0x20, 2, 0})
			c.ExpectClosed()
		}},
		"C8 CONNACK in drops that come too slowly": {answer: func(t *testing.T, b *streamtest.Broker) {
			c := b.Accept()
			c.ExpectConnect()
			for _, b := range []byte{0x20, 2, 0} {
				c.SendBytes([]byte{b})
				c.ExpectQuiet(2 * time.Second)
			}
			c.ExpectClosed()
		}},
		"C8 a dial that hangs": {plan: func(b *streamtest.Broker, _ *stream.Options) { b.Hold(1) }},
		"C8 a TLS handshake that hangs": {url: "mqtts://broker", answer: func(t *testing.T, b *streamtest.Broker) {
			raw := b.Accept().Raw()
			if hello, err := io.ReadAll(raw); err != nil || len(hello) == 0 || hello[0] != 0x16 {
				t.Errorf("%.10q, %v; want a ClientHello, then the end", hello, err)
			}
		}},
		"C8 a broker that reads nothing": {answer: func(t *testing.T, b *streamtest.Broker) { b.Accept().Stall() }},
		"C8 dial and CONNACK together": {
			plan: func(b *streamtest.Broker, o *stream.Options) {
				o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					elapse(5 * time.Second)
					return b.Dial(ctx, network, addr)
				}
			},
			answer: func(t *testing.T, b *streamtest.Broker) {
				c := b.Accept()
				c.ExpectConnect()
				c.ExpectClosed()
			},
		},
		"C8 credentials that do not come": {plan: func(_ *streamtest.Broker, o *stream.Options) {
			o.Prepare = login(func(ctx context.Context) (string, []byte, error) {
				<-ctx.Done()
				return "", nil, ctx.Err()
			})
		}},
	} {
		run := func(t *testing.T, script func(t *testing.T, b *streamtest.Broker, url string, o *stream.Options)) {
			t.Helper()
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				o := with(b, faultOptions(v))
				o.ConnectTimeout = limit
				if row.plan != nil {
					row.plan(b, o)
				}
				url := row.url
				if url == "" {
					url = "mqtt://broker"
				}
				script(t, b, url, o)
			})
		}
		check := func(t *testing.T, start time.Time, err error) {
			t.Helper()
			wantElapsed(t, start, limit)
			wantError(t, err, context.DeadlineExceeded)
			wantText(t, err, "ConnectTimeout (7s)")
		}
		t.Run(name+", Dial", func(t *testing.T) {
			run(t, func(t *testing.T, b *streamtest.Broker, url string, o *stream.Options) {
				start := time.Now()
				dialed := goDial(context.Background(), t, b, url, o)
				if row.answer != nil {
					row.answer(t, b)
				}
				check(t, start, outcome(t, dialed))
			})
		})
		t.Run(name+", Open", func(t *testing.T) {
			run(t, func(t *testing.T, b *streamtest.Broker, url string, o *stream.Options) {
				start := time.Now()
				s, err := stream.Open(url, o)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if row.answer != nil {
					row.answer(t, b)
				}
				check(t, start, lost(t, s))
				if err := s.Err(); err != nil {
					t.Errorf("the session has ended: %v", err)
				}
			})
		})
	}
}

// C8
func TestConnectTimeoutCanBeSwitchedOff(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{ConnectTimeout: -1})
		c := b.Accept()
		c.ExpectConnect()
		c.ExpectQuiet(59 * time.Minute)
		c.Connack(false, frames.Success)
		up(t, s)
	})
}

// C8
func TestConnectTimeoutIsTenSecondsWhenNotSet(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		start := time.Now()
		dialed := goDial(t.Context(), t, b, "mqtt://broker", nil)
		wantText(t, outcome(t, dialed), "ConnectTimeout (10s)")
		wantElapsed(t, start, 10*time.Second)
	})
}

// C8: ConnectTimeout does not apply once the handshake is complete.
func TestConnectTimeoutEndsWithTheHandshake(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ConnectTimeout: time.Second, KeepAlive: -1})
		c.ExpectQuiet(time.Minute)
		if st := <-s.States(t.Context()); !st.Online {
			t.Errorf("state %+v", st)
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	reason := errors.New("enough")
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		start := time.Now()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, reason)
		defer cancel()
		dialed := goDial(ctx, t, b, "mqtt://broker", nil)
		c := b.Accept()
		c.ExpectConnect()
		c.ExpectClosed()
		wantError(t, outcome(t, dialed), reason)
		wantElapsed(t, start, 2*time.Second)

		wantError(t, outcome(t, goDial(ctx, t, b, "mqtt://broker", nil)), reason)
		if n := len(b.Dials()); n != 1 {
			t.Errorf("%d dials, want none after the context has ended", n)
		}
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		ctx, cancel := context.WithCancel(t.Context())
		dialed := goDial(ctx, t, b, "mqtt://broker", nil)
		c := b.Handshake(false)
		if err := outcome(t, dialed); err != nil {
			t.Fatal(err)
		}
		cancel() // the context applies to Dial, not to the session
		c.ExpectQuiet(10 * time.Second)
	})
}

// C9, C10
func TestConnackComesWithOtherPacketsOrInPieces(t *testing.T) {
	for _, q := range []frames.QoS{0, 1, 2} {
		first := frames.Connack{}
		then := publish("t", "at once", q, uint16(q)*5, false)
		for name, send := range map[string]func(c *streamtest.Conn){
			"C9 CONNACK and PUBLISH in one segment": func(c *streamtest.Conn) { c.Send(first, then) },
			"C10 byte by byte":                      func(c *streamtest.Conn) { c.SendSplit(1, first, then) },
			"C10 cut inside both":                   func(c *streamtest.Conn) { c.SendSplit(3, first, then) },
		} {
			t.Run(name+", "+q.String(), func(t *testing.T) {
				inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s := open(t, b, faultOptions(v))
					in := s.Deliveries()
					c := b.Accept()
					c.ExpectConnect()
					send(c)
					up(t, s)
					wantDelivery(t, in, "t", "at once").Ack()
					switch q {
					case frames.AtLeastOnce:
						c.Expect(ack(puback, 5))
					case frames.ExactlyOnce:
						c.Expect(ack(pubrec, 10))
						c.Send(ack(pubrel, 10))
						c.Expect(ack(pubcomp, 10))
					}
					synctest.Wait()
					c.ExpectNone()
				})
			})
		}
	}
}

// C11 [MQTT-3.2.2-4]
func TestRefusalWithSessionPresentIsTheRefusal(t *testing.T) {
	t.Run("C11 refusal with session present", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			turnedAway(t, b, v, func(c *streamtest.Conn) {
				c.Connack(true, frames.ServerUnavailable)
				c.ExpectClosed()
			}, func(err error) { wantRefusal(t, err, frames.ServerUnavailable) })
		})
	})
}

// C12 [MQTT-3.1.4-1]
func TestEndBeforeConnackIsAnErrorAtOnce(t *testing.T) {
	for name, row := range map[string]struct {
		answer func(c *streamtest.Conn)
		want   error
	}{
		"C12 EOF before CONNACK": {(*streamtest.Conn).Drop, io.ErrUnexpectedEOF},
		"C12 EOF inside CONNACK": {func(c *streamtest.Conn) {
			c.SendBytes([]byte{0x20, 2, 0})
			c.Drop()
		}, io.ErrUnexpectedEOF},
		"C12 reset before CONNACK": {(*streamtest.Conn).Abort, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				turnedAway(t, b, v, row.answer, func(err error) { wantError(t, err, row.want) })
			})
		})
	}
	t.Run("C12 refused, and closed by the broker at once", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			turnedAway(t, b, v, func(c *streamtest.Conn) {
				c.Connack(false, frames.NotAuthorized)
				c.Drop()
			}, func(err error) { wantRefusal(t, err, frames.NotAuthorized) })
		})
	})
	t.Run("C12 EOF before the TLS handshake", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			dialed := goDial(t.Context(), t, b, "mqtts://broker", &stream.Options{TLS: new(tls.Config)})
			c := b.Accept()
			synctest.Wait() // the ClientHello is on its way
			c.Drop()
			err := outcome(t, dialed)
			wantError(t, err, io.EOF)
			wantText(t, err, "TLS")
		})
	})
}

// The error of a failed dial is visible to errors.Is and errors.As, and the session retries.
func TestDialErrorIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Refuse(1, nil)
		err := outcome(t, goDial(t.Context(), t, b, "mqtt://broker", nil))
		wantError(t, err, syscall.ECONNREFUSED)
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("no *net.OpError in %v", err)
		}
		noSuchHost := &net.DNSError{Err: "no such host", Name: "broker", IsNotFound: true}
		b.Refuse(1, noSuchHost)
		start := time.Now()
		s := open(t, b, faultOptions(frames.V311))
		wantError(t, lost(t, s), noSuchHost)
		returns(t, b, s, nil, start)
	})
}

// State gives the number of attempts since the last connection, and the last error.
func TestStatesCountTheAttempts(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Refuse(3, nil)
		s := open(t, b, faultOptions(frames.V311))
		var attempts []int
		states := s.States(t.Context())
		for len(attempts) < 3 {
			if st := <-states; st.Err != nil {
				attempts = append(attempts, st.Attempt)
			}
		}
		if !slices.Equal(attempts, []int{1, 2, 3}) {
			t.Errorf("attempts %v", attempts)
		}
		b.Handshake(false)
		if st := <-states; !st.Online || st.Attempt != 0 || st.Err != nil {
			t.Errorf("state %+v", st)
		}
	})
}

// With NoReconnect a refusal ends the session, and Err returns the refusal.
func TestRefusalEndsASessionThatDoesNotReconnect(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.NoReconnect = true
		s := open(t, b, o)
		published := goPublish(s, message("t", "", 0))
		c := b.Accept()
		c.ExpectConnect()
		c.Connack(false, frames.NotAuthorized)
		c.ExpectClosed()
		<-s.Done()
		wantRefusal(t, s.Err(), frames.NotAuthorized)
		err := outcome(t, published)
		wantError(t, err, stream.ErrNotSent, stream.ErrClosed, frames.NotAuthorized)
		b.ExpectNoDial(time.Minute)
	})
}

// [MQTT-3.1.0-1] CONNECT is the first packet, and the client sends no other packet before CONNACK.
// [MQTT-3.1.0-2] CONNECT is sent once.
func TestNothingIsSentBetweenConnectAndConnack(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		b.Refuse(1, nil)
		s := open(t, b, faultOptions(v))
		published := goPublish(s, message("t", "early", 1))
		asked := goSubscribe(s, frames.Filter{Topic: "f"})
		c := b.Accept()
		c.ExpectConnect()
		c.ExpectQuiet(5 * time.Second)
		wantPending(t, published)
		c.Connack(false, frames.Success)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := errors.Join(outcome(t, published), outcome(t, asked)); err != nil {
			t.Error(err)
		}
		s.Close()
		c.ExpectDisconnect()
	})
}
