package streamtest

import (
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// linked5 returns a client that has sent a CONNECT of MQTT 5, and the script's end.
func linked5(t *testing.T) (*client, *Conn) {
	t.Helper()
	cl, c := linked(t)
	cl.at(frames.V5).send(hello)
	return cl, c
}

// handshake5 announces properties in the CONNACK.
func handshake5(t *testing.T, p frames.ConnackProperties) (*client, *Conn) {
	t.Helper()
	cl, c := linked5(t)
	c.ExpectConnect()
	c.Send(frames.Connack{Properties: &p})
	cl.next()
	return cl, c
}

func TestScriptFollowsAWholeConnectionOfMQTT5(t *testing.T) {
	cl, c := linked5(t)
	if p := c.Handshake(true); p.Version != frames.V5 || c.Version() != frames.V5 {
		t.Errorf("CONNECT of %v, connection of %v", p.Version, c.Version())
	}
	cl.expect(frames.Connack{SessionPresent: true})

	cl.send(frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "a", QoS: 1, NoLocal: true}, {Topic: "b"}}, Identifier: 7})
	sub := Next[frames.Subscribe](c)
	if sub.Identifier != 7 || !sub.Filters[0].NoLocal {
		t.Errorf("got %+v", sub)
	}
	c.Grant(sub)
	cl.expect(frames.Suback{ID: 1, Codes: []frames.ReasonCode{1, 0}})

	with := pub("a", "1", 1, 2)
	with.Properties = &frames.Properties{ContentType: "text/plain", User: []frames.UserProperty{{Name: "n", Value: "v"}}}
	cl.send(with, pub("a", "2", 2, 3), ack(frames.TypePubrel, 3))
	c.Expect(with)
	c.Complete(with)
	c.Complete(Next[frames.Publish](c))
	cl.expect(ack(frames.TypePuback, 2), ack(frames.TypePubrec, 3), ack(frames.TypePubcomp, 3))

	done := cl.answerTo(
		pub("a", "1", 1, 1), ack(frames.TypePuback, 1),
		pub("a", "2", 2, 2), ack(frames.TypePubrec, 2),
		ack(frames.TypePubrel, 2), ack(frames.TypePubcomp, 2))
	c.Deliver(msg("1", 1))
	c.ExpectAck(c.Publish(msg("2", 2))...)
	<-done

	cl.send(frames.Unsubscribe{ID: 4, Topics: []string{"a", "b"}})
	c.Unsuback(Next[frames.Unsubscribe](c))
	cl.expect(frames.Unsuback{ID: 4, Codes: []frames.ReasonCode{0, 0}})

	cl.send(frames.Auth{Code: frames.ReAuthenticate, Method: "m"})
	Next[frames.Auth](c)
	c.Send(frames.Auth{Code: frames.Success, Method: "m"})
	cl.expect(frames.Auth{Method: "m"})

	cl.send(frames.Disconnect{Code: frames.DisconnectWithWill})
	_ = cl.conn.Close()
	c.ExpectDisconnect()
}

func TestConnackOfMQTT5HasCodesAndProperties(t *testing.T) {
	cl, c := linked5(t)
	c.ExpectConnect()
	c.Connack(false, frames.Banned)
	cl.expect(frames.Connack{Code: frames.Banned})

	none := uint16(0)
	want := frames.Connack{Properties: &frames.ConnackProperties{ReceiveMaximum: 3, ServerKeepAlive: &none}}
	cl, c = linked5(t)
	c.ExpectConnect()
	c.Send(want)
	cl.expect(want)
}

func TestUnsubackHasNoCodesBeforeMQTT5(t *testing.T) {
	cl, c := linked(t)
	cl.send(frames.Unsubscribe{ID: 4, Topics: []string{"a"}})
	c.Unsuback(Next[frames.Unsubscribe](c))
	cl.expect(frames.Unsuback{ID: 4})
}

func TestNextResolvesATopicAlias(t *testing.T) {
	cl, c := handshake5(t, frames.ConnackProperties{TopicAliasMaximum: 2})
	with := pub("a/b", "1", 0, 0)
	with.Alias = 2
	bare := frames.Publish{Alias: 2}
	cl.send(with, bare, bare)
	c.Expect(with)
	if p := Next[frames.Publish](c); p.Topic != "a/b" || p.Alias != 2 {
		t.Errorf("got %+v", p)
	}
	c.Expect(bare) // byte for byte, so without the topic
}

func TestScriptRefusesAnAliasThatIsNotAnnounced(t *testing.T) {
	above := pub("a", "", 0, 0)
	above.Alias = 3
	tests := []struct {
		name    string
		connack *frames.ConnackProperties
		sent    frames.Publish
		want    string
	}{
		{"none", nil, above, "topic alias 3 is out of range"},
		{"above the maximum", &frames.ConnackProperties{TopicAliasMaximum: 2}, above, "topic alias 3 is out of range"},
		{"not set", &frames.ConnackProperties{TopicAliasMaximum: 9}, frames.Publish{Alias: 1}, "topic alias 1 is not set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			failure := failureOf(t, func(tb testing.TB) {
				b := New(tb)
				cl := dial(t, b).at(frames.V5)
				cl.send(hello, tt.sent)
				c := b.Accept()
				c.ExpectConnect()
				c.Send(frames.Connack{Properties: tt.connack})
				Next[frames.Publish](c)
			})
			if !strings.Contains(failure, tt.want) {
				t.Errorf("failure is %q, want %q in it", failure, tt.want)
			}
		})
	}
}

func TestFailureShowsWhetherATopicWasSent(t *testing.T) {
	set := pub("a", "", 0, 0)
	set.Alias = 1
	failure := failureOf(t, func(tb testing.TB) {
		b := New(tb)
		cl := dial(t, b).at(frames.V5)
		cl.send(hello, set, frames.Publish{Alias: 1})
		c := b.Accept()
		c.ExpectConnect()
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{TopicAliasMaximum: 1}})
		c.Expect(set, set)
	})
	for _, want := range []string{`Topic: wanted "a", got ""`, `got PUBLISH{Topic:"a" Alias:1}`, "got PUBLISH{Alias:1}"} {
		if !strings.Contains(failure, want) {
			t.Errorf("failure is %q, want %q in it", failure, want)
		}
	}
}

func TestExpectDisconnectCodeWantsTheCodeAndTheEnd(t *testing.T) {
	tests := []struct {
		name string
		sent frames.Packet
		open bool
		want string // the failure; "" is none
	}{
		{"as wanted", frames.Disconnect{Code: frames.TopicAliasInvalid}, false, ""},
		{"with a reason string", frames.Disconnect{Code: frames.TopicAliasInvalid, Reason: "alias 7"}, false, ""},
		{"another code", frames.Disconnect{Code: frames.MalformedPacket}, false,
			"wanted DISCONNECT{Code:topic alias invalid}, got DISCONNECT{Code:malformed packet}"},
		{"no code", frames.Disconnect{}, false, "wanted DISCONNECT{Code:topic alias invalid}, got DISCONNECT{}"},
		{"another packet", frames.Pingreq{}, false, "got PINGREQ{}"},
		{"the connection stays open", frames.Disconnect{Code: frames.TopicAliasInvalid}, true, "wanted the end of the connection, got PINGREQ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			failure := failureOf(t, func(tb testing.TB) {
				b := New(tb)
				cl := dial(t, b).at(frames.V5)
				cl.send(hello, tt.sent)
				if tt.open {
					cl.send(frames.Pingreq{})
				}
				_ = cl.conn.Close()
				c := b.Handshake(false)
				c.ExpectDisconnectCode(frames.TopicAliasInvalid)
			})
			if !strings.Contains(failure, tt.want) || tt.want == "" && failure != "" {
				t.Errorf("failure is %q, want %q in it", failure, tt.want)
			}
		})
	}
}
