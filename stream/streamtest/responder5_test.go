package streamtest

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// answered5 returns a client of MQTT 5 with a client identifier that a Responder has accepted.
func answered5(t *testing.T, r *Responder, p frames.ConnectProperties) *client {
	t.Helper()
	b := New(t)
	b.Respond(r)
	cl := dial(t, b).at(frames.V5)
	connect := hello
	connect.Properties = &p
	cl.send(connect)
	cl.next()
	return cl
}

func TestResponderAnnouncesItsConnack(t *testing.T) {
	q := frames.AtLeastOnce
	r := &Responder{Connack: frames.ConnackProperties{ReceiveMaximum: 5, MaximumQoS: &q, AssignedClientID: "x"}}
	b := New(t)
	b.Respond(r)
	cl := dial(t, b).at(frames.V5)
	cl.send(hello)
	cl.expect(frames.Connack{Properties: &frames.ConnackProperties{ReceiveMaximum: 5, MaximumQoS: &q}})

	cl = dial(t, b)
	cl.send(hello)
	cl.expect(frames.Connack{})
}

func TestResponderAssignsAClientIdentifier(t *testing.T) {
	assigned := func(r *Responder) string {
		b := New(t)
		b.Respond(r)
		cl := dial(t, b).at(frames.V5)
		cl.send(frames.Connect{CleanSession: true})
		p, ok := cl.next().(frames.Connack)
		if !ok || p.Properties == nil {
			t.Fatalf("got %v", p)
		}
		return p.Properties.AssignedClientID
	}
	r := &Responder{}
	if one, two := assigned(r), assigned(r); one == "" || one == two {
		t.Errorf("assigned %q, then %q", one, two)
	}
	if id := assigned(&Responder{Connack: frames.ConnackProperties{AssignedClientID: "x"}}); id != "x" {
		t.Errorf("assigned %q", id)
	}
}

func TestResponderAnswersUnsubscribeForEachFilter(t *testing.T) {
	cl := answered5(t, &Responder{}, frames.ConnectProperties{}).subscribe(frames.Filter{Topic: "a"}, frames.Filter{Topic: "b"})
	cl.send(frames.Unsubscribe{ID: 2, Topics: []string{"b", "never had", "a", "a"}})
	cl.expect(frames.Unsuback{ID: 2, Codes: []frames.ReasonCode{
		frames.Success, frames.NoSubscriptionExisted, frames.Success, frames.NoSubscriptionExisted}})
}

// props makes a PUBLISH with properties.
func props(p frames.Publish, properties frames.Properties) frames.Publish {
	p.Properties = &properties
	return p
}

func TestResponderPassesOnProperties(t *testing.T) {
	r := &Responder{Loopback: true}
	old := answered(t, r).subscribe(frames.Filter{Topic: "#"})
	cl := answered5(t, r, frames.ConnectProperties{})
	cl.send(frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "a"}}, Identifier: 9},
		frames.Subscribe{ID: 2, Filters: []frames.Filter{{Topic: "+"}}, Identifier: 300},
		frames.Subscribe{ID: 3, Filters: []frames.Filter{{Topic: "b"}}})
	cl.expect(frames.Suback{ID: 1, Codes: []frames.ReasonCode{0}}, frames.Suback{ID: 2, Codes: []frames.ReasonCode{0}},
		frames.Suback{ID: 3, Codes: []frames.ReasonCode{0}})
	all := frames.Properties{Expiry: time.Minute, ContentType: "t", ResponseTopic: "r", Correlation: []byte("c"), Text: true,
		User: []frames.UserProperty{{Name: "n", Value: "1"}, {Name: "n", Value: "2"}}}
	cl.send(props(pub("a", "x", 0, 0), all), pub("a", "y", 0, 0), pub("b/c", "z", 0, 0))
	all.Subscriptions = []uint32{9, 300}
	cl.expect(props(pub("a", "x", 0, 0), all), props(pub("a", "y", 0, 0), frames.Properties{Subscriptions: all.Subscriptions}))
	cl.idle()
	old.expect(pub("a", "x", 0, 0), pub("a", "y", 0, 0), pub("b/c", "z", 0, 0))
}

func TestResponderHonoursTheOptionsOfASubscription(t *testing.T) {
	r := &Responder{Loopback: true}
	cl := answered5(t, r, frames.ConnectProperties{}).subscribe(
		frames.Filter{Topic: "own", NoLocal: true}, frames.Filter{Topic: "kept", RetainAsPublished: true}, frames.Filter{Topic: "live"})
	other := answered5(t, r, frames.ConnectProperties{})
	for _, topic := range []string{"own", "kept", "live"} {
		p := pub(topic, "", 0, 0)
		p.Retain = true
		cl.send(p)
	}
	kept := pub("kept", "", 0, 0)
	kept.Retain = true
	cl.expect(kept, pub("live", "", 0, 0))
	other.send(pub("own", "", 0, 0))
	cl.expect(pub("own", "", 0, 0))
	cl.idle()
}

func TestResponderObeysTheReceiveMaximumOfTheClient(t *testing.T) {
	tests := []struct{ window, maximum, want int }{{0, 2, 2}, {3, 2, 2}, {1, 2, 1}, {0, 0, defaultWindow}}
	for _, tt := range tests {
		r := &Responder{Window: tt.window}
		cl := answered5(t, r, frames.ConnectProperties{ReceiveMaximum: uint16(tt.maximum)}).subscribe(frames.Filter{Topic: "a", QoS: 1})
		for range defaultWindow + 1 {
			r.Publish(msg("", 1))
		}
		for i := range tt.want {
			cl.expect(pub("a", "", 1, uint16(i+1)))
		}
		cl.idle()
		cl.send(ack(frames.TypePuback, 1))
		cl.expect(pub("a", "", 1, uint16(tt.want+1)))
	}
}

// Section 4.3.3: after a PUBREC that refuses the message there is no PUBREL.
func TestARefusedMessageFreesItsSlot(t *testing.T) {
	r := &Responder{Window: 1}
	cl := answered5(t, r, frames.ConnectProperties{}).subscribe(frames.Filter{Topic: "a", QoS: 2})
	r.Publish(msg("1", 2), msg("2", 2))
	cl.expect(pub("a", "1", 2, 1))
	cl.send(frames.Ack{Kind: frames.TypePubrec, ID: 1, AckReason: frames.AckReason{Code: frames.QuotaExceeded}})
	cl.expect(pub("a", "2", 2, 2))
	cl.idle()
}

func TestResponderDropsAMessageThatTheClientDoesNotTake(t *testing.T) {
	r := &Responder{Window: 1}
	cl := answered5(t, r, frames.ConnectProperties{MaximumPacket: 20}).subscribe(frames.Filter{Topic: "a", QoS: 1})
	fits := strings.Repeat("x", 20-2-3-2-1) // header, topic, identifier, properties
	if n := r.Publish(msg(fits+"y", 1), msg(fits, 1), msg(fits+"y", 1), msg("z", 1)); n != 2 || r.Dropped() != 2 {
		t.Errorf("%d copies, %d dropped", n, r.Dropped())
	}
	cl.expect(pub("a", fits, 1, 1))
	cl.send(ack(frames.TypePuback, 1))
	cl.expect(pub("a", "z", 1, 2))
}

func TestMessagesExpireBehindTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Responder{Window: 1, Loopback: true}
		cl := answered5(t, r, frames.ConnectProperties{}).subscribe(frames.Filter{Topic: "a", QoS: 1})
		from := answered5(t, r, frames.ConnectProperties{})
		from.send(pub("a", "first", 1, 1), props(pub("a", "expires", 1, 2), frames.Properties{Expiry: 10 * time.Second}),
			props(pub("a", "lives", 1, 3), frames.Properties{Expiry: time.Minute}))
		from.expect(ack(frames.TypePuback, 1), ack(frames.TypePuback, 2), ack(frames.TypePuback, 3))
		limit := frames.Message{Topic: "a", Payload: []byte("limit"), QoS: 1, Properties: &frames.Properties{Expiry: 30 * time.Second}}
		r.Publish(limit)
		if !limit.Properties.Since.IsZero() {
			t.Error("Publish has changed the properties of its caller")
		}
		cl.expect(pub("a", "first", 1, 1))
		elapse(10 * time.Second)
		cl.send(ack(frames.TypePuback, 1))
		cl.expect(props(pub("a", "lives", 1, 2), frames.Properties{Expiry: 50 * time.Second}))
		elapse(20 * time.Second)
		cl.send(ack(frames.TypePuback, 2))
		cl.idle()
		if r.Dropped() != 2 {
			t.Errorf("%d dropped", r.Dropped())
		}
	})
}

func TestResponderResolvesAliases(t *testing.T) {
	r := &Responder{Loopback: true, Connack: frames.ConnackProperties{TopicAliasMaximum: 1}}
	cl := answered5(t, r, frames.ConnectProperties{}).subscribe(frames.Filter{Topic: "a"})
	set := pub("a", "x", 0, 0)
	set.Alias = 1
	cl.send(set, frames.Publish{Alias: 1})
	cl.expect(pub("a", "x", 0, 0), pub("a", "", 0, 0))
}

func TestAResponderThatDoesNotKnowAVersionRefusesIt(t *testing.T) {
	for _, opts := range [][]Option{nil, {SendBuffer(100)}} {
		b := New(t, opts...)
		b.Respond(&Responder{Versions: []frames.Version{frames.V31, frames.V311}})
		cl := dial(t, b).at(frames.V5)
		cl.send(hello)
		answer, err := io.ReadAll(cl.conn)
		if string(answer) != "\x20\x02\x00\x01" || err != nil {
			t.Errorf("got % x, %v", answer, err)
		}
		dial(t, b).handshake().idle()
	}
}

func TestResponderKeepsTheLimitsOfTheScript(t *testing.T) {
	b := New(t)
	cl := dial(t, b).at(frames.V5)
	connect := hello
	connect.Properties = &frames.ConnectProperties{ReceiveMaximum: 1}
	set := pub("a", "", 0, 0)
	set.Alias = 1
	cl.send(connect, set)
	c := b.Accept()
	c.ExpectConnect()
	c.Send(frames.Connack{Properties: &frames.ConnackProperties{TopicAliasMaximum: 1, NoWildcards: true}})
	Next[frames.Publish](c)
	r := &Responder{Loopback: true}
	c.Respond(r)
	cl.next()
	cl.subscribe(frames.Filter{Topic: "a", QoS: 1})
	cl.send(frames.Subscribe{ID: 2, Filters: []frames.Filter{{Topic: "#"}}}, frames.Publish{Alias: 1})
	cl.expect(frames.Suback{ID: 2, Codes: []frames.ReasonCode{frames.WildcardSubscriptionsNotSupported}}, pub("a", "", 0, 0))
	r.Publish(msg("1", 1), msg("2", 1))
	cl.expect(pub("a", "1", 1, 1))
	cl.idle()
}

func TestResponderFailsTheTestOfAClientThatExceedsALimit(t *testing.T) {
	q := frames.AtLeastOnce
	alias := pub("a", "", 0, 0)
	alias.Alias = 1
	retained := pub("a", "", 0, 0)
	retained.Retain = true
	tests := []struct {
		name    string
		connack frames.ConnackProperties
		sent    []frames.Packet
		want    string // the failure; "" is none
	}{
		{"receive maximum kept", frames.ConnackProperties{ReceiveMaximum: 2},
			[]frames.Packet{pub("a", "", 1, 1), pub("a", "", 2, 2), pub("a", "", 0, 0)}, ""},
		{"receive maximum exceeded", frames.ConnackProperties{ReceiveMaximum: 2},
			[]frames.Packet{pub("a", "", 1, 1), pub("a", "", 2, 2), pub("a", "", 1, 3)}, "3 publications in flight exceed the receive maximum of 2"},
		{"maximum QoS", frames.ConnackProperties{MaximumQoS: &q}, []frames.Packet{pub("a", "", 2, 1)}, "exceeds the maximum QoS"},
		{"maximum packet size", frames.ConnackProperties{MaximumPacket: 10}, []frames.Packet{pub("a", "12345", 0, 0)},
			"PUBLISH of 11 bytes exceeds the maximum packet size of 10"},
		{"retain", frames.ConnackProperties{NoRetain: true}, []frames.Packet{retained}, "RETAIN"},
		{"alias", frames.ConnackProperties{}, []frames.Packet{alias}, "topic alias 1 is out of range"},
		{"subscription identifier", frames.ConnackProperties{},
			[]frames.Packet{props(pub("a", "", 0, 0), frames.Properties{Subscriptions: []uint32{1}})}, "subscription identifier"},
		{"AUTH", frames.ConnackProperties{}, []frames.Packet{frames.Auth{Code: frames.ReAuthenticate, Method: "m"}}, "AUTH from a client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeTB{TB: t}
			b := New(f)
			b.Respond(&Responder{Connack: tt.connack})
			cl := dial(t, b).at(frames.V5)
			cl.send(append(append([]frames.Packet{hello}, tt.sent...), frames.Disconnect{})...)
			_, _ = io.Copy(io.Discard, cl.conn)
			b.Close()
			if got := f.failure(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("failure is %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestASlotIsFreeWhenItsAckHasCome(t *testing.T) {
	cl := answered5(t, &Responder{Connack: frames.ConnackProperties{ReceiveMaximum: 1}}, frames.ConnectProperties{})
	for id := range uint16(100) {
		cl.send(pub("a", "", 1, id+1))
		cl.expect(ack(frames.TypePuback, id+1))
		cl.send(pub("a", "", 2, id+1))
		cl.expect(ack(frames.TypePubrec, id+1))
		cl.send(ack(frames.TypePubrel, id+1))
		cl.expect(ack(frames.TypePubcomp, id+1))
	}
}
