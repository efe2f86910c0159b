package stream_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func coded(kind frames.Type, id uint16, code frames.ReasonCode) frames.Ack {
	return frames.Ack{Kind: kind, ID: id, AckReason: frames.AckReason{Code: code}}
}

// V40, V41. A code below 0x80 is success in each form of the packet, and the Receipt has it. A code
// that the packet does not have is logged once.
func TestTheReceiptHasTheCodeOfTheAck(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 1)
		book := &logbook{level: slog.LevelWarn}
		s, c := welcomed(t, b, stream.Options{Ack: acks, Logger: slog.New(book)}, nil)
		for _, code := range []byte{0, 0x10, 0x01, 0x7F} {
			for _, wire := range [][]byte{{0x40, 2}, {0x40, 3}, {0x40, 4}} {
				if wire[1] == 2 && code != 0 {
					continue
				}
				sendAll(s, message("a", "x", 1))
				id := streamtest.Next[frames.Publish](c).ID
				c.SendBytes(append(wire, []byte{byte(id >> 8), byte(id), code, 0}[:wire[1]]...))
				if r := wantReceipt(t, acks, nil); r.Code != frames.ReasonCode(code) {
					t.Errorf("%x: code %#x", wire, byte(r.Code))
				}
			}
		}
		sendAll(s, message("a", "x", 2))
		p := streamtest.Next[frames.Publish](c)
		c.Send(coded(pubrec, p.ID, frames.NoMatchingSubscribers))
		c.Expect(ack(pubrel, p.ID))
		c.Send(ack(pubcomp, p.ID))
		if r := wantReceipt(t, acks, nil); r.Code != frames.NoMatchingSubscribers {
			t.Errorf("PUBREC: code %#x", byte(r.Code))
		}
		if list := book.take(); len(list) != 1 || list[0].attrs["code"] != int64(1) || s.Stats().Connections != 1 {
			t.Errorf("logged %v", list)
		}
	})
}

// V42. A refused publication ends with the code, the reason and the user properties. It is not sent
// again, and the Store forgets it. A PUBREC that comes after the refusal is of no publication.
func TestARefusedPublicationEndsWithTheReason(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 2)
		store := flow.NewMemoryStore()
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Store: store, Window: 2, Ack: acks}, nil)
		sendAll(s, message("a", "1", 1), message("a", "2", 2))
		c.Expect(publish("a", "1", 1, 1, false), publish("a", "2", 2, 2, false))
		p := &frames.AckProperties{Reason: "no\n", User: []frames.UserProperty{{Name: "n", Value: "v"}}}
		c.Send(frames.Ack{Kind: puback, ID: 1, AckReason: frames.AckReason{Code: frames.NotAuthorized, Properties: p}},
			frames.Ack{Kind: pubrec, ID: 2, AckReason: frames.AckReason{Code: frames.QuotaExceeded, Properties: p}})
		for _, code := range []frames.ReasonCode{frames.NotAuthorized, frames.QuotaExceeded} {
			r := wantReceipt(t, acks, nil, stream.ErrRefused, code)
			var refusal *stream.RefusalError
			if !errors.As(r.Err, &refusal) || refusal.Reason != "no\n" || refusal.User[0] != p.User[0] || r.Code != code {
				t.Errorf("%+v", r)
			}
			wantText(t, r.Err, `"no\n"`)
		}
		c.Send(ack(pubrec, 2))
		c.Expect(coded(pubrel, 2, frames.PacketIdentifierNotFound))
		c.Send(coded(pubcomp, 2, frames.PacketIdentifierNotFound))
		wantError(t, s.Sync(t.Context()), nil)
		c.Drop()
		c, _ = greeted(t, b, s, true, nil)
		synctest.Wait()
		c.ExpectNone()
		go s.Close()
		c.Rest()
		<-s.Done()
		if snap, _ := store.Attach("k"); len(snap.Publications) != 0 {
			t.Errorf("the Store has %+v", snap.Publications)
		}
	})
}

// V43. A PUBCOMP that says the identifier is unknown is no error for a PUBREL of a resumed session,
// since the broker had finished before. For a PUBREL that was sent once, the states do not match.
func TestAPubcompForAnUnknownIdentifier(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 2)
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Window: 2, Ack: acks}, nil)
		sendAll(s, message("a", "1", 2), message("a", "2", 2))
		c.Expect(publish("a", "1", 2, 1, false), publish("a", "2", 2, 2, false))
		c.Send(ack(pubrec, 1), ack(pubrec, 2))
		c.Expect(ack(pubrel, 1), ack(pubrel, 2))
		c.Send(coded(pubcomp, 1, frames.PacketIdentifierNotFound))
		wantReceipt(t, acks, nil, stream.ErrUnconfirmed, frames.PacketIdentifierNotFound)
		c.Drop()
		c, _ = greeted(t, b, s, true, nil)
		c.Expect(ack(pubrel, 2))
		c.Send(coded(pubcomp, 2, frames.PacketIdentifierNotFound))
		wantReceipt(t, acks, nil)
	})
}

// V44, V50. Packets with a code or a property that they do not have end the connection.
func TestABadCodeOrPropertyOfAnAckIsAnsweredWithProtocolError(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"PUBREL with no matching subscribers": {0x62, 3, 0, 1, 0x10},
		"PUBCOMP with granted QoS 1":          {0x70, 3, 0, 9, 0x01},
		"DISCONNECT with session expiry":      {0xE0, 7, 0x00, 5, 0x11, 0, 0, 0, 1},
		"reason string twice":                 {0x40, 10, 0, 1, 0, 6, 0x1F, 0, 0, 0x1F, 0, 0},
		"PUBACK with content type":            {0x40, 7, 0, 1, 0, 3, 0x03, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := welcomed(t, b, stream.Options{}, nil)
				done := goPublish(s, message("a", "x", 1))
				c.Expect(publish("a", "x", 1, 1, false))
				c.SendBytes(bytes)
				c.ExpectDisconnectCode(frames.ProtocolViolation)
				wantViolation(t, lost(t, s), "")
				wantError(t, <-done, stream.ErrUnconfirmed)
			})
		})
	}
}

// V45. A PUBREL and a PUBREC for unknown identifiers are answered with that code.
func TestUnknownIdentifiersAreAnsweredWithTheirCode(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		_, c := welcomed(t, b, stream.Options{}, nil)
		c.Send(ack(pubrel, 3), ack(pubrec, 4), coded(pubrec, 5, frames.QuotaExceeded), ack(puback, 6), ack(pubcomp, 7))
		c.Expect(coded(pubcomp, 3, frames.PacketIdentifierNotFound), coded(pubrel, 4, frames.PacketIdentifierNotFound))
		synctest.Wait()
		c.ExpectNone()
	})
}

// V46. Reject ends the exchange of a QoS 2 message with PUBREC. The identifier is free at once.
func TestARejectedQoS2MessageFreesItsIdentifier(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		in := s.Deliveries()
		c.Send(publish("a", "1", 2, 9, false), publish("a", "2", 1, 9, false))
		d1, d2 := wantDelivery(t, in, "a", "1"), wantDelivery(t, in, "a", "2")
		d2.Reject(frames.NotAuthorized, "why")
		synctest.Wait()
		c.ExpectNone() // in order of arrival
		d1.Reject(frames.PayloadFormatInvalid, "bad")
		c.Expect(
			frames.Ack{Kind: pubrec, ID: 9, AckReason: frames.AckReason{Code: frames.PayloadFormatInvalid, Properties: &frames.AckProperties{Reason: "bad"}}},
			frames.Ack{Kind: puback, ID: 9, AckReason: frames.AckReason{Code: frames.NotAuthorized, Properties: &frames.AckProperties{Reason: "why"}}})
		c.Send(ack(pubrel, 9), publish("a", "3", 2, 9, false))
		c.Expect(coded(pubcomp, 9, frames.PacketIdentifierNotFound))
		wantDelivery(t, in, "a", "3").Ack()
		c.Expect(ack(pubrec, 9))
	})
}

// V28, V46. A reason string that does not fit the broker is left out, and so is one that is not
// valid. Another code is sent as UnspecifiedError.
func TestARejectionSendsOnlyPermittedFields(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, largest(20))
		in := s.Deliveries()
		for id, d := range []struct {
			code, sent frames.ReasonCode
			reason     string
			kept       bool
		}{
			{frames.QuotaExceeded, frames.QuotaExceeded, strings.Repeat("x", 11), true}, // 20 bytes
			{frames.QuotaExceeded, frames.QuotaExceeded, strings.Repeat("x", 12), false},
			{frames.QuotaExceeded, frames.QuotaExceeded, "\x00", false},
			{frames.ServerBusy, frames.UnspecifiedError, "", false},
			{frames.Success, frames.UnspecifiedError, "", false},
		} {
			want := coded(puback, uint16(id+1), d.sent)
			if d.kept {
				want.Properties = &frames.AckProperties{Reason: d.reason}
			}
			c.Send(publish("a", "", 1, want.ID, false))
			wantDelivery(t, in, "a", "").Reject(d.code, d.reason)
			c.Expect(want)
		}
	})
}

// V47. Reject after Ack, after Reject and at QoS 0 does nothing. Of two Subscriptions, the ack
// leaves after both have answered, with the highest code.
func TestTheFirstAnswerOfEachSubscriptionCounts(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		one, two := subscribed(t, s, c, "a/#", 2), subscribed(t, s, c, "a/+", 2)
		for id, q := range []frames.QoS{1, 2} {
			id := uint16(id + 1)
			c.Send(publish("a/b", "x", q, id, false), publish("a/b", "zero", 0, 0, false))
			d1, d2 := wantDelivery(t, one.Deliveries(), "a/b", "x"), wantDelivery(t, two.Deliveries(), "a/b", "x")
			wantDelivery(t, one.Deliveries(), "a/b", "zero").Reject(frames.NotAuthorized, "")
			wantDelivery(t, two.Deliveries(), "a/b", "zero")
			d1.Reject(frames.ImplementationSpecificError, "one")
			synctest.Wait()
			c.ExpectNone()
			if q == 1 {
				d2.Ack()
			} else {
				d2.Reject(frames.UnspecifiedError, "two")
			}
			d2.Reject(frames.QuotaExceeded, "late")
			d1.Ack()
			kind := map[frames.QoS]frames.Type{1: puback, 2: pubrec}[q]
			c.Expect(frames.Ack{Kind: kind, ID: id, AckReason: frames.AckReason{Code: frames.ImplementationSpecificError, Properties: &frames.AckProperties{Reason: "one"}}})
		}
	})
}

// V47, V48. Reject of a lost connection does nothing at QoS 1: the message comes again. A QoS 2
// message that comes again is known by its identifier, and its consumer's answer counts.
func TestARejectionAfterTheConnectionIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k"}, nil)
		in := s.Deliveries()
		c.Send(publish("a", "1", 1, 1, false), publish("a", "2", 2, 2, false), publish("a", "3", 2, 3, false))
		d1, d2, d3 := wantDelivery(t, in, "a", "1"), wantDelivery(t, in, "a", "2"), wantDelivery(t, in, "a", "3")
		c.Drop()
		lost(t, s)
		d1.Reject(frames.NotAuthorized, "")
		d2.Reject(frames.QuotaExceeded, "gone")
		c, _ = greeted(t, b, s, true, nil)
		c.Send(publish("a", "1", 1, 1, true), publish("a", "2", 2, 2, true), publish("a", "3", 2, 3, true))
		wantDelivery(t, in, "a", "1").Ack()
		c.Expect(ack(puback, 1), coded(pubrec, 2, frames.QuotaExceeded))
		wantNoDelivery(t, in)
		d3.Reject(frames.NotAuthorized, "")
		c.Expect(coded(pubrec, 3, frames.NotAuthorized))
	})
}

// V49. MQTT 5 forbids to send a packet again on a live connection. Where the version is negotiated,
// Retry has no effect on 5.
func TestNothingIsSentAgainOnALiveConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := stream.Options{Version: frames.V5, Retry: &flow.Retry{}, DialContext: b.Dial}
		var bad *stream.OptionError
		if _, err := stream.Open("mqtt://broker", &o); !errors.As(err, &bad) || bad.Field != "Retry" {
			t.Errorf("%v", err)
		}
		o.Version, o.Retry, o.KeepAlive = 0, &flow.Retry{Initial: time.Second}, noPing
		s, err := stream.Open("mqtt://broker", &o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c, _ := greeted(t, b, s, false, nil)
		done := goPublish(s, message("a", "x", 1))
		p := streamtest.Next[frames.Publish](c)
		sub := callSubscribe(t.Context(), t, s, filterOf("f", 1))
		q := streamtest.Next[frames.Subscribe](c)
		c.ExpectQuiet(time.Hour)
		c.Complete(p)
		c.Grant(q)
		<-sub.done
		wantError(t, <-done, nil)
	})
}

// A packet that is written alone, such as this DISCONNECT, says nothing about a failed commit.
func TestAFailingStoreStaysFailingAfterADisconnect(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := &fullDisk{Store: flow.NewMemoryStore()}
		acks := make(chan stream.Receipt, 1)
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Store: store, Ack: acks, Reconnect: every(100 * time.Millisecond)}, nil)
		wantError(t, s.Sync(t.Context()), nil)
		store.full.Store(true)
		sendAll(s, message("a", "x", 1))
		wantReceipt(t, acks, nil, stream.ErrNotSent, errFull)
		c.ExpectClosed()
		c, _ = greeted(t, b, s, true, nil)
		c.Stall()
		c.Send(coded(pubrel, 1, 0), frames.Pingreq{})
		synctest.Wait()
		c.Resume()
		c.ExpectDisconnectCode(frames.ProtocolViolation)
		if st := s.Stats(); !st.StoreFailing {
			t.Error("the Store counts as working")
		}
	})
}
