package flow

import (
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

type codedAck struct {
	kind frames.Type
	code frames.ReasonCode
}

// V40, V41, V42: the reason code decides between an end, a refusal and the next packet.
func TestReasonCodeDecidesTheOutcomeOfAnAck(t *testing.T) {
	const other, unknownHigh = frames.ReasonCode(0x01), frames.ReasonCode(0xF0)
	for _, c := range []struct {
		name string
		qos  frames.QoS
		acks []codedAck
		want Outcome
		code frames.ReasonCode
	}{
		{"V40 nobody subscribes", 1, []codedAck{{puback, frames.NoMatchingSubscribers}}, Confirmed, frames.NoMatchingSubscribers},
		{"V40 at QoS 2", 2, []codedAck{{pubrec, frames.NoMatchingSubscribers}, {pubcomp, 0}}, Confirmed, frames.NoMatchingSubscribers},
		{"V41 a code that PUBACK does not have", 1, []codedAck{{puback, other}}, Confirmed, other},
		{"V41 the last success", 1, []codedAck{{puback, 0x7F}}, Confirmed, 0x7F},
		{"V42 PUBACK", 1, []codedAck{{puback, frames.NotAuthorized}}, Refused, frames.NotAuthorized},
		{"V42 PUBACK, first failure", 1, []codedAck{{puback, frames.UnspecifiedError}}, Refused, frames.UnspecifiedError},
		{"V42 PUBACK, unknown failure", 1, []codedAck{{puback, unknownHigh}}, Refused, unknownHigh},
		{"V42 PUBACK for QoS 2", 2, []codedAck{{puback, frames.QuotaExceeded}}, Refused, frames.QuotaExceeded},
		{"V42 PUBREC", 2, []codedAck{{pubrec, frames.NotAuthorized}}, Refused, frames.NotAuthorized},
		{"V42 PUBREC again", 2, []codedAck{{pubrec, frames.NotAuthorized}, {pubrec, frames.NotAuthorized}}, Ignored, 0},
		{"V42 PUBREC for an identifier now unknown", 2, []codedAck{{pubrec, frames.NotAuthorized}, {pubrec, 0}}, ReleaseUnknown, 0},
		{"V42 a refusal after PUBREC", 2, []codedAck{{pubrec, 0}, {pubrec, frames.NotAuthorized}}, Ignored, 0},
		{"a refusal after PUBREC, PUBCOMP", 2, []codedAck{{pubrec, 0}, {pubrec, frames.NotAuthorized}, {pubcomp, 0}}, Confirmed, 0},
		{"a refusal for QoS 1 by PUBREC", 1, []codedAck{{pubrec, frames.NotAuthorized}}, Violation, 0},
		{"a refusal before PUBREC", 2, []codedAck{{pubcomp, frames.PacketIdentifierNotFound}}, Violation, 0},
		{"V43 PUBREL sent once", 2, []codedAck{{pubrec, 0}, {pubcomp, frames.PacketIdentifierNotFound}}, Mismatched, frames.PacketIdentifierNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, 1, nil)
			s.add(c.qos, "a")
			s.sends("a#1")
			var e Ended[string]
			var got Outcome
			for _, a := range c.acks {
				e, got = s.Acknowledge(a.kind, 1, a.code, allHanded, 0)
			}
			equal(t, "outcome", got, c.want)
			equal(t, "code", e.Code, c.code)
			ends := c.want == Confirmed || c.want == Refused || c.want == Mismatched
			equal(t, "ends", e.Owner == "a", ends)
			if ends {
				s.counts(0, 0, 0)
				equal(t, "identifiers", s.ids.Len(), 0)
				changes := s.journal.MoveTo(nil)
				equal(t, "the last change", changes[len(changes)-1].Kind, Completed)
			}
		})
	}
}

// V43: PUBCOMP 0x92 is no error if the PUBREL before it may have been the second one.
func TestABrokerThatHasForgottenAPubrelHasFinishedIfPubrelMayHaveGoneBefore(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(s *script)
	}{
		{"resent", func(s *script) {
			s.sends("a#1")
			s.ack(pubrec, 1, Release, "")
			s.take()
			s.lost(true)
			s.sends("PUBREL#1")
		}},
		{"PUBREC came before the PUBLISH was sent again", func(s *script) {
			s.sends("a#1")
			s.take()
			s.lost(true)
			s.ack(pubrec, 1, Release, "")
			s.take()
			s.lost(true)
			s.sends("PUBREL#1")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, 1, nil)
			s.add(2, "a")
			c.begin(s)
			e, got := s.Acknowledge(pubcomp, 1, frames.PacketIdentifierNotFound, allHanded, 0)
			equal(t, "outcome", got, Confirmed)
			equal(t, "owner", e.Owner, "a")
			equal(t, "code", e.Code, frames.Success)
		})
	}
	s := newScript(t, 1, nil)
	s.Restore(Publication{Seq: 1, ID: 1, Message: message(2, 1), Released: true}, "a", 0)
	s.sends("PUBREL#1")
	_, got := s.Acknowledge(pubcomp, 1, frames.PacketIdentifierNotFound, allHanded, 0)
	equal(t, "outcome of a restored publication", got, Confirmed)
}

// V18: publications in flight and new ones share the window of the new connection, in order.
func TestASmallerReceiveMaximumHoldsForResentAndNewPublications(t *testing.T) {
	s := newScript(t, 10, nil)
	s.add(1, names(10)...)
	s.sends("a#1", "b#2", "c#3", "d#4", "e#5", "f#6", "g#7", "h#8", "i#9", "j#10")
	s.add(1, "k")
	s.take()
	s.lost(true)
	s.SetWindow(3)
	s.sends("a#1 dup", "b#2 dup", "c#3 dup")
	for i, name := range []string{"d#4 dup", "e#5 dup", "f#6 dup", "g#7 dup", "h#8 dup", "i#9 dup", "j#10 dup", "k#11"} {
		s.ack(puback, uint16(i+1), Confirmed, names(10)[i])
		s.sends(name)
		s.outstands(3)
	}
}

// V19: the quota holds QoS 1 and 2 back, and QoS 0 behind them, but not PUBREL.
func TestAFullWindowHoldsQoS0BehindAndLetsPubrelGo(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(0, "a")
	s.add(2, "b")
	s.add(1, "c")
	s.add(0, "d")
	s.sends("a", "b#1")
	s.ack(pubrec, 1, Release, "") // PUBREL goes out although the window is full
	s.sends()
	s.ack(pubcomp, 1, Confirmed, "b")
	s.sends("c#2", "d")
}

// V20: each refusal frees one slot.
func TestARefusalFreesOneSlot(t *testing.T) {
	s := newScript(t, 2, nil)
	s.add(2, names(6)...)
	s.sends("a#1", "b#2")
	for _, c := range []struct {
		codedAck
		id   uint16
		want Outcome
		sent string
	}{
		{codedAck{pubrec, frames.QuotaExceeded}, 1, Refused, "c#3"},
		{codedAck{puback, frames.NotAuthorized}, 2, Refused, "d#4"},
	} {
		_, got := s.Acknowledge(c.kind, c.id, c.code, allHanded, 0)
		equal(t, "outcome", got, c.want)
		s.sends(c.sent)
		s.outstands(2)
		s.Acknowledge(c.kind, c.id, c.code, allHanded, 0) // once more, for an identifier that is free
		s.sends()
	}
	s.ack(pubrec, 3, Release, "")
	s.sends()
	_, got := s.Acknowledge(pubcomp, 3, frames.PacketIdentifierNotFound, allHanded, 0)
	equal(t, "outcome", got, Mismatched)
	s.sends("e#5")
	s.outstands(2)
}

// V20, V21: acks for packets of an earlier connection do not raise the number of free slots.
func TestTheWindowStaysWithinTheAnnouncedOneAfterAResume(t *testing.T) {
	s := newScript(t, 3, nil)
	s.add(2, names(6)...)
	s.sends("a#1", "b#2", "c#3")
	s.ack(pubrec, 1, Release, "")
	s.take()
	s.lost(true)
	s.SetWindow(1)
	s.sends("PUBREL#1")
	_, got := s.Acknowledge(pubrec, 3, frames.NotAuthorized, allHanded, 0) // not sent again yet
	equal(t, "outcome", got, Refused)
	s.outstands(1)
	s.sends()
	s.ack(pubcomp, 1, Confirmed, "a") // V21
	s.sends("b#2 dup")
	s.outstands(1)
	s.ack(pubrec, 2, Release, "")
	s.ack(pubcomp, 2, Confirmed, "b")
	s.sends("d#4")
	s.outstands(1)
}
