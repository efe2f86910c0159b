package frames

import "encoding/binary"

// Filter is a topic filter and the highest QoS requested for its messages (section 3.8.3).
type Filter struct {
	Topic string // may have wildcards, or the form $share/group/filter, $queue/filter or $exclusive/filter
	QoS   QoS
}

// Validate checks that f can be sent. It checks the QoS, and the topic with [ValidTopicFilter]. The
// error is an *InvalidError with Field "QoS" or "filter".
func (f Filter) Validate(v Version) error {
	if err := f.QoS.check("QoS"); err != nil {
		return err
	}
	return ValidTopicFilter(f.Topic, v)
}

// Match reports whether topic matches f; see the function [Match].
func (f Filter) Match(topic string) bool { return Match(f.Topic, topic) }

// Subscribe is SUBSCRIBE (section 3.8).
type Subscribe struct {
	ID      uint16 // 1 to 65,535
	DUP     bool   // the packet was sent before; Append ignores DUP on 3.1.1
	Filters []Filter
}

// Type returns TypeSubscribe.
func (Subscribe) Type() Type { return TypeSubscribe }

// Append appends the packet. It checks the identifier, the QoS, the lengths, and that there is at
// least one filter. To check the text of a filter, use [Filter.Validate].
func (s Subscribe) Append(dst []byte, v Version) ([]byte, error) {
	if len(s.Filters) == 0 {
		return dst, noFilters() // [MQTT-3.8.3-3]
	}
	n := 2
	for _, f := range s.Filters {
		if err := f.QoS.check("QoS"); err != nil {
			return dst, err
		}
		if err := checkLength("filter", len(f.Topic)); err != nil {
			return dst, err
		}
		if n += 3 + len(f.Topic); n > MaxRemaining {
			return dst, tooLong(n)
		}
	}
	packet, err := appendRequest(dst, TypeSubscribe, s.ID, s.DUP, n, v)
	if err != nil {
		return dst, err
	}
	for _, f := range s.Filters {
		packet = append(appendField(packet, f.Topic), byte(f.QoS)) // [MQTT-3-8.3-4] the upper bits are 0
	}
	return packet, nil
}

// ParseSubscribe parses a SUBSCRIBE.
func ParseSubscribe(f Frame, v Version) (Subscribe, error) {
	const t = TypeSubscribe
	if err := f.expect(t, v); err != nil {
		return Subscribe{}, err
	}
	s := Subscribe{DUP: f.Header&flagDUP != 0}
	c := cursor{b: f.Body}
	s.ID = c.uint16()
	for len(c.b) > 0 {
		s.Filters = append(s.Filters, Filter{Topic: string(c.field()), QoS: QoS(c.uint8())})
	}
	if err := c.end(t); err != nil {
		return Subscribe{}, err
	}
	if s.ID == 0 {
		return Subscribe{}, &ProtocolError{t, "packet identifier 0"} // [MQTT-2.3.1-1]
	}
	if len(s.Filters) == 0 {
		return Subscribe{}, &ProtocolError{t, "no filters"} // [MQTT-3.8.3-3]
	}
	for _, f := range s.Filters {
		if f.QoS > ExactlyOnce {
			return Subscribe{}, &ProtocolError{t, "requested QoS above 2"} // [MQTT-3-8.3-4]
		}
		if fault := filterFault(f.Topic); fault != "" {
			return Subscribe{}, &ProtocolError{t, "filter " + fault}
		}
	}
	return s, nil
}

// appendRequest appends the fixed header and the identifier of a SUBSCRIBE or UNSUBSCRIBE.
func appendRequest(dst []byte, t Type, id uint16, dup bool, remaining int, v Version) ([]byte, error) {
	if id == 0 {
		return dst, zeroID() // [MQTT-2.3.1-1]
	}
	first := t.first()
	if dup && t.hasDUP(v) {
		first |= flagDUP
	}
	dst = appendLength(append(dst, first), remaining)
	return binary.BigEndian.AppendUint16(dst, id), nil
}

func noFilters() error { return &InvalidError{Field: "filters", Reason: "none given"} }
