package streamtest

import (
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func TestLimitsCountAPublicationUntilItsLastAckIsWritten(t *testing.T) {
	l := limits{announced: &frames.ConnackProperties{ReceiveMaximum: 2}}
	one, zero := pub("a", "", 1, 1), pub("a", "", 0, 0)
	publish := func(p frames.Publish, again bool, want string) {
		t.Helper()
		if err := l.publish(&p, again); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	publish(one, false, "")
	publish(one, false, "")
	publish(zero, false, "")
	publish(pub("a", "", 2, 1), true, "") // a second copy
	l.complete()
	l.written()
	publish(one, false, "")
	l.complete() // among the pending bytes
	publish(one, false, "3 publications in flight exceed the receive maximum of 2")
}

func TestLimitsRefuseOrLowerAFilter(t *testing.T) {
	q := frames.AtLeastOnce
	all := &frames.ConnackProperties{MaximumQoS: &q, NoWildcards: true, NoSubscriptionIDs: true, NoSharedSubscriptions: true}
	tests := []struct {
		announced  *frames.ConnackProperties
		filter     string
		qos        frames.QoS
		identifier uint32
		want       frames.ReasonCode
	}{
		{nil, "$share/g/#", 2, 7, frames.GrantedQoS2},
		{&frames.ConnackProperties{}, "$share/g/#", 2, 7, frames.GrantedQoS2},
		{all, "a", 2, 0, frames.GrantedQoS1},
		{all, "a", 0, 0, frames.Success},
		{all, "a/+", 0, 0, frames.WildcardSubscriptionsNotSupported},
		{all, "a", 0, 7, frames.SubscriptionIdentifiersNotSupported},
		{all, "$share/g/a", 0, 0, frames.SharedSubscriptionsNotSupported},
	}
	for _, tt := range tests {
		l := limits{announced: tt.announced}
		if got := l.filter(frames.Filter{Topic: tt.filter, QoS: tt.qos}, tt.identifier); got != tt.want {
			t.Errorf("%s at QoS %d with identifier %d: %v, want %v", tt.filter, tt.qos, tt.identifier, got, tt.want)
		}
	}
}
