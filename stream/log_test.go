package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A logbook is a slog.Handler that keeps its records.
type logbook struct {
	level slog.Leveler

	mu   sync.Mutex
	list []entry
}

// An entry is one record: its message, and its attributes as plain values.
type entry struct {
	level slog.Level
	what  string
	attrs map[string]any
}

func (l *logbook) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level.Level() }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logbook) WithGroup(string) slog.Handler                    { return l }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	e := entry{r.Level, r.Message, map[string]any{}}
	r.Attrs(func(a slog.Attr) bool {
		e.attrs[a.Key] = a.Value.Any()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
	return nil
}

// take waits until all goroutines are idle, and returns the entries since its last call.
func (l *logbook) take() []entry {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// packetsOf returns a line such as "sent PUBLISH id=1 ..." for each record of a packet. The
// attributes are in alphabetical order.
func packetsOf(t *testing.T, list []entry) []string {
	t.Helper()
	var lines []string
	for _, e := range list {
		kind, ok := e.attrs["type"]
		if !ok {
			continue
		}
		if e.level != slog.LevelDebug {
			t.Errorf("%v logged at %v, want Debug", e, e.level)
		}
		line := e.what + " " + fmt.Sprint(kind)
		for _, k := range slices.Sorted(maps.Keys(e.attrs)) {
			if k != "type" {
				line += fmt.Sprintf(" %s=%v", k, e.attrs[k])
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("records\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestPacketsAreLoggedAtDebugBothWays(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelDebug}
		o := faultOptions(frames.V311)
		o.Logger = slog.New(book)
		s, c := connected(t, b, o)
		wantLines(t, packetsOf(t, book.take()),
			"sent CONNECT client=c size=15",
			"received CONNACK code=0 session present=false size=4")

		sub := subscribed(t, s, c, "in/#", 2)
		wantLines(t, packetsOf(t, book.take()),
			"sent SUBSCRIBE DUP=false filters=[{in/# exactly once}] id=65535 size=11",
			"received SUBACK DUP=false id=65535 size=5")

		for q := range frames.QoS(3) {
			m := message("out", "payload", q)
			m.Retain = q == 1
			published := goPublish(s, m)
			c.Complete(streamtest.Next[frames.Publish](c))
			wantError(t, outcome(t, published), nil)
		}
		wantLines(t, packetsOf(t, book.take()),
			"sent PUBLISH DUP=false QoS=0 id=0 retain=false size=14 topic=out",
			"sent PUBLISH DUP=false QoS=1 id=1 retain=true size=16 topic=out",
			"received PUBACK DUP=false id=1 size=4",
			"sent PUBLISH DUP=false QoS=2 id=2 retain=false size=16 topic=out",
			"received PUBREC DUP=false id=2 size=4",
			"sent PUBREL DUP=false id=2 size=4",
			"received PUBCOMP DUP=false id=2 size=4")

		in := sub.Deliveries()
		retained := publish("in/1", "payload", 1, 10, true)
		retained.Retain = true
		c.Send(publish("in/0", "payload", 0, 0, false), retained, publish("in/2", "payload", 2, 20, false))
		for range 3 {
			(<-in).Ack()
		}
		c.Expect(ack(puback, 10), ack(pubrec, 20))
		c.Send(ack(pubrel, 20))
		c.Expect(ack(pubcomp, 20))
		wantLines(t, packetsOf(t, book.take()),
			"received PUBLISH DUP=false QoS=0 id=0 retain=false size=15 topic=in/0",
			"received PUBLISH DUP=true QoS=1 id=10 retain=true size=17 topic=in/1",
			"received PUBLISH DUP=false QoS=2 id=20 retain=false size=17 topic=in/2",
			"sent PUBACK DUP=false id=10 size=4",
			"sent PUBREC DUP=false id=20 size=4",
			"received PUBREL DUP=false id=20 size=4",
			"sent PUBCOMP DUP=false id=20 size=4")

		streamtest.Next[frames.Pingreq](c)
		c.Send(frames.Pingresp{})
		wantLines(t, packetsOf(t, book.take()), "sent PINGREQ size=2", "received PINGRESP DUP=false id=0 size=2")

		go sub.Unsubscribe(context.Background())
		u := streamtest.Next[frames.Unsubscribe](c)
		id := u.ID
		c.Unsuback(u)
		wantLines(t, packetsOf(t, book.take()),
			fmt.Sprintf("sent UNSUBSCRIBE DUP=false filters=[in/#] id=%d size=10", id),
			fmt.Sprintf("received UNSUBACK DUP=false id=%d size=4", id))

		s.Close()
		c.ExpectDisconnect()
		wantLines(t, packetsOf(t, book.take()), "sent DISCONNECT size=2")
	})
}

// A retransmission is logged with DUP.
func TestDUPIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelDebug}
		o := faultOptions(frames.V311)
		o.Logger, o.KeepSession = slog.New(book), true
		s, c := connected(t, b, o)
		goPublish(s, message("t", "p", 1))
		streamtest.Next[frames.Publish](c)
		book.take()
		c.Drop()
		c = b.Handshake(true)
		c.Complete(streamtest.Next[frames.Publish](c))
		wantLines(t, packetsOf(t, book.take()),
			"sent CONNECT client=c size=15",
			"received CONNACK code=0 session present=true size=4",
			"sent PUBLISH DUP=true QoS=1 id=1 retain=false size=8 topic=t",
			"received PUBACK DUP=false id=1 size=4")
	})
}

func TestConnectionChangesAreLoggedAtInfo(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelInfo}
		o := faultOptions(frames.V311)
		o.Logger, o.KeepSession = slog.New(book), true
		refused := errors.New("out of order")
		b.Refuse(1, refused)
		s := open(t, b, o)
		b.Handshake(true).Drop()
		c := b.Handshake(false)
		up(t, s)
		c.SendBytes(body(0x00))
		c.ExpectClosed()
		lost(t, s)
		s.Close()

		type change struct {
			what, endpoint string
			cause          error
		}
		var got []change
		for _, e := range book.take() {
			if e.level != slog.LevelInfo {
				t.Errorf("%+v, want Info", e)
			}
			cause, _ := e.attrs["error"].(error)
			broken := e.what == "connection failed" || e.what == "connection lost"
			if next, planned := e.attrs["next"]; planned != broken || planned && next != faultPause {
				t.Errorf("%+v, want %v before the next attempt", e, faultPause)
			}
			got = append(got, change{e.what, fmt.Sprint(e.attrs["endpoint"]), cause})
			if resumed, ok := e.attrs["resumed"]; ok && resumed != (len(got) == 2) {
				t.Errorf("%+v, want resumed only for the first connection", e)
			}
		}
		want := []string{"connection failed", "connected", "connection lost", "connected", "connection lost", "closed"}
		if len(got) != len(want) {
			t.Fatalf("changes %+v, want %q", got, want)
		}
		for i, g := range got {
			if g.what != want[i] || g.endpoint != "mqtt://broker:1883" {
				t.Errorf("change %d: %+v, want %q", i, g, want[i])
			}
		}
		wantError(t, got[0].cause, refused)
		wantText(t, got[2].cause, "the broker closed the connection")
		wantViolation(t, got[4].cause, "reserved")
		if got[1].cause != nil || got[3].cause != nil || got[5].cause != nil {
			t.Errorf("an error logged without a failure: %+v", got)
		}
	})
}

// The log counts the failures since the last connection, as State does.
func TestFailedAttemptsAreCountedSinceTheLastConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelInfo}
		o := faultOptions(frames.V311)
		o.Logger = slog.New(book)
		s, c := connected(t, b, o)
		b.Refuse(2, errors.New("out of order"))
		c.Drop()
		lost(t, s)
		b.Handshake(false)
		up(t, s)
		var got []any
		for _, e := range book.take() {
			if e.what == "connection failed" {
				got = append(got, e.attrs["attempt"])
			}
		}
		if fmt.Sprint(got) != "[1 2]" {
			t.Errorf("attempts %v, want 1 and 2", got)
		}
	})
}

// A change of the log level takes effect at once, because the session checks the level for each
// record.
func TestLogFollowsItsLevel(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		level := new(slog.LevelVar)
		book := &logbook{level: level}
		o := faultOptions(frames.V311)
		o.Logger = slog.New(book)
		exchange := func(s *stream.Session, c *streamtest.Conn) {
			published := goPublish(s, message("t", "p", 1))
			c.Complete(streamtest.Next[frames.Publish](c))
			wantError(t, outcome(t, published), nil)
		}
		s, c := connected(t, b, o)
		exchange(s, c)
		if list := book.take(); len(list) != 1 || list[0].what != "connected" {
			t.Errorf("at Info: %+v", list)
		}
		level.Set(slog.LevelDebug)
		c.ExpectQuiet(time.Second)
		exchange(s, c)
		if n := len(packetsOf(t, book.take())); n != 2 {
			t.Errorf("at Debug: %d packets", n)
		}
		level.Set(slog.LevelInfo)
		exchange(s, c)
		if list := book.take(); len(list) > 0 {
			t.Errorf("at Info again: %+v", list)
		}
		level.Set(slog.LevelError)
		c.Drop()
		b.Handshake(false)
		if list := book.take(); len(list) > 0 {
			t.Errorf("at Error: %+v", list)
		}
	})
}

func TestLogIsSilentWithoutALogger(t *testing.T) {
	previous := slog.Default()
	defer slog.SetDefault(previous)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := &logbook{level: slog.LevelDebug}
		slog.SetDefault(slog.New(book))
		s, c := connected(t, b, nil)
		published := goPublish(s, message("t", "p", 1))
		c.Complete(streamtest.Next[frames.Publish](c))
		wantError(t, outcome(t, published), nil)
		s.Close()
		if list := book.take(); len(list) > 0 {
			t.Errorf("the default logger got %+v", list)
		}
	})
}

// No log record contains a payload, a password or a user name.
func TestNoSecretAndNoPayloadIsLogged(t *testing.T) {
	const payload = "the-ransom-is-in-the-mill"
	const willPayload = "my-last-words"
	secrets := []string{secretUser, secretPassword, payload, willPayload}

	for name, row := range map[string]struct {
		url string
		set func(o *stream.Options)
	}{
		"in the URL": {url: "mqtt://" + secretUser + ":" + secretPassword + "@broker"},
		"in the options": {set: func(o *stream.Options) {
			o.Username, o.Password = secretUser, []byte(secretPassword)
		}},
		"from Prepare": {set: func(o *stream.Options) {
			o.Prepare = login(func(context.Context) (string, []byte, error) {
				return secretUser, []byte(secretPassword), nil
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				var text, json record
				book := &logbook{level: slog.LevelDebug}
				all := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
				o := with(b, faultOptions(v))
				o.Logger = slog.New(fanout{book, slog.NewTextHandler(&text, all), slog.NewJSONHandler(&json, all)})
				o.Will = &frames.Message{Topic: "will", Payload: []byte(willPayload)}
				o.KeepSession = true
				if row.set != nil {
					row.set(o)
				}
				url := row.url
				if url == "" {
					url = "mqtt://broker"
				}
				b.Refuse(1, nil)
				s, err := stream.Open(url, o)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				c := b.Accept()
				if got := c.ExpectConnect(); got.UserName != secretUser || string(got.Password) != secretPassword {
					t.Fatalf("CONNECT %+v", got)
				}
				c.Connack(false, frames.BadUserNameOrPassword)
				c = b.Handshake(false)

				// The script makes all calls that carry a payload, and sends or receives payloads
				// in packets that fail.
				sub := subscribed(t, s, c, "in/#", 2)
				in := sub.Deliveries()
				receipts := make(chan stream.Receipt) // unbuffered, so that Receipts wait for a reader
				for q := range frames.QoS(3) {
					s.Publishes() <- stream.Publishing{Message: message("out", payload, q), Tag: payload, Ack: receipts}
					c.Complete(streamtest.Next[frames.Publish](c))
				}
				for range 3 {
					<-receipts
				}
				if err := s.Publish(aMinute(t), message("#", payload, 1)); err == nil {
					t.Error("Publish to # succeeded")
				}
				goPublish(s, message("out", payload, 2))
				c.Send(ack(puback, streamtest.Next[frames.Publish](c).ID))
				for q := range frames.QoS(3) {
					c.Send(publish("in/x", payload, q, uint16(q), false), publish("unclaimed", payload, q, 10+uint16(q), false))
					wantDelivery(t, in, "in/x", payload).Ack()
				}
				c.Expect(ack(puback, 1))
				c.SendBytes(body(0x36, field("in/x"), 0, 1, payload))
				synctest.Wait()
				c = b.Handshake(true)
				c.Grant(streamtest.Next[frames.Subscribe](c))
				goPublish(s, message("out", payload, 1))
				streamtest.Next[frames.Publish](c)
				c.SendBytes(body(0x30, 0xFF, 0xFF, payload)) // the payload is where the topic belongs
				elapse(time.Millisecond)
				c = b.Accept()
				c.ExpectConnect()
				c.Send(publish("in/x", payload, 0, 0, false)) // a PUBLISH instead of CONNACK
				c.ExpectClosed()                              // with a will there is no DISCONNECT
				synctest.Wait()
				s.Close()

				if n := len(book.take()); n < 25 {
					t.Errorf("only %d records", n)
				}
				wantHidden(t, text.String(), secrets...)
				wantHidden(t, json.String(), secrets...)
				wantHidden(t, fmt.Sprintf("%+v", <-s.States(context.Background())), secrets...)
			})
		})
	}
}

// fanout passes records to several handlers.
type fanout []slog.Handler

func (f fanout) Enabled(context.Context, slog.Level) bool { return true }
func (f fanout) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f fanout) WithGroup(string) slog.Handler            { return f }

func (f fanout) Handle(ctx context.Context, r slog.Record) error {
	for _, h := range f {
		if err := h.Handle(ctx, r.Clone()); err != nil {
			return err
		}
	}
	return nil
}
