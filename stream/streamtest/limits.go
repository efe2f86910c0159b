package streamtest

import (
	"fmt"
	"strings"

	"github.com/go-millrace/mqtt/frames"
)

// limits holds a client to the limits that a CONNACK of MQTT 5 announced to it. The zero value has
// no limits.
//
// Invariant: open counts the publications at QoS 1 and 2 whose last acknowledgment is not written.
// Of these, answered have it among the pending bytes.
type limits struct {
	announced      *frames.ConnackProperties // nil: none
	open, answered int
}

// packet checks the size of a packet (section 3.2.2.3.6).
func (l *limits) packet(f frames.Frame) error {
	if a := l.announced; a != nil && a.MaximumPacket != 0 && uint64(f.Size()) > uint64(a.MaximumPacket) {
		return fmt.Errorf("%v of %d bytes exceeds the maximum packet size of %d", f.Type(), f.Size(), a.MaximumPacket)
	}
	return nil
}

// publish checks a PUBLISH. The parameter again is true for a second copy of a message that is
// open.
func (l *limits) publish(p *frames.Publish, again bool) error {
	if p.Properties != nil && p.Properties.Subscriptions != nil {
		return fmt.Errorf("PUBLISH with a subscription identifier") // [MQTT-3.3.4-6]
	}
	a := l.announced
	if a == nil {
		return nil
	}
	switch {
	case a.MaximumQoS != nil && p.QoS > *a.MaximumQoS:
		return fmt.Errorf("PUBLISH at QoS %d exceeds the maximum QoS of %d", p.QoS, *a.MaximumQoS) // [MQTT-3.2.2-11]
	case a.NoRetain && p.Retain:
		return fmt.Errorf("PUBLISH with RETAIN, which is not available") // [MQTT-3.2.2-14]
	case p.QoS == frames.AtMostOnce || again:
		return nil
	}
	if l.open++; a.ReceiveMaximum != 0 && l.open > int(a.ReceiveMaximum) {
		return fmt.Errorf("%d publications in flight exceed the receive maximum of %d", l.open, a.ReceiveMaximum) // [MQTT-3.3.4-7]
	}
	return nil
}

// filter returns the granted QoS of a filter, or the code that refuses it.
func (l *limits) filter(f frames.Filter, identifier uint32) frames.ReasonCode {
	a := l.announced
	if a == nil {
		return frames.ReasonCode(f.QoS)
	}
	switch {
	case a.NoSharedSubscriptions && strings.HasPrefix(f.Topic, "$share/"):
		return frames.SharedSubscriptionsNotSupported
	case a.NoWildcards && strings.ContainsAny(f.Topic, "+#"):
		return frames.WildcardSubscriptionsNotSupported
	case a.NoSubscriptionIDs && identifier != 0:
		return frames.SubscriptionIdentifiersNotSupported
	case a.MaximumQoS != nil:
		return frames.ReasonCode(min(f.QoS, *a.MaximumQoS)) // section 3.2.2.3.4
	}
	return frames.ReasonCode(f.QoS)
}

// complete notes that the last acknowledgment of a publication is among the pending bytes.
func (l *limits) complete() {
	if l.announced != nil {
		l.answered++
	}
}

// written notes that the pending bytes leave. The client may use the slots of the publications that
// they acknowledge.
func (l *limits) written() {
	l.open -= l.answered
	l.answered = 0
}
