package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

const selected = "Sec-WebSocket-Protocol: mqtt"

// overWebSocket runs a script in a bubble with a session that opens url.
func overWebSocket(t *testing.T, url string, o *stream.Options, script func(t *testing.T, b *streamtest.Broker, s *stream.Session)) {
	t.Helper()
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, err := stream.Open(url, with(b, o))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		script(t, b, s)
	})
}

// [MQTT-6.0.0-1] [MQTT-6.0.0-3]
func TestPacketsTravelInBinaryFramesOfSubprotocolMQTT(t *testing.T) {
	for v, offer := range map[frames.Version]string{frames.V311: "mqtt", frames.V31: "mqtt,mqttv3.1"} {
		overWebSocket(t, "ws://broker", faultOptions(v), func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
			c, w := upgrade(t, b, selected)
			if got := w.request.Header.Get("Sec-WebSocket-Protocol"); got != offer {
				t.Errorf("%v: offers %q, want %q", v, got, offer)
			}
			c.Handshake(false)
			up(t, s)
			done := goPublish(s, message("out", strings.Repeat("x", 70_000), 1))
			c.Complete(streamtest.Next[frames.Publish](c))
			if err := outcome(t, done); err != nil {
				t.Error(err)
			}
			down := callClose(t, s)
			streamtest.Next[frames.Disconnect](c)
			c.Raw().Close()
			if err := down.after(0); err != nil {
				t.Error(err)
			}
			if slices.ContainsFunc(w.opcodes, func(o byte) bool { return o != wsBinary }) {
				t.Errorf("frames of other kinds: %v", w.opcodes)
			}
		})
	}
}

// U5: a ping is answered while a long packet is written to a slow line.
func TestPingIsAnsweredDuringASlowWrite(t *testing.T) {
	overWebSocket(t, "ws://broker", nil, func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
		c, w := upgrade(t, b, selected)
		c.Handshake(false)
		up(t, s)
		c.SetRate(5<<10, 0)
		call := goPublish(s, message("out", strings.Repeat("x", 1<<20), atMost))
		over, pings := make(chan struct{}), make(chan int, 1)
		go func() {
			for n := 1; ; n++ {
				w.frame(wsPing, true, []byte("alive?"))
				select {
				case <-time.After(20 * time.Second):
				case <-t.Context().Done():
					return
				case <-over:
					pings <- n
					return
				}
			}
		}()
		streamtest.Next[frames.Publish](c)
		if err := outcome(t, call); err != nil {
			t.Error(err)
		}
		close(over)
		want, pongs := <-pings, 0
		for _, opcode := range w.opcodes {
			if opcode == wsPong {
				pongs++
			}
		}
		if pongs < want-1 || want < 5 {
			t.Errorf("%d pongs for %d pings", pongs, want)
		}
	})
}

// U4: while consumers sleep, nothing is read, and no ping of the server is answered. Unsolicited
// pongs show the server that the client is alive.
func TestPongsAreSentWhileReadingPauses(t *testing.T) {
	o := &stream.Options{MaxUnread: smallUnread, KeepAlive: -1, SlowConsumer: -1}
	overWebSocket(t, "ws://broker", o, func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
		c, w := upgrade(t, b, selected)
		c.Handshake(false)
		sub := subscribed(t, s, c, "a", atLeast)
		const n = 20
		for i := range n {
			c.Send(publish("a", strings.Repeat("x", 1024), atLeast, uint16(i+1), false))
		}
		elapse(4 * time.Second)
		if !s.Stats().Paused || w.in.Buffered() > 0 {
			t.Fatal("reading does not pause, or a pong is early")
		}
		began := time.Now()
		go s.Publish(t.Context(), message("b", strings.Repeat("y", 100_000), atMost))
		var last time.Duration
		for pongs, bytes := 0, 0; pongs < 6; {
			opcode, payload, err := w.next()
			switch {
			case err != nil:
				t.Fatal(err)
			case opcode == wsBinary:
				bytes += len(payload)
			case opcode != wsPong || len(payload) > 0:
				t.Fatalf("opcode %d with %d bytes", opcode, len(payload))
			default:
				if at := time.Since(began); pongs > 0 && at-last != 5*time.Second || bytes < 100_000 {
					t.Errorf("pong %d after %v; %d bytes before it", pongs, at-last, bytes)
				}
				last, pongs = time.Since(began), pongs+1
			}
		}
		for range n {
			takeFrom(t, sub.Deliveries()).Ack()
		}
		for i := range n {
			c.Expect(ack(puback, uint16(i+1)))
		}
		w.opcodes = nil
		c.ExpectQuiet(time.Hour) // the session reads, and waits for the server's pings
		if len(w.opcodes) > 0 {
			t.Errorf("frames with opcodes %d", w.opcodes)
		}
		w.frame(wsPing, true, []byte("p"))
		c.ExpectQuiet(time.Second)
		if string(w.opcodes) != string([]byte{wsPong}) {
			t.Errorf("frames with opcodes %d", w.opcodes)
		}
	})
}

// A server that demands pongs also keeps the connection of a slow consumer. The session reads again
// and again, but comes to the pings only after the messages before them.
func TestPongsAreSentWhileAConsumerIsSlow(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		a := newAuthority(t)
		o := &stream.Options{MaxUnread: smallUnread, SlowConsumer: -1, TLS: &tls.Config{RootCAs: a.pool}}
		s, err := stream.Open("wss://broker", with(b, o))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := b.Accept()
		c.Wrap(tls.Server(c.Raw(), &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}))
		w := upgradeOver(t, c, selected)
		c.Handshake(false)
		sub := subscribed(t, s, c, "a", atLeast)
		const n = 500
		for i := range n {
			c.Send(publish("a", strings.Repeat("x", 1024), atLeast, uint16(i+1), false))
		}
		go func() { // demands a pong every ten seconds
			defer w.Close()
			for last := time.Now(); time.Since(last) <= 10*time.Second; {
				switch opcode, _, err := w.next(); {
				case err != nil:
					return
				case opcode == wsPong:
					last = time.Now()
				case opcode == wsPing:
					t.Error("the client sends pings")
				}
			}
			t.Error("no pong for ten seconds")
		}()
		for range n {
			w.frame(wsPing, true, nil)
			takeFrom(t, sub.Deliveries()).Ack()
			elapse(time.Second)
		}
	})
}

// [MQTT-6.0.0-2] W2, W3: a packet may extend over many frames, a frame may hold many packets, and
// control frames may come in between.
func TestFramesAndPacketsNeedNotAlign(t *testing.T) {
	overWebSocket(t, "ws://broker/mqtt", faultOptions(frames.V311), func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
		c, w := upgrade(t, b, selected)
		c.ExpectConnect()
		all := encoded(t, frames.V311, frames.Connack{}, publish("f", "1", 1, 1, false), publish("f", "2", 1, 2, false))
		for i := range all {
			w.frame(wsPing, true, []byte("are you there"))
			w.frame(wsBinary, false, all[i:i+1])
			w.frame(wsContinuation, true, nil)
		}
		in := s.Deliveries()
		wantDelivery(t, in, "f", "1").Ack()
		wantDelivery(t, in, "f", "2").Ack()
		c.Expect(ack(puback, 1), ack(puback, 2))
		w.frame(wsBinary, true, encoded(t, frames.V311, publish("f", "3", 1, 3, false), publish("f", "4", 1, 4, false)))
		wantDelivery(t, in, "f", "3")
		wantDelivery(t, in, "f", "4")
		if n := len(slices.DeleteFunc(w.opcodes, func(o byte) bool { return o != wsPong })); n < len(all) {
			t.Errorf("%d pongs for %d pings", n, len(all))
		}
	})
}

// [MQTT-6.0.0-1] W1
func TestATextFrameCloses(t *testing.T) {
	overWebSocket(t, "ws://broker", faultOptions(frames.V311), func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
		c, w := upgrade(t, b, selected)
		c.Handshake(false)
		up(t, s)
		w.frame(wsText, true, encoded(t, frames.V311, publish("f", "text", 1, 1, false)))
		wantText(t, offline(t, s).Err, "MessageText")
		c.ExpectClosed()
		wantNoDelivery(t, s.Deliveries())
	})
}

// W4: a close frame of the server, with or without a status, ends the connection.
func TestACloseFrameEndsTheConnection(t *testing.T) {
	for name, payload := range map[string][]byte{"going away": {0x03, 0xe9}, "policy violation": {0x03, 0xf0}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			overWebSocket(t, "ws://broker", faultOptions(frames.V311), func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
				c, w := upgrade(t, b, selected)
				c.Handshake(false)
				up(t, s)
				w.frame(wsClose, true, payload)
				if err := offline(t, s).Err; err == nil {
					t.Error("no reason is shown")
				}
				c.Raw().Close()
				start := time.Now()
				c, _ = upgrade(t, b, selected)
				wantElapsed(t, start, faultPause)
				c.Handshake(false)
				up(t, s)
			})
		})
	}
}

// W5: if the HTTP status is not 101, the error gives the status. The client does not follow a
// redirect.
func TestTheStatusOfAnHTTPAnswerIsInTheError(t *testing.T) {
	for _, answer := range [][]string{
		{"302 Found", "Location: ws://elsewhere/mqtt", "Content-Length: 0"},
		{"401 Unauthorized", "WWW-Authenticate: Basic", "Content-Length: 0"},
		{"503 Service Unavailable", "Content-Length: 0"},
		{"200 OK", "Content-Length: 0"},
	} {
		t.Run(answer[0], func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				done := goDial(t.Context(), t, b, "ws://broker", nil)
				w := newWebSocket(t, b.Accept())
				w.asked()
				w.answer(answer...)
				var refused *stream.HTTPError
				if err := outcome(t, done); !errors.As(err, &refused) || !strings.Contains(err.Error(), answer[0]) {
					t.Errorf("error %v, want status %s", err, answer[0])
				}
				b.ExpectNoDial(time.Hour)
			})
		})
	}
}

// [MQTT-6.0.0-4]
func TestAServerMustSelectASubprotocol(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		done := goDial(t.Context(), t, b, "ws://broker", nil)
		upgrade(t, b)
		wantText(t, outcome(t, done), "subprotocol")

		done = goDial(t.Context(), t, b, "ws://broker", nil)
		upgrade(t, b, "Sec-WebSocket-Protocol: chat")
		wantText(t, outcome(t, done), "chat")

		done = goDial(t.Context(), t, b, "ws://broker", &stream.Options{AnySubprotocol: true})
		c, _ := upgrade(t, b)
		c.Handshake(false)
		if err := outcome(t, done); err != nil {
			t.Error(err)
		}
	})
}

func TestWebSocketURLsAndHeaders(t *testing.T) {
	for _, row := range []struct{ url, addr, target, host, shown string }{
		{"ws://broker", "broker:80", "/mqtt", "broker", "ws://broker:80/mqtt"},
		{"ws://broker/", "broker:80", "/", "broker", "ws://broker:80/"},
		{"ws://user:hush@broker:8080/a%20b?token=hush", "broker:8080", "/a%20b?token=hush", "broker:8080", "ws://broker:8080/a%20b"},
		{"ws://[::1]:80/x", "[::1]:80", "/x", "[::1]", "ws://[::1]:80/x"},
	} {
		t.Run(row.url, func(t *testing.T) {
			asked := 0
			o := &stream.Options{Prepare: headers(func(context.Context) (http.Header, error) {
				asked++
				return http.Header{"Authorization": {"Bearer " + strings.Repeat("I", asked)}}, nil
			}), Reconnect: every(time.Second)}
			overWebSocket(t, row.url, o, func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
				for _, token := range []string{"Bearer I", "Bearer II"} { // Header is called for each connection
					c, w := upgrade(t, b, selected)
					if _, addr := c.Dialed(); addr != row.addr {
						t.Errorf("dialed %s, want %s", addr, row.addr)
					}
					if w.request.RequestURI != row.target || w.request.Host != row.host {
						t.Errorf("asked %s for %s, want %s for %s", w.request.Host, w.request.RequestURI, row.host, row.target)
					}
					if got := w.request.Header.Get("Authorization"); got != token {
						t.Errorf("Authorization is %q, want %q", got, token)
					}
					c.Handshake(false)
					up(t, s)
					if st := <-s.States(t.Context()); st.Endpoint != row.shown {
						t.Errorf("shown as %q, want %q", st.Endpoint, row.shown)
					}
					c.Raw().Close()
					offline(t, s)
				}
			})
		})
	}
}

// The query of a URL and the headers may hold a token. They occur in no error and no log record.
func TestSecretsOfAWebSocketAreNeverShown(t *testing.T) {
	const secret = "h-u-s-h"
	var log record
	o := &stream.Options{
		Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Prepare: headers(func(context.Context) (http.Header, error) { return http.Header{"Authorization": {secret}}, nil }),
	}
	for name, fail := range map[string]func(*streamtest.Conn){
		"closed":   func(c *streamtest.Conn) { c.Drop() },
		"reset":    func(c *streamtest.Conn) { c.Abort() },
		"not HTTP": func(c *streamtest.Conn) { io.WriteString(c.Raw(), "hello\r\n\r\n") },
		"status 403": func(c *streamtest.Conn) {
			io.WriteString(c.Raw(), "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		},
		"silence": func(c *streamtest.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				done := goDial(t.Context(), t, b, "ws://u:"+secret+"@broker/?token="+secret, o)
				fail(b.Accept())
				err := outcome(t, done)
				if err == nil {
					t.Fatal("no error")
				}
				wantHidden(t, err.Error(), secret)
			})
		})
	}
	wantHidden(t, log.String(), secret)
}

// With wss the client makes a TLS connection for HTTP/1.1, and then opens the WebSocket over it.
func TestAWebSocketOverTLS(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		a := newAuthority(t)
		s, err := stream.Open("wss://broker", with(b, &stream.Options{TLS: &tls.Config{RootCAs: a.pool}}))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := b.Accept()
		if _, addr := c.Dialed(); addr != "broker:443" {
			t.Errorf("dialed %s", addr)
		}
		secured := tls.Server(c.Raw(), &tls.Config{
			Certificates: []tls.Certificate{a.issue(t, nil)},
			NextProtos:   []string{"h2", "http/1.1"},
		})
		c.Wrap(secured)
		upgradeOver(t, c, selected)
		if p := secured.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("negotiated %q", p)
		}
		c.Handshake(false)
		up(t, s)
		c.Send(publish("f", "1", 1, 1, false))
		wantDelivery(t, s.Deliveries(), "f", "1").Ack()
		c.Expect(ack(puback, 1))
	})
}
