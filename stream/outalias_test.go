package stream_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// aliasing opens a session and accepts its connection, on which it may use most topic aliases.
func aliasing(t *testing.T, b *streamtest.Broker, most uint16, o stream.Options) (*stream.Session, *streamtest.Conn) {
	t.Helper()
	o.Version = frames.V5
	s := open(t, b, &o)
	c := b.Accept()
	acceptAliases(c, most)
	<-s.Online()
	return s, c
}

func acceptAliases(c *streamtest.Conn, most uint16) {
	c.ExpectConnect()
	c.Send(frames.Connack{Properties: &frames.ConnackProperties{TopicAliasMaximum: most}})
}

// aliased returns a PUBLISH with an alias. The topic is as sent, so it may be empty.
func aliased(topic string, q frames.QoS, id, alias uint16) frames.Publish {
	return frames.Publish{Message: frames.Message{Topic: topic, QoS: q}, ID: id, Alias: alias}
}

// published publishes a message, expects it as p, and completes it.
func published(t *testing.T, s *stream.Session, c *streamtest.Conn, topic string, p frames.Publish) {
	t.Helper()
	done := goPublish(s, message(topic, "", p.QoS))
	c.Expect(p)
	c.Complete(p)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// V32: a topic gets an alias when it comes again, in as many as the broker takes on this
// connection.
func TestTopicAliasesEndWithTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := aliasing(t, b, 10, stream.Options{})
		published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 0))
		published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 1))
		published(t, s, c, "plant/hall/press/1", aliased("", 0, 0, 1))
		c.Drop()
		lost(t, s)
		c = b.Handshake(false) // no aliases here
		<-s.Online()
		for range 3 {
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 0))
		}
		c.Drop()
		lost(t, s)
		c = b.Accept()
		acceptAliases(c, 1)
		<-s.Online()
		for _, topic := range []string{"plant/hall/press/1", "plant/hall/press/2"} {
			published(t, s, c, topic, aliased(topic, 0, 0, 0))
		}
		published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 1))
		published(t, s, c, "plant/hall/press/2", aliased("plant/hall/press/2", 0, 0, 0))
		published(t, s, c, "plant/hall/press/1", aliased("", 0, 0, 1))
	})
}

// V32: with a negative TopicAliases no alias is used, and none is accepted.
func TestTopicAliasesCanBeSwitchedOff(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5, V5: stream.OptionsV5{TopicAliases: -1}})
		c := b.Accept()
		if p := c.ExpectConnect(); p.Properties.TopicAliasMaximum != 0 {
			t.Errorf("CONNECT has %+v", p.Properties)
		}
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{TopicAliasMaximum: 10}})
		<-s.Online()
		for range 3 {
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 0))
		}
	})
}

// V33: publications in flight that had gone out with an alias alone carry their topic on the next
// connection, in order, and set no alias there.
func TestPublicationsInFlightCarryTheirTopicOnTheNextConnection(t *testing.T) {
	for _, q := range []frames.QoS{frames.AtLeastOnce, frames.ExactlyOnce} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := aliasing(t, b, 10, stream.Options{ClientID: "c", KeepSession: true, Window: 10})
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 0))
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 1))
			var done []<-chan error
			var sent []frames.Publish
			for range 3 {
				done = append(done, goPublish(s, message("plant/hall/press/1", "", q)))
				p := streamtest.Next[frames.Publish](c)
				if p.Alias != 1 {
					t.Errorf("sent %+v", p)
				}
				sent = append(sent, p)
			}
			c.Abort()
			lost(t, s)
			c = b.Accept()
			c.ExpectConnect()
			c.Send(frames.Connack{SessionPresent: true, Properties: &frames.ConnackProperties{TopicAliasMaximum: 10}})
			for _, p := range sent {
				p.Topic, p.Alias, p.DUP = "plant/hall/press/1", 0, true
				c.Expect(p)
			}
			for i, p := range sent {
				c.Complete(p)
				if err := <-done[i]; err != nil {
					t.Error(err)
				}
			}
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 0))
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 1))
		})
	}
}

// V34: an alias whose PUBLISH is refused stands for nothing, until one that sets it was
// acknowledged.
func TestARefusedPublicationSetsNoAlias(t *testing.T) {
	for q, kind := range map[frames.QoS]frames.Type{frames.AtLeastOnce: puback, frames.ExactlyOnce: pubrec} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := aliasing(t, b, 10, stream.Options{Window: 10})
			published(t, s, c, "plant/hall/press/1", aliased("plant/hall/press/1", 0, 0, 0))
			for range 3 {
				done := goPublish(s, message("plant/hall/press/1", "", q))
				p := streamtest.Next[frames.Publish](c)
				if p.Alias == 0 || p.Topic != "plant/hall/press/1" {
					t.Errorf("sent %+v", p)
				}
				other := goPublish(s, message("plant/hall/press/1", "", 0)) // while the answer is open
				c.Expect(aliased("plant/hall/press/1", 0, 0, 0))
				c.Send(frames.Ack{Kind: kind, ID: p.ID, AckReason: frames.AckReason{Code: frames.NotAuthorized}})
				wantError(t, <-done, stream.ErrRefused, frames.NotAuthorized)
				if err := <-other; err != nil {
					t.Error(err)
				}
			}
			done := goPublish(s, message("plant/hall/press/1", "", q))
			p := streamtest.Next[frames.Publish](c)
			c.Complete(p)
			if err := <-done; err != nil {
				t.Error(err)
			}
			published(t, s, c, "plant/hall/press/1", aliased("", 0, 0, p.Alias))
		})
	}
}

// V32: an alias does not make a PUBLISH larger than the broker takes, and a packet that it makes
// small enough is not sent: the broker measures the message with its topic.
func TestAnAliasKeepsMaximumPacketSize(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5})
		c := b.Accept()
		c.ExpectConnect()
		whole := aliased("plant/hall/press/1", 0, 0, 0)
		size := uint32(len(encoded(t, frames.V5, whole)))
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{TopicAliasMaximum: 10, MaximumPacket: size}})
		<-s.Online()
		for range 3 {
			published(t, s, c, "plant/hall/press/1", whole)
		}
		var limit *stream.LimitError
		if err := s.Publish(context.Background(), message("plant/hall/press/1", "x", 0)); !errors.As(err, &limit) {
			t.Error(err)
		}
		published(t, s, c, "plant/hall/press/1", whole)
	})
}

// V35, V37, V38: an alias that the broker must not use ends the connection with the code for it.
func TestABrokenTopicAliasEndsTheConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		send  [][]byte
		none  bool // we announce 0
		again bool // the last packet comes on the next connection
		want  frames.ReasonCode
	}{
		"zero":             {send: [][]byte{{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 0}}, want: frames.TopicAliasInvalid},
		"above ours":       {send: [][]byte{{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 17}}, want: frames.TopicAliasInvalid},
		"unannounced":      {send: [][]byte{{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 1}}, none: true, want: frames.TopicAliasInvalid},
		"unknown":          {send: [][]byte{{0x30, 6, 0, 0, 3, 0x23, 0, 1}}, want: frames.ProtocolViolation},
		"no topic":         {send: [][]byte{{0x30, 3, 0, 0, 0}}, want: frames.ProtocolViolation},
		"twice":            {send: [][]byte{{0x30, 10, 0, 1, 'a', 6, 0x23, 0, 1, 0x23, 0, 1}}, want: frames.ProtocolViolation},
		"of another table": {send: [][]byte{{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 1}, {0x30, 6, 0, 0, 3, 0x23, 0, 1}}, again: true, want: frames.ProtocolViolation},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := stream.Options{Version: frames.V5, V5: stream.OptionsV5{TopicAliases: 16}}
				if tt.none {
					o.V5.TopicAliases = 0
				}
				s, c := connected(t, b, &o)
				for i, p := range tt.send {
					if i > 0 && tt.again {
						c.Drop()
						lost(t, s)
						c = b.Handshake(false)
						<-s.Online()
					}
					c.SendBytes(p)
				}
				c.ExpectDisconnectCode(tt.want)
				b.Handshake(false)
			})
		})
	}
}

// V36, V39: an alias of the broker stands for the topic that came with it last, also if that
// message was dropped.
func TestAnAliasOfTheBrokerStandsForItsLastTopic(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5, DiscardUnclaimed: true, V5: stream.OptionsV5{TopicAliases: 16}})
		sub := subscribed(t, s, c, "a/#", frames.ExactlyOnce)
		c.Send(
			aliased("a/1", 0, 0, 1), aliased("", 0, 0, 1),
			aliased("a/2", 0, 0, 1), aliased("a/2", 0, 0, 1), aliased("", 0, 0, 1),
			aliased("unclaimed", 0, 0, 1), aliased("", 0, 0, 1), // nobody wants these
			aliased("a/3", 2, 1, 2),
		)
		again := aliased("a/4", 2, 1, 3) // dropped as a second copy, but it sets an alias
		again.DUP = true
		c.Send(again, aliased("", 0, 0, 3), aliased("", 0, 0, 2))
		for _, want := range []string{"a/1", "a/1", "a/2", "a/2", "a/2", "a/3", "a/4", "a/3"} {
			if d := <-sub.Deliveries(); d.Topic != want {
				t.Errorf("got %q, want %q", d.Topic, want)
			}
		}
		synctest.Wait()
		if st := s.Stats(); st.Discarded != 2 {
			t.Errorf("%d messages were discarded", st.Discarded)
		}
	})
}

// V39: a surplus QoS 0 message that is dropped sets its alias all the same.
func TestADroppedMessageSetsItsAlias(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5, MaxPacket: 4 << 10, ReceiveBytes: 4 << 10, V5: stream.OptionsV5{TopicAliases: 16}})
		sub := subscribed(t, s, c, "a/#", 0)
		for range 10 {
			p := aliased("a/0", 0, 0, 0)
			p.Payload = make([]byte, 2<<10)
			c.Send(p)
		}
		first := aliased("a/1", 0, 0, 1)
		first.Payload = make([]byte, 2<<10)
		c.Send(first)
		synctest.Wait()
		if s.Stats().Dropped == 0 {
			t.Fatal("nothing was dropped")
		}
		for drained := false; !drained; {
			select {
			case <-sub.Deliveries():
				synctest.Wait()
			default:
				drained = true
			}
		}
		c.Send(aliased("", 0, 0, 1))
		if d := <-sub.Deliveries(); d.Topic != "a/1" {
			t.Errorf("got %q", d.Topic)
		}
	})
}
