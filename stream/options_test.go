package stream_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// str returns a string of n bytes.
func str(n int) string { return strings.Repeat("x", n) }

func TestBadOptionsAreNamedBeforeAnythingIsSent(t *testing.T) {
	type options = stream.Options
	for _, row := range []struct {
		name string
		o    options
		want []string // words that the error must contain: the field and the limit
	}{
		{"Version 6", options{Version: 6}, []string{"Version", "V31 (3)", "V311 (4)", "V5 (5)"}},
		{"Version 2", options{Version: 2}, []string{"Version", "V31 (3)", "V311 (4)"}},

		{"KeepAlive one nanosecond too long", options{KeepAlive: 65535*time.Second + 1}, []string{"KeepAlive", "0 to 65535 s"}},
		{"KeepAlive of a day", options{KeepAlive: 24 * time.Hour}, []string{"KeepAlive", "24h", "0 to 65535 s"}},
		{"KeepAlive beyond measure", options{KeepAlive: math.MaxInt64}, []string{"KeepAlive", "0 to 65535 s"}},

		{"Window negative", options{Window: -1}, []string{"Window", "-1", "1 to 65535"}},
		{"Window 65536", options{Window: 65536}, []string{"Window", "65536", "1 to 65535"}},
		{"Queue negative", options{Queue: -1}, []string{"Queue", "-1", "1"}},
		{"Queue beyond measure", options{Queue: math.MaxInt}, []string{"Queue", "1073741824"}},
		{"ReceiveBytes negative", options{ReceiveBytes: -1}, []string{"ReceiveBytes", "-1", "1"}},
		{"SlowConsumer", options{SlowConsumer: 25 * time.Hour}, []string{"SlowConsumer", "25h", "24h"}},
		{"MaxUnread negative", options{MaxUnread: -1}, []string{"MaxUnread", "-1", "1"}},
		{"ReceiveBytes below MaxPacket", options{ReceiveBytes: 99, MaxPacket: 100}, []string{"ReceiveBytes", "99", "MaxPacket", "100"}},
		{"MaxUnread below MaxPacket", options{MaxUnread: 99, MaxPacket: 100}, []string{"MaxUnread", "99", "MaxPacket", "100"}},
		{"MaxPacket negative", options{MaxPacket: -1}, []string{"MaxPacket", "-1", "2 to 268435460"}},
		{"MaxPacket 1", options{MaxPacket: 1}, []string{"MaxPacket", "2 to 268435460"}},
		{"MaxPacket 268435461", options{MaxPacket: 268435461}, []string{"MaxPacket", "268435461", "2 to 268435460"}},

		{"3.1 without ClientID", options{Version: frames.V31}, []string{"client identifier", "1 to 23 characters"}},
		{"3.1, ClientID of 24 characters", options{Version: frames.V31, ClientID: str(24)}, []string{"client identifier", "1 to 23 characters", "24"}},
		{"3.1, ClientID of 24 wide characters", options{Version: frames.V31, ClientID: strings.Repeat("水", 24)}, []string{"client identifier", "1 to 23 characters", "24"}},
		{"KeepSession with Fallbacks", options{KeepSession: true, ClientID: "c", Fallbacks: []string{"mqtt://b"}}, []string{"KeepSession", "Fallbacks", "SharedSession"}}, // U23
		{"Store without KeepSession", options{Store: flow.NewMemoryStore()}, []string{"Store", "KeepSession", "ClearSession"}},                                            // U27
		{"ClearSession without Store", options{ClearSession: true}, []string{"ClearSession", "Store"}},
		{"ClearSession with KeepSession", options{ClearSession: true, KeepSession: true, ClientID: "c", Store: flow.NewMemoryStore()}, []string{"ClearSession", "KeepSession"}},
		{"QueueBytes below 0", options{QueueBytes: -1}, []string{"QueueBytes", "-1", "below 129", "0 is no limit"}},
		{"QueueBytes below every message", options{QueueBytes: 128}, []string{"QueueBytes", "128", "below 129", "0 is no limit"}},
		{"Full of no known value", options{Full: 3}, []string{"Full", "3", "EvictOldest (2)"}},
		{"KeepSession without ClientID", options{Version: frames.V311, KeepSession: true}, []string{"client identifier", "empty", "clean session"}},
		{"KeepSession without ClientID, 3.1", options{Version: frames.V31, KeepSession: true}, []string{"client identifier", "1 to 23 characters"}},
		{"ClientID of 65536 bytes", options{ClientID: str(65536)}, []string{"client identifier", "65536", "65535"}},
		{"ClientID not UTF-8", options{ClientID: "c\xFF"}, []string{"client identifier", "UTF-8"}},
		{"ClientID with a surrogate", options{ClientID: "\xED\xA0\x80"}, []string{"client identifier", "UTF-8"}},
		{"ClientID with U+0000", options{ClientID: "c\x00"}, []string{"client identifier", "U+0000"}},
		{"3.1, ClientID with U+0000", options{Version: frames.V31, ClientID: "c\x00"}, []string{"client identifier", "U+0000"}},

		{"Username of 65536 bytes", options{Username: str(65536)}, []string{"user name", "65536", "65535"}},
		{"Username not UTF-8", options{Username: "\xC0\x80"}, []string{"user name", "UTF-8"}},
		{"Username with U+0000", options{Username: "u\x00"}, []string{"user name", "U+0000"}},
		{"Password of 65536 bytes", options{Username: "u", Password: []byte(str(65536))}, []string{"password", "65536", "65535"}},
		{"Password without Username", options{Version: frames.V311, Password: []byte("p")}, []string{"password", "user name"}},
		{"Password without Username, 3.1", options{Version: frames.V31, ClientID: "c", Password: []byte("p")}, []string{"password", "user name"}},

		{"Will without topic", options{Will: &frames.Message{Payload: []byte("bye")}}, []string{"will topic", "empty"}},
		{"Will with # in its topic", options{Will: &frames.Message{Topic: "a/#"}}, []string{"will topic", "wildcard"}},
		{"Will with + in its topic", options{Will: &frames.Message{Topic: "+/a"}}, []string{"will topic", "wildcard"}},
		{"Will topic of 65536 bytes", options{Will: &frames.Message{Topic: str(65536)}}, []string{"will topic", "65536", "65535"}},
		{"Will topic not UTF-8", options{Will: &frames.Message{Topic: "w\x80"}}, []string{"will topic", "UTF-8"}},
		{"Will topic with U+0000", options{Will: &frames.Message{Topic: "w\x00"}}, []string{"will topic", "U+0000"}},
		{"Will topic of 32768 characters, 3.1", options{Version: frames.V31, ClientID: "c", Will: &frames.Message{Topic: str(32768)}}, []string{"will topic", "32768", "32767"}},
		{"Will QoS 3", options{Will: &frames.Message{Topic: "w", QoS: 3}}, []string{"will QoS", "3", "2"}},
		{"Will QoS 128", options{Will: &frames.Message{Topic: "w", QoS: 0x80}}, []string{"will QoS", "128", "2"}},
		{"Will payload of 65536 bytes", options{Will: &frames.Message{Topic: "w", Payload: make([]byte, 65536)}}, []string{"will payload", "65536", "65535"}},

		{"Retry.Initial below 1 s", options{Retry: &flow.Retry{Initial: time.Second - 1}}, []string{"Retry.Initial", "1 s to 1,024 s"}},
		{"Retry.Initial negative", options{Retry: &flow.Retry{Initial: -1}}, []string{"Retry.Initial", "1 s to 1,024 s"}},
		{"Retry.Initial above 1024 s", options{Retry: &flow.Retry{Initial: 1024*time.Second + 1}}, []string{"Retry.Initial", "1 s to 1,024 s"}},
		{"Retry.Max above 1024 s", options{Retry: &flow.Retry{Max: 1025 * time.Second}}, []string{"Retry.Max", "1,024 s"}},
		{"Retry.Max below Initial", options{Retry: &flow.Retry{Initial: 9 * time.Second, Max: 8 * time.Second}}, []string{"Retry.Max", "Retry.Initial (9s)"}},
		{"Retry.Bandwidth negative", options{Retry: &flow.Retry{Bandwidth: -1}}, []string{"Retry.Bandwidth", "above 0"}},
		{"Retry.Bandwidth no number", options{Retry: &flow.Retry{Bandwidth: math.NaN()}}, []string{"Retry.Bandwidth", "above 0"}},
		{"Retry.Factor below 1", options{Retry: &flow.Retry{Factor: 0.9}}, []string{"Retry.Factor", "below 1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				check := func(s *stream.Session, err error) {
					t.Helper()
					if s != nil || err == nil {
						s.Close()
						t.Fatal("the options opened a session")
					}
					for _, want := range row.want {
						wantText(t, err, want)
					}
					var option *stream.OptionError
					var invalid *frames.InvalidError
					if !errors.As(err, &option) && !errors.As(err, &invalid) {
						t.Errorf("an error of type %T", err)
					}
					if !strings.HasPrefix(err.Error(), "mqtt: ") {
						t.Errorf("%v does not begin with mqtt:", err)
					}
				}
				check(stream.Open("mqtt://broker", with(b, &row.o)))
				check(stream.Dial(aMinute(t), "mqtt://broker", with(b, &row.o)))
				synctest.Wait()
				if d := b.Dials(); len(d) > 0 {
					t.Errorf("dialed: %v", d)
				}
			})
		})
	}
}

func TestOptionsAtTheirLimitsWork(t *testing.T) {
	type options = stream.Options
	type connect = frames.Connect
	long := []byte(str(65535))
	for _, row := range []struct {
		name string
		o    options
		want connect
	}{
		{"none", options{}, connect{CleanSession: true, KeepAlive: 60}},
		{"KeepAlive 65535 s", options{KeepAlive: 65535 * time.Second}, connect{KeepAlive: 65535}},
		{"KeepAlive 1 s", options{KeepAlive: time.Second}, connect{KeepAlive: 1}},
		{"KeepAlive 1 ns, rounded up", options{KeepAlive: 1}, connect{KeepAlive: 1}},
		{"KeepAlive 1.5 s, rounded up", options{KeepAlive: 1500 * time.Millisecond}, connect{KeepAlive: 2}},
		{"KeepAlive 65534.5 s, rounded up", options{KeepAlive: 65534*time.Second + 1}, connect{KeepAlive: 65535}},
		{"KeepAlive off", options{KeepAlive: -1}, connect{KeepAlive: 0}},
		{"KeepAlive very much off", options{KeepAlive: math.MinInt64}, connect{KeepAlive: 0}},
		{"3.1, ClientID of 1 character", options{Version: frames.V31, ClientID: "c"}, connect{Version: frames.V31, ClientID: "c"}},
		{"3.1, ClientID of 23 wide characters", options{Version: frames.V31, ClientID: strings.Repeat("水", 23)}, connect{Version: frames.V31, ClientID: strings.Repeat("水", 23)}},
		{"ClientID of 24 characters on 3.1.1", options{ClientID: str(24)}, connect{ClientID: str(24)}}, // [MQTT-3.1.3-5]
		{"ClientID of 65535 bytes", options{ClientID: str(65535)}, connect{ClientID: str(65535)}},
		{"KeepSession", options{ClientID: "c", KeepSession: true}, connect{ClientID: "c", CleanSession: false}},
		{"KeepSession without ClientID, 5", options{Version: frames.V5, KeepSession: true}, connect{}},
		{"Password without Username, 5", options{Version: frames.V5, Password: []byte("p")}, connect{PasswordFlag: true, Password: []byte("p")}},
		{"Username alone", options{Username: "u"}, connect{UserNameFlag: true, UserName: "u"}},
		{"Username of 65535 bytes", options{Username: str(65535)}, connect{UserNameFlag: true, UserName: str(65535)}},
		{"Password of 65535 bytes", options{Username: "u", Password: long}, connect{UserNameFlag: true, UserName: "u", PasswordFlag: true, Password: long}},
		{"Password of any bytes", options{Username: "u", Password: []byte("\x00\xFF\xC0")}, connect{UserNameFlag: true, UserName: "u", PasswordFlag: true, Password: []byte("\x00\xFF\xC0")}},
		{"empty Password without Username", options{Password: []byte{}}, connect{}}, // U44
		{"empty Password", options{Username: "u", Password: []byte{}}, connect{UserNameFlag: true, UserName: "u", PasswordFlag: true, Password: []byte{}}},
		{"Will without payload", options{Will: &frames.Message{Topic: "w"}}, connect{Will: &frames.Message{Topic: "w", Payload: []byte{}}}},
		{"Will of every kind", options{Will: &frames.Message{Topic: "w", Payload: []byte("bye"), QoS: 2, Retain: true}}, connect{Will: &frames.Message{Topic: "w", Payload: []byte("bye"), QoS: 2, Retain: true}}},
		{"Will topic and payload of 65535 bytes", options{Will: &frames.Message{Topic: str(65535), Payload: long, QoS: 1}}, connect{Will: &frames.Message{Topic: str(65535), Payload: long, QoS: 1}}},
		{"Will topic of 32767 wide characters, 3.1", options{Version: frames.V31, ClientID: "c", Will: &frames.Message{Topic: strings.Repeat("ä", 32767)}}, connect{Version: frames.V31, ClientID: "c", Will: &frames.Message{Topic: strings.Repeat("ä", 32767), Payload: []byte{}}}},
		{"Window 1", options{Window: 1}, connect{}},
		{"Window 65535", options{Window: 65535}, connect{}},
		{"Queue 1", options{Queue: 1}, connect{}},
		{"ReceiveBytes 1", options{ReceiveBytes: 1}, connect{}},
		{"MaxUnread 1", options{MaxUnread: 1}, connect{}},
		{"ReceiveBytes and MaxUnread as MaxPacket", options{ReceiveBytes: 100, MaxUnread: 100, MaxPacket: 100}, connect{}},
		{"MaxPacket 268435460", options{MaxPacket: 268435460}, connect{}},
		{"Retry", options{Version: frames.V311, Retry: &flow.Retry{}}, connect{}},
		{"Retry from 1 s", options{Version: frames.V311, Retry: &flow.Retry{Initial: time.Second, Max: time.Second, Factor: 1, Bandwidth: 1e-9}}, connect{}},
		{"Retry to 1024 s", options{Version: frames.V311, Retry: &flow.Retry{Initial: 1024 * time.Second, Max: 1024 * time.Second}}, connect{}},
		{"timeouts off", options{ConnectTimeout: -1, WriteTimeout: -1}, connect{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, &row.o)
				c := b.Accept()
				got := c.ExpectConnect()
				answer := frames.Connack{}
				if got.Version >= frames.V5 && got.ClientID == "" {
					answer.Properties = &frames.ConnackProperties{AssignedClientID: "assigned"}
				}
				c.Send(answer)
				up(t, s)
				want := row.want
				want.Version = cmp.Or(row.o.Version, version)
				if want.Version >= frames.V5 {
					want.Properties = announced(&row.o)
				}
				want.CleanSession = !row.o.KeepSession
				if row.o.KeepAlive == 0 {
					want.KeepAlive = 60
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("CONNECT %.300s\nwant %.300s", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
				}
			})
		})
	}
	t.Run("MaxPacket 2", func(t *testing.T) { // a CONNACK needs four bytes, or five at MQTT 5
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s := open(t, b, &stream.Options{MaxPacket: 2})
			c := b.Accept()
			c.ExpectConnect()
			c.Connack(false, frames.Success)
			size := len(encoded(t, version, frames.Connack{}))
			var large *frames.TooLargeError
			if err := lost(t, s); !errors.As(err, &large) || large.Size != size || large.Limit != 2 {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("MaxUnread 1 lets one message through at a time", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, &stream.Options{MaxUnread: 1})
			in := s.Deliveries()
			for id := range uint16(20) {
				c.Send(publish("t", "p", 1, id+1, false))
			}
			for id := range uint16(20) {
				wantDelivery(t, in, "t", "p").Ack()
				c.Expect(ack(puback, id+1))
			}
		})
	})
}

// announced returns the properties of CONNECT at MQTT 5 for Options without properties of their
// own.
func announced(o *stream.Options) *frames.ConnectProperties {
	p := &frames.ConnectProperties{
		ReceiveMaximum: 65535, MaximumPacket: 1 << 20, RequestResponseInformation: true,
	}
	if o.MaxPacket > 0 {
		p.MaximumPacket = uint32(o.MaxPacket)
	}
	if o.KeepSession {
		p.SessionExpiry = math.MaxUint32 // for ever
	}
	return p
}

func TestNegativeKeepAliveSendsNoPing(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := connected(t, b, &stream.Options{KeepAlive: -1})
		c.ExpectQuiet(48 * time.Hour)
	})
}

// badMessages are messages that cannot be published. The words beside each message, the field and
// the limit, must be in the error.
var badMessages = []struct {
	name string
	m    frames.Message
	want []string
}{
	{"QoS 3", frames.Message{Topic: "t", QoS: 3}, []string{"QoS", "3", "2"}},
	{"QoS 128", frames.Message{Topic: "t", QoS: 0x80}, []string{"QoS", "128", "2"}},
	{"no topic", frames.Message{}, []string{"topic", "empty"}},
	{"topic with #", frames.Message{Topic: "a/#"}, []string{"topic", "wildcard"}},
	{"topic with +", frames.Message{Topic: "a/+/b"}, []string{"topic", "wildcard"}},
	{"topic with a wildcard inside a level", frames.Message{Topic: "a+b"}, []string{"topic", "wildcard"}},
	{"topic with U+0000", frames.Message{Topic: "a\x00"}, []string{"topic", "U+0000"}},
	{"topic not UTF-8", frames.Message{Topic: "a\xFF"}, []string{"topic", "UTF-8"}},
	{"topic with a surrogate", frames.Message{Topic: "\xED\xA0\x80"}, []string{"topic", "UTF-8"}},
	{"topic of 65536 bytes", frames.Message{Topic: str(65536)}, []string{"topic", "65536", "65535"}},
}

// misfit requires that err wraps ErrNotSent and an InvalidError. Its text must contain all strings
// of wants.
func misfit(t *testing.T, err error, wants []string) {
	t.Helper()
	wantError(t, err, stream.ErrNotSent)
	var invalid *frames.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v, want an InvalidError", err)
	}
	for _, want := range wants {
		wantText(t, err, want)
	}
}

// publishEveryWay publishes m with Publish, Publishes and PublishFrom. All three must reject m, and
// the client must not send a packet.
func publishEveryWay(t *testing.T, s *stream.Session, c *streamtest.Conn, m frames.Message, wants []string) {
	t.Helper()
	misfit(t, s.Publish(aMinute(t), m), wants)

	receipts := make(chan stream.Receipt, 4)
	s.Publishes() <- stream.Publishing{Message: m, Tag: "tag", Ack: receipts}
	r := wantReceipts(t, receipts, 1)[0]
	misfit(t, r.Err, wants)
	if r.Tag != "tag" || r.ID != 0 || r.Topic != m.Topic {
		t.Errorf("Receipt %+v", r)
	}

	in := make(chan frames.Message, 1)
	in <- m
	close(in)
	n := 0
	for r := range s.PublishFrom(aMinute(t), in) {
		n++
		misfit(t, r.Err, wants)
		if r.ID != 0 || r.Topic != m.Topic {
			t.Errorf("Receipt %+v", r)
		}
	}
	if n != 1 {
		t.Errorf("%d Receipts of PublishFrom, want 1", n)
	}
	synctest.Wait()
	c.ExpectNone()
	if n := s.Stats().Sent; n != 0 {
		t.Errorf("%d packets sent, want none", n)
	}
}

func TestBadMessagesAreNotSent(t *testing.T) {
	for _, row := range badMessages {
		t.Run(row.name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				publishEveryWay(t, s, c, row.m, row.want)
			})
		})
	}
	t.Run("topic of 32768 characters on 3.1", func(t *testing.T) {
		inVersions(t, only31, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			publishEveryWay(t, s, c, frames.Message{Topic: str(32768)}, []string{"topic", "32768", "32767"})
		})
	})
	t.Run("E3 a packet of one byte too many", func(t *testing.T) {
		zeros := make([]byte, frames.MaxRemaining) // only the length of the payload matters
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			for q, overhead := range []int{2 + 1, 2 + 1 + 2, 2 + 1 + 2} {
				if v >= frames.V5 {
					overhead++ // the length of the properties
				}
				m := frames.Message{Topic: "t", Payload: zeros[:frames.MaxRemaining-overhead+1], QoS: frames.QoS(q)}
				publishEveryWay(t, s, c, m, []string{"packet", "268435456", "268435455"})
			}
		})
	})
	t.Run("between good ones, receipts in order", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			in := make(chan frames.Message, 4)
			in <- message("a", "", 1)
			in <- frames.Message{Topic: "a", Payload: make([]byte, frames.MaxRemaining)} // too large a packet
			in <- message("#", "", 1)
			in <- message("c", "", 1)
			close(in)
			out := s.PublishFrom(aMinute(t), in)
			c.Complete(streamtest.Next[frames.Publish](c))
			c.Complete(streamtest.Next[frames.Publish](c))
			var got []string
			for r := range out {
				got = append(got, fmt.Sprint(r.Topic, " ", errors.Is(r.Err, stream.ErrNotSent)))
			}
			if want := []string{"a false", "a true", "# true", "c false"}; !slices.Equal(got, want) {
				t.Errorf("Receipts %q, want %q", got, want)
			}
		})
	})
	t.Run("without a connection", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, nil)
			misfit(t, s.Publish(aMinute(t), message("#", "", 0)), []string{"topic", "wildcard"})
			if n := s.Stats().Queued; n != 0 {
				t.Errorf("%d messages queued, want none", n)
			}
		})
	})
}

func TestMessagesAtTheirLimitsAreSent(t *testing.T) {
	for name, row := range map[string]struct {
		m        frames.Message
		versions []frames.Version
	}{
		"topic of 65535 bytes":               {message(str(65535), "p", 1), only311},
		"topic of 32767 characters":          {message(str(32767), "p", 1), eachOf},
		"topic of 32767 wide characters":     {message(strings.Repeat("ä", 32767), "p", 1), eachOf},
		"topic of 32768 characters on 3.1.1": {message(str(32768), "p", 1), only311},
		"no payload":                         {message("t", "", 1), eachOf},
		"topic of a slash":                   {message("/", "p", 1), eachOf},
		"topic of a space":                   {message(" ", "p", 1), eachOf},
		"topic that begins with $":           {message("$x/y", "p", 1), eachOf},
		"QoS 0":                              {message("t", "p", 0), eachOf},
		"QoS 2, retained":                    {frames.Message{Topic: "t", Payload: []byte("p"), QoS: 2, Retain: true}, eachOf},
		"no payload, retained":               {frames.Message{Topic: "t", Retain: true}, eachOf}, // [MQTT-3.3.1-10]
	} {
		t.Run(name, func(t *testing.T) {
			inVersions(t, row.versions, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				published := goPublish(s, row.m)
				p := streamtest.Next[frames.Publish](c)
				if p.Topic != row.m.Topic || string(p.Payload) != string(row.m.Payload) || p.QoS != row.m.QoS || p.Retain != row.m.Retain || p.DUP {
					t.Errorf("sent %.200s", fmt.Sprintf("%+v", p))
				}
				c.Complete(p)
				wantError(t, outcome(t, published), nil)
			})
		})
	}
}

func TestBadFiltersAreNotSent(t *testing.T) {
	type filters = []frames.Filter
	for _, row := range []struct {
		name     string
		filters  filters
		versions []frames.Version
		want     []string
	}{
		{"none", nil, eachOf, []string{"filters", "at least one"}}, // [MQTT-3.8.3-3]
		{"QoS 3", filters{{Topic: "a", QoS: 3}}, eachOf, []string{"QoS", "3", "2"}},
		{"QoS 128", filters{{Topic: "a", QoS: 0x80}}, eachOf, []string{"QoS", "128", "2"}},
		{"empty", filters{{}}, eachOf, []string{"filter", "empty"}},
		{"# in a level", filters{{Topic: "a#"}}, eachOf, []string{"filter", "wildcard that does not fill its level"}}, // [MQTT-4.7.1-2]
		{"# before the end", filters{{Topic: "a/#/b"}}, eachOf, []string{"filter", "# before the last level"}},
		{"# first of two", filters{{Topic: "#/a"}}, eachOf, []string{"filter", "# before the last level"}},
		{"# twice", filters{{Topic: "##"}}, eachOf, []string{"filter", "wildcard that does not fill its level"}},
		{"+ behind a name", filters{{Topic: "a+"}}, eachOf, []string{"filter", "wildcard that does not fill its level"}}, // [MQTT-4.7.1-3]
		{"+ before a name", filters{{Topic: "+a/b"}}, eachOf, []string{"filter", "wildcard that does not fill its level"}},
		{"+ twice", filters{{Topic: "a/++"}}, eachOf, []string{"filter", "wildcard that does not fill its level"}},
		{"+#", filters{{Topic: "+#"}}, eachOf, []string{"filter", "wildcard that does not fill its level"}},
		{"U+0000", filters{{Topic: "a\x00"}}, eachOf, []string{"filter", "U+0000"}},
		{"not UTF-8", filters{{Topic: "a\xFF"}}, eachOf, []string{"filter", "UTF-8"}}, // [MQTT-3.8.3-1]
		{"a surrogate", filters{{Topic: "\xED\xA0\x80"}}, eachOf, []string{"filter", "UTF-8"}},
		{"65536 bytes", filters{{Topic: str(65536)}}, eachOf, []string{"filter", "65536", "65535"}},
		{"32768 characters on 3.1", filters{{Topic: str(32768)}}, only31, []string{"filter", "32768", "32767"}},
		{"the last of three", filters{{Topic: "a"}, {Topic: "b"}, {Topic: "c#"}}, eachOf, []string{"filter", "wildcard"}},
		{"a share without group", filters{{Topic: "$share//a"}}, eachOf, []string{"filter", "group"}},
		{"a share without filter", filters{{Topic: "$share/g"}}, eachOf, []string{"filter", "group"}},
		{"a share with an empty filter", filters{{Topic: "$share/g/"}}, eachOf, []string{"filter", "empty"}},
		{"a share with a wildcard in its group", filters{{Topic: "$share/+/a"}}, eachOf, []string{"filter", "wildcard"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inVersions(t, row.versions, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				check := func(err error) {
					t.Helper()
					if err == nil {
						t.Fatal("Subscribe succeeded")
					}
					for _, want := range row.want {
						wantText(t, err, want)
					}
					if !strings.HasPrefix(err.Error(), "mqtt: ") {
						t.Errorf("%v does not begin with mqtt:", err)
					}
				}
				_, err := s.Subscribe(aMinute(t), row.filters...)
				check(err)
				_, err = decoded(aMinute(t), s, func(m frames.Message) (string, error) { return m.Topic, nil }, row.filters...)
				check(err)
				synctest.Wait()
				c.ExpectNone()
				if n := s.Stats().Subscribed; n != 0 {
					t.Errorf("%d Subscriptions, want none", n)
				}
			})
		})
	}
}

func TestFiltersAtTheirLimitsAreSent(t *testing.T) {
	for name, row := range map[string]struct {
		filter   string
		versions []frames.Version
	}{
		"65535 bytes":               {str(65535), only311},
		"32767 characters":          {str(32767), eachOf},
		"32767 wide characters":     {strings.Repeat("ä", 32767), eachOf},
		"32768 characters on 3.1.1": {str(32768), only311},
		"#":                         {"#", eachOf},
		"+":                         {"+", eachOf},
		"wildcards in their places": {"+/a/+//#", eachOf},
		"a slash":                   {"/", eachOf},
		"a space":                   {" ", eachOf},
		"$SYS":                      {"$SYS/#", eachOf},
		"a share":                   {"$share/group/a/+", eachOf},
	} {
		for q := range frames.QoS(3) {
			t.Run(name+", "+q.String(), func(t *testing.T) {
				inVersions(t, row.versions, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s, c := connected(t, b, faultOptions(v))
					asked := goSubscribe(s, frames.Filter{Topic: row.filter, QoS: q})
					p := streamtest.Next[frames.Subscribe](c)
					if want := []frames.Filter{{Topic: row.filter, QoS: q}}; !slices.Equal(p.Filters, want) {
						t.Errorf("subscribed to %.100s", fmt.Sprintf("%+v", p.Filters))
					}
					c.Grant(p)
					wantError(t, outcome(t, asked), nil)
				})
			})
		}
	}
}

// After Open, changes of the caller's Options have no effect.
func TestOptionsAreCopied(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		receipts := make(chan stream.Receipt, 4)
		o := with(b, faultOptions(frames.V311))
		o.Username, o.Password = "user", []byte("password")
		o.Will = &frames.Message{Topic: "w", Payload: []byte("bye"), QoS: 1}
		o.Retry = &flow.Retry{Initial: 5 * time.Second}
		o.KeepAlive = -1
		o.Ack = receipts
		s, err := stream.Open("mqtt://broker", o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := b.Accept()
		first := c.ExpectConnect()

		clear(o.Password)
		clear(o.Will.Payload)
		o.Will.Topic, o.Will.QoS = "changed", 0
		o.Retry.Initial = time.Hour
		o.Reconnect.Min, o.Reconnect.Max = time.Hour, time.Hour
		*o = stream.Options{Version: frames.V31, ClientID: "changed", KeepSession: true, NoReconnect: true, MaxPacket: 2}

		start := time.Now()
		c.Drop()
		c = b.Accept()
		wantElapsed(t, start, faultPause)
		if again := c.ExpectConnect(); !reflect.DeepEqual(again, first) {
			t.Errorf("CONNECT %+v\nfirst   %+v", again, first)
		}
		c.Connack(false, frames.Success)
		s.Publishes() <- stream.Publishing{Message: message("t", "", 1)}
		p := streamtest.Next[frames.Publish](c)
		start = time.Now()
		again := streamtest.Next[frames.Publish](c)
		wantElapsed(t, start, 5*time.Second)
		if !again.DUP || again.ID != p.ID {
			t.Errorf("retransmitted as %+v", again)
		}
		c.Complete(p)
		if r := wantReceipts(t, receipts, 1)[0]; r.Err != nil {
			t.Errorf("Receipt %+v", r)
		}
	})
}

// Open does not modify the caller's Options, so the caller may open another session with them.
func TestOptionsStayAsTheyAre(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		given := func() *stream.Options {
			return &stream.Options{
				Retry:     &flow.Retry{},
				Reconnect: &backoff.Backoff{Jitter: true},
				Will:      &frames.Message{Topic: "w"},
			}
		}
		o := given()
		o.DialContext = b.Dial
		for range 2 {
			s, err := stream.Open("mqtt://user:password@broker", o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if c := b.Accept().ExpectConnect(); c.UserName != "user" || string(c.Password) != "password" {
				t.Errorf("CONNECT %+v", c)
			}
		}
		o.DialContext = nil
		if !reflect.DeepEqual(o, given()) {
			t.Errorf("the options became %+v", o)
		}
	})
}

func TestDefaults(t *testing.T) {
	t.Run("Window is 1", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			one, two := goPublish(s, message("t", "", 1)), goPublish(s, message("t", "", 2))
			p := streamtest.Next[frames.Publish](c)
			synctest.Wait()
			c.ExpectNone()
			c.Complete(p)
			c.Complete(streamtest.Next[frames.Publish](c))
			wantError(t, errors.Join(outcome(t, one), outcome(t, two)), nil)
		})
	})
	t.Run("Queue is 1024", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, nil)
			accepted := 0
			for full := false; !full; {
				synctest.Wait()
				select {
				case s.Publishes() <- stream.Publishing{Message: message("t", "", 0)}:
					accepted++
				default:
					full = true
				}
			}
			if accepted != 1024 {
				t.Errorf("%d accepted, want 1024", accepted)
			}
		})
	})
	t.Run("MaxPacket is 1 MiB", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			suback := func(n int) []byte { return append([]byte{0x90}, header(n)[1:]...) }
			c.SendBytes(suback(1<<20 - 4)) // a body and a header of four bytes, 1 MiB together
			synctest.Wait()
			c.ExpectNone()
			c.Drop()
			lost(t, s)
			c = b.Handshake(false)
			c.SendBytes(suback(1<<20 - 3))
			endsWith(t, c, frames.PacketTooLarge)
			var large *frames.TooLargeError
			if err := lost(t, s); !errors.As(err, &large) || large.Size != 1<<20+1 || large.Limit != 1<<20 {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("WriteTimeout is 10 s", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			c.Stall()
			start := time.Now()
			goPublish(s, message("t", "", 0))
			lost(t, s)
			wantElapsed(t, start, 10*time.Second)
		})
	})
	t.Run("ReceiveBytes is 16 MiB", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			const each = 1 << 20
			payload := make([]byte, each-200) // 200 bytes are for the overhead of a message
			for range 20 {
				c.Send(publish("t", string(payload), 0, 0, false))
			}
			synctest.Wait()
			if st := s.Stats(); st.Inbox != 16 || st.Dropped != 4 || st.InboxBytes > 16<<20 {
				t.Errorf("%d kept, %d dropped, %d bytes", st.Inbox, st.Dropped, st.InboxBytes)
			}
		})
	})
	t.Run("Reconnect begins with 50 to 100 ms", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Refuse(1, nil)
			open(t, b, nil)
			start := time.Now()
			b.Handshake(false)
			if d := time.Since(start); d < 50*time.Millisecond || d > 100*time.Millisecond {
				t.Errorf("reconnected after %v", d)
			}
		})
	})
}

// A call with invalid arguments reports them, even if its context has ended or the session is
// closed.
func TestBadArgumentsAreNamedWhateverElseIsWrong(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		misfit(t, s.Publish(ctx, message("#", "", 0)), []string{"topic"})
		if _, err := s.Subscribe(ctx, frames.Filter{Topic: "a#"}); err == nil {
			t.Error("Subscribe succeeded")
		} else {
			wantText(t, err, "filter")
		}
		s.Close()
		c.ExpectDisconnect()
		misfit(t, s.Publish(aMinute(t), message("#", "", 0)), []string{"topic"})
		_, err := s.Subscribe(t.Context())
		wantText(t, err, "filters")
	})
}
