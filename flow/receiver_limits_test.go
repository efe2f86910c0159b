package flow

import (
	"fmt"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// codes checks the acks that may be sent now, with their reason codes and reasons: "PUBACK#1 0x87
// no".
func (s *inScript) codes(want ...string) {
	s.t.Helper()
	var got []string
	for a, ok := s.Next(); ok; a, ok = s.Next() {
		text := fmt.Sprintf("%v#%d %#02x", a.Kind, a.ID, byte(a.Code))
		if a.Properties != nil {
			text += " " + a.Properties.Reason
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("acks %q, want %q", got, want)
	}
}

// admits checks whether a message may come, and lets it come if it may.
func (s *inScript) admits(want bool, qos frames.QoS, id uint16, dup bool) {
	s.t.Helper()
	if got := s.Admits(qos, id, dup); got != want {
		s.t.Errorf("QoS %d #%d DUP %v is admitted: %v, want %v", qos, id, dup, got, want)
	}
	if want {
		s.Arrive(qos, id, dup, 1)
	}
}

const (
	refusal  = frames.NotAuthorized
	failure  = frames.UnspecifiedError
	exceeded = frames.QuotaExceeded
)

// V46: a rejection frees the identifier of a QoS 2 message, which no store keeps.
func TestRejectedQoS2MessageFreesItsIdentifier(t *testing.T) {
	s := newInScript(t)
	s.SetQuota(1, false)
	s.admits(true, qos2, 1, false)
	s.Reject(1, refusal, "no")
	s.codes("PUBREC#1 0x87 no")
	s.journaled()
	s.counts(0, 0, 0)
	equal(t, "PUBREL that comes all the same is known", s.Release(1), false)
	s.admits(true, qos2, 1, false) // a new message, and its slot is free
	s.counts(1, 1, 1)
	s.Ack(2)
	s.codes("PUBREC#1 0x00")
	equal(t, "PUBREL is known", s.Release(1), true)
	s.journaled(Change{Kind: Received, ID: 1}, Change{Kind: Forgotten, ID: 1})
}

func TestRejectedQoS1MessageIsAcknowledgedWithItsCodeInOrder(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos1, 1, 1)
	s.arriveNew(qos1, 2, 1)
	s.Reject(first+1, exceeded, "")
	s.codes()
	s.Ack(first)
	s.codes("PUBACK#1 0x00", "PUBACK#2 0x97")
}

// V47: the ack leaves when both consumers have settled, with the highest code and its reason.
func TestTheHighestCodeOfTheConsumersCounts(t *testing.T) {
	for qos, kind := range map[frames.QoS]string{qos1: "PUBACK", qos2: "PUBREC"} {
		s := newInScript(t)
		first := s.arriveNew(qos, 1, 3)
		s.Reject(first+1, refusal, "high")
		s.Reject(first+2, failure, "low")
		s.codes()
		s.Ack(first)
		s.codes(kind + "#1 0x87 high")
		s.journaled()
		equal(t, "reasons that are kept", len(s.reasons), 0)

		first = s.arriveNew(qos, 2, 2)
		s.Reject(first, failure, "low")
		s.codes()
		s.Reject(first+1, refusal, "")
		s.codes(kind + "#2 0x87")
		s.arriveNew(qos, 3, 1)
		s.Ack(first + 2)
		s.codes(kind + "#3 0x00") // no code of an earlier message
	}
}

// V47: one of two consumers has acknowledged, so the message was delivered, and still it is
// rejected.
func TestAMessageThatOneConsumerRejectsIsNotRecorded(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos2, 1, 2)
	s.Reject(first, refusal, "")
	s.Ack(first + 1)
	s.journaled()
	s.codes("PUBREC#1 0x87")
	s.counts(0, 0, 0)
}

// V47
func TestRejectAfterAckAndAckAfterRejectAreWithoutEffect(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos1, 1, 1)
	s.Ack(first)
	s.Reject(first, refusal, "late")
	s.Reject(first+7, refusal, "never delivered")
	s.codes("PUBACK#1 0x00")
	first = s.arriveNew(qos2, 2, 1)
	s.Reject(first, failure, "")
	s.Reject(first, refusal, "once more")
	s.Ack(first)
	s.codes("PUBREC#2 0x80")
	equal(t, "reasons that are kept", len(s.reasons), 0)
}

// V47: at QoS 1 the message comes again as a new one.
func TestRejectAfterTheConnectionIsGoneHasNoEffectAtQoS1(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos1, 1, 1)
	s.Lost(true)
	s.Reject(first, refusal, "late")
	s.codes()
	again, isNew := s.Arrive(qos1, 1, true, 1)
	equal(t, "delivered again", isNew, true)
	s.Ack(again)
	s.codes("PUBACK#1 0x00")
}

// V47, V48: at QoS 2 the identifier stands for the message, so the rejection goes out when the
// message comes again.
func TestRejectAfterTheConnectionIsGoneAnswersTheNextCopyAtQoS2(t *testing.T) {
	for _, before := range []bool{true, false} {
		s := newInScript(t)
		first := s.arriveNew(qos2, 1, 1)
		if before {
			s.Reject(first, refusal, "")
		}
		s.Lost(true)
		if !before {
			s.Reject(first, refusal, "")
		}
		s.journaled()
		s.arriveDuplicate(1, true)
		s.codes("PUBREC#1 0x87")
		s.counts(0, 0, 0)
		s.arriveNew(qos2, 1, 1)
	}
}

// V48: the ack waits for the consumer that has the message.
func TestADuplicateIsRejectedWhenItsConsumerRejectsTheMessage(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos2, 1, 2)
	s.Ack(first)
	s.Lost(true)
	s.SetQuota(1, true)
	s.admits(true, qos2, 1, true)
	s.codes()
	s.Reject(first+1, refusal, "")
	s.codes("PUBREC#1 0x87")
	s.admits(true, qos2, 2, false)
}

// A broker that sends a message twice gets two acks, and the identifier is free after the second.
func TestEachCopyOfARejectedMessageGetsTheCode(t *testing.T) {
	s := newInScript(t)
	s.SetQuota(1, false)
	first := s.arriveNew(qos2, 1, 1)
	s.admits(true, qos2, 1, false) // the identifier is in use: not another message
	s.Reject(first, refusal, "")
	s.codes("PUBREC#1 0x87", "PUBREC#1 0x87")
	s.counts(0, 0, 0)
	equal(t, "used", s.used, 0)
}

func TestPubrelCancelsTheAckOfARejectedMessage(t *testing.T) {
	s := newInScript(t)
	s.SetQuota(2, false)
	s.admits(true, qos1, 9, false)
	s.admits(true, qos2, 1, false)
	s.Reject(2, refusal, "no")
	equal(t, "PUBREL is known", s.Release(1), true)
	s.Ack(1)
	s.codes("PUBACK#9 0x00")
	equal(t, "used", s.used, 0)
	s.admits(true, qos1, 1, false)
	s.Ack(3)
	s.codes("PUBACK#1 0x00")
}

func TestRejectionsAreForgottenWithTheConnection(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos1, 1, 2)
	s.Reject(first, refusal, "no")
	s.codes() // collects the code of the first consumer
	s.Lost(true)
	s.arriveNew(qos1, 2, 1)
	s.Ack(first + 2)
	s.codes("PUBACK#2 0x00")
	equal(t, "reasons that are kept", len(s.reasons), 0)
}

// V22, V24: a message counts until PUBACK or PUBREL, and PUBREC frees nothing.
func TestTheBrokerKeepsToTheReceiveMaximum(t *testing.T) {
	s := newInScript(t)
	s.SetQuota(2, false)
	s.admits(true, qos1, 1, false)
	s.admits(true, qos2, 2, false)
	s.admits(false, qos1, 3, false)
	s.admits(false, qos2, 3, true) // DUP is no excuse on a new session
	s.Ack(2)
	s.Ack(1)
	s.codes("PUBACK#1 0x00", "PUBREC#2 0x00")
	s.admits(true, qos2, 3, false)
	s.admits(false, qos1, 4, false) // V24: PUBREC was sent for 2
	s.Release(2)
	s.admits(true, qos1, 4, false)
	s.admits(false, qos2, 5, false)
	equal(t, "surplus", s.Surplus(), 0)
}

// V22
func TestWithoutAReceiveMaximumEverythingIsAdmitted(t *testing.T) {
	s := newInScript(t)
	for id := range uint16(300) {
		s.admits(true, qos1, id+1, false)
	}
	equal(t, "surplus", s.Surplus(), 0)
}

// V23: a broker that sends its whole backlog to a resumed session is not cut off.
func TestABacklogOfAResumedSessionIsSurplus(t *testing.T) {
	s := newInScript(t)
	s.SetQuota(2, true)
	for id := range uint16(12) {
		s.admits(true, qos1, id+1, true)
	}
	equal(t, "surplus", s.Surplus(), 10)
	s.admits(true, qos2, 13, false) // the backlog leaves the quota alone
	s.admits(true, qos1, 14, false)
	s.admits(false, qos1, 15, false)
	for seq := range uint64(12) {
		s.Ack(seq + 1)
	}
	for range 12 {
		s.Next()
	}
	equal(t, "beside the quota", s.extra, 0)
	s.admits(false, qos1, 15, false)
}

// V25: the quota of a connection begins unused.
func TestTheQuotaStartsAnewWithTheConnection(t *testing.T) {
	s := newInScript(t)
	s.SetQuota(1, false)
	s.admits(true, qos2, 1, false)
	s.admits(false, qos2, 2, false)
	s.Lost(true)
	s.SetQuota(1, true)
	s.admits(true, qos2, 1, true) // does not count
	s.admits(true, qos2, 2, false)
	s.admits(false, qos1, 3, false)
	s.Release(1)
	s.admits(false, qos1, 3, false)
	s.Release(2)
	s.admits(true, qos1, 3, false)
}
