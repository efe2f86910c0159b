package stream_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// V50, V51, V52, V55, V56. A PUBLISH with bad properties ends the connection with the reason code,
// and is not delivered. The messages before it are.
func TestAPublishWithBadPropertiesIsAnsweredWithItsReason(t *testing.T) {
	const twice, malformed = frames.ProtocolViolation, frames.MalformedPacket
	double := func(property ...byte) []byte { return append(property, property...) }
	for name, c := range map[string]struct {
		properties []byte
		code       frames.ReasonCode
	}{
		"payload format twice":       {double(0x01, 1), twice},
		"expiry twice":               {double(0x02, 0, 0, 0, 1), twice},
		"content type twice":         {double(0x03, 0, 0), twice},
		"response topic twice":       {double(0x08, 0, 1, 'r'), twice},
		"correlation twice":          {double(0x09, 0, 0), twice},
		"alias twice":                {double(0x23, 0, 1), twice},
		"receive maximum":            {[]byte{0x21, 0, 1}, frames.ProtocolViolation},
		"unknown property":           {[]byte{0x7F, 0}, malformed},
		"property cut off":           {[]byte{0x02, 0, 0}, malformed},
		"U+0000 in content type":     {[]byte{0x03, 0, 1, 0}, malformed},
		"surrogate in a name":        {[]byte{0x26, 0, 3, 0xED, 0xA0, 0x80, 0, 0}, malformed},
		"bad UTF-8 in a value":       {[]byte{0x26, 0, 1, 'n', 0, 1, 0xFF}, malformed},
		"bad UTF-8 in the response":  {[]byte{0x08, 0, 1, 0xFF}, malformed},
		"response topic empty":       {[]byte{0x08, 0, 0}, frames.ProtocolViolation},
		"response topic with #":      {[]byte{0x08, 0, 1, '#'}, frames.ProtocolViolation},
		"payload format 2":           {[]byte{0x01, 2}, frames.ProtocolViolation},
		"subscription identifier 0":  {[]byte{0x0B, 0}, frames.ProtocolViolation},
		"subscription id of 5 bytes": {[]byte{0x0B, 0x80, 0x80, 0x80, 0x80, 1}, malformed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, conn := welcomed(t, b, stream.Options{}, nil)
				bad := append([]byte{0x30, byte(3 + 1 + len(c.properties)), 0, 1, 'a', byte(len(c.properties))}, c.properties...)
				conn.SendBytes(append(encoded(t, frames.V5, publish("a", "good", 0, 0, false)), bad...))
				conn.ExpectDisconnectCode(c.code)
				wantViolation(t, lost(t, s), "")
				wantDelivery(t, s.Deliveries(), "a", "good")
				wantNoDelivery(t, s.Deliveries())
			})
		})
	}
	for name, wire := range map[string][]byte{
		"length past the end":      {0x30, 5, 0, 1, 'a', 9, 'x'},
		"length in too many bytes": {0x30, 5, 0, 1, 'a', 0x80, 0},
	} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, conn := welcomed(t, b, stream.Options{}, nil)
			conn.SendBytes(wire)
			conn.ExpectDisconnectCode(malformed)
			wantViolation(t, lost(t, s), "")
			t.Log(name)
		})
	}
}

// V51, V52, V54. A message with bad properties is refused at each way to publish, before any byte.
// The error names the property, and the number of a user property.
func TestAMessageWithBadPropertiesIsRefused(t *testing.T) {
	bad := map[string]frames.Properties{
		"content type":             {ContentType: "\x00"},
		"response topic":           {ResponseTopic: "a/+"},
		"correlation data":         {Correlation: make([]byte, 65536)},
		"payload":                  {Text: true},
		"message expiry interval":  {Expiry: -1},
		"name of user property 2":  {User: []frames.UserProperty{{}, {Name: "\xED\xA0\x80"}}},
		"value of user property 1": {User: []frames.UserProperty{{Name: "n", Value: "\xFF"}}},
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 1)
		s, c := welcomed(t, b, stream.Options{Ack: acks}, nil)
		for field, p := range bad {
			m := message("a", "\xFF", 1)
			m.Properties = &p
			check := func(err error) {
				t.Helper()
				var invalid *frames.InvalidError
				if !errors.As(err, &invalid) || invalid.Field != field {
					t.Errorf("%s: %v", field, err)
				}
				wantError(t, err, stream.ErrNotSent)
			}
			check(s.Publish(t.Context(), m))
			sendAll(s, m)
			check((<-acks).Err)
			in := make(chan frames.Message, 1)
			in <- m
			close(in)
			for r := range s.PublishFrom(t.Context(), in) {
				check(r.Err)
			}
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

// V53, V54, V57. All properties arrive as they were sent, in order and with repeated names. Empty
// correlation data is kept apart from none.
func TestPropertiesArriveAsTheyWereSent(t *testing.T) {
	var many []frames.UserProperty
	for n := range 1000 {
		many = append(many, frames.UserProperty{Name: fmt.Sprint("n", n%7), Value: fmt.Sprint(n)})
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		for _, p := range []*frames.Properties{
			nil,
			{ContentType: "text/plain", ResponseTopic: "r", Correlation: []byte{0, 1}, Text: true, User: many},
			{Correlation: []byte{}},
			{Text: true}, // the payload that comes in need not be UTF-8
		} {
			m := message("a", "x", 1)
			m.Properties = p
			done := goPublish(s, m)
			got := streamtest.Next[frames.Publish](c)
			c.Complete(got)
			wantError(t, <-done, nil)
			if got.Alias = 0; !reflect.DeepEqual(got.Message, m) {
				t.Errorf("sent %.200v, want %.200v", got.Properties, p)
			}
			if m.Payload = []byte("\xFF"); p == nil || !p.Text {
				m.Payload = []byte("x")
			}
			c.Send(frames.Publish{Message: m, ID: 1})
			d := wantDelivery(t, s.Deliveries(), "a", string(m.Payload))
			if d.Ack(); !reflect.DeepEqual(d.Message, m) {
				t.Errorf("received %.200v, want %.200v", d.Properties, p)
			}
			c.Expect(ack(puback, 1))
		}
	})
}

// V53. Properties count in ReceiveBytes: QoS 0 messages with large ones push out earlier messages.
func TestPropertiesCountInReceiveBytes(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{MaxPacket: 10000, ReceiveBytes: 10000}, nil)
		m := message("a", "", 0)
		m.Properties = &frames.Properties{User: slices.Repeat([]frames.UserProperty{{Name: "n", Value: strings.Repeat("v", 99)}}, 20)}
		for n := range 5 {
			m.Payload = []byte(fmt.Sprint(n))
			c.Send(frames.Publish{Message: m})
		}
		synctest.Wait()
		each := 20*(32+100) + 160 + 1 + 1 + 128
		if st := s.Stats(); st.Dropped != 2 || st.InboxBytes != 3*each {
			t.Errorf("dropped %d, %d bytes in the inbox, want 2 and %d", st.Dropped, st.InboxBytes, 3*each)
		}
		for n := 2; n < 5; n++ {
			wantDelivery(t, s.Deliveries(), "a", fmt.Sprint(n))
		}
		wantStat(t, s, "InboxBytes", func(st stream.Stats) int { return st.InboxBytes }, 0)
	})
}

// V56. A message that is passed on leaves without its subscription identifiers, on every way to
// publish, and keeps its other properties.
func TestAMessagePassedOnHasNoSubscriptionIdentifiers(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{Window: 100}, nil)
		m := message("a", "x", 0)
		m.Properties = &frames.Properties{ContentType: "c", Subscriptions: []uint32{1, 268435455}}
		c.Send(frames.Publish{Message: m})
		d := wantDelivery(t, s.Deliveries(), "a", "x")
		if !slices.Equal(d.Properties.Subscriptions, m.Properties.Subscriptions) {
			t.Errorf("received %+v", d.Properties)
		}
		in := make(chan frames.Message, 40)
		for range cap(in) - 1 {
			in <- d.Message
		}
		close(in)
		out := s.PublishFrom(t.Context(), in)
		sendAll(s, d.Message)
		for range cap(in) {
			if p := streamtest.Next[frames.Publish](c); p.Properties == nil || p.Properties.Subscriptions != nil || p.Properties.ContentType != "c" {
				t.Fatalf("sent %+v", p.Properties)
			}
		}
		for r := range out {
			wantError(t, r.Err, nil)
		}
		if len(d.Properties.Subscriptions) != 2 {
			t.Error("the delivery has lost its identifiers")
		}
	})
}

// V58. A reason string in an ack is taken, whatever it says.
func TestAnAckMayHaveAReasonString(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		done := goPublish(s, message("a", "x", 1))
		c.Expect(publish("a", "x", 1, 1, false))
		c.Send(frames.Ack{Kind: puback, ID: 1, AckReason: frames.AckReason{Properties: &frames.AckProperties{Reason: "fine", User: []frames.UserProperty{{Name: "n"}}}}})
		wantError(t, <-done, nil)
	})
}

// V89. A session that was kept at 5 goes on at 3.1.1 with a broker that no longer knows 5:
// publications with properties end with a *VersionError, or are sent without them if Lossy is set.
// The others go on.
func TestStoredPropertiesOnAConnectionOf311(t *testing.T) {
	for name, lossy := range map[string]bool{"strict": false, "lossy": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 4)
				store := flow.NewMemoryStore()
				o := stream.Options{
					KeepSession: true, ClientID: "k", Store: store, Window: 2, Ack: acks, DialContext: b.Dial,
					V5: stream.OptionsV5{Lossy: lossy},
				}
				s, err := stream.Open("mqtt://broker", &o)
				if err != nil {
					t.Fatal(err)
				}
				c, _ := greeted(t, b, s, false, nil)
				rich, queued := message("a", "rich", 1), message("a", "queued", 2)
				rich.Properties = &frames.Properties{User: []frames.UserProperty{{Name: "n", Value: "v"}}}
				queued.Properties = &frames.Properties{ResponseTopic: "r"}
				sendAll(s, rich, message("a", "plain", 1), queued)
				streamtest.Next[frames.Publish](c)
				streamtest.Next[frames.Publish](c)
				s.Close()
				for range 3 {
					wantReceipt(t, acks, nil, stream.ErrKept)
				}

				if s, err = stream.Open("mqtt://broker", &o); err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				c = b.Accept()
				if hello := c.ExpectConnect(); hello.Version != frames.V5 {
					t.Fatalf("the version of the session comes second: %+v", hello)
				}
				c.Connack(false, frames.UnsupportedProtocolVersion)
				c = b.Accept()
				if hello := c.ExpectConnect(); hello.Version != frames.V311 || hello.CleanSession {
					t.Fatalf("CONNECT is %+v", hello)
				}
				c.Connack(true, frames.Success)
				var version *stream.VersionError
				if lossy {
					c.Expect(publish("a", "rich", 1, 1, true), publish("a", "plain", 1, 2, true))
					c.Send(ack(puback, 1), ack(puback, 2))
					wantReceipt(t, acks, nil)
					wantReceipt(t, acks, nil)
					c.Expect(publish("a", "queued", 2, 3, false))
					return
				}
				if r := wantReceipt(t, acks, nil, stream.ErrUnconfirmed); !errors.As(r.Err, &version) || version.Field != "user properties" || version.Have != frames.V311 {
					t.Errorf("%+v", r)
				}
				if r := wantReceipt(t, acks, nil, stream.ErrNotSent); !errors.As(r.Err, &version) || version.Field != "response topic" {
					t.Errorf("%+v", r)
				}
				c.Expect(publish("a", "plain", 1, 2, true))
				c.Send(ack(puback, 2))
				wantReceipt(t, acks, nil)
				if st := s.State(); st.Version != frames.V311 || st.Server != nil {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}
