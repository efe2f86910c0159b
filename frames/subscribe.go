package frames

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Filter is a topic filter and the options of a subscription to it (section 3.8.3).
type Filter struct {
	Topic string // may have wildcards, or the form $share/group/filter, $queue/filter or $exclusive/filter
	QoS   QoS    // the highest QoS of its messages

	// The options of MQTT 5 (section 3.8.3.1).
	NoLocal           bool // no messages that this client publishes; not with $share
	RetainAsPublished bool // Retain of its messages is as the publisher has set it
	RetainHandling    RetainHandling
}

// String returns the topic, the QoS and the options that are set, such as "{a/# exactly once}".
func (f Filter) String() string {
	s := "{" + f.Topic + " " + f.QoS.String()
	if f.NoLocal {
		s += ", no local"
	}
	if f.RetainAsPublished {
		s += ", retain as published"
	}
	if f.RetainHandling != SendRetained {
		s += ", " + f.RetainHandling.String()
	}
	return s + "}"
}

// RetainHandling says when a broker sends the retained messages for a subscription.
type RetainHandling byte

// The ways of RetainHandling.
const (
	SendRetained      RetainHandling = iota // at each SUBSCRIBE
	SendRetainedIfNew                       // when the subscription does not exist yet
	SendNoRetained
)

// String returns the number that the standard uses, such as "retain handling 1".
func (h RetainHandling) String() string { return "retain handling " + strconv.Itoa(int(h)) }

// The bits of the subscription options.
const (
	optionNoLocal           byte = 1 << 2
	optionRetainAsPublished byte = 1 << 3
	optionReserved          byte = 3 << 6
	retainHandlingShift          = 4
)

// Validate checks that f can be sent. It checks the QoS, the topic with [ValidTopicFilter], and the
// options. The error is an *InvalidError with Field "QoS", "filter", "no local" or "retain
// handling". NoLocal and RetainHandling before MQTT 5 are a *VersionError. RetainAsPublished is
// ignored there, since it only changes a flag of the messages.
func (f Filter) Validate(v Version) error {
	if err := f.QoS.check("QoS"); err != nil {
		return err
	}
	if err := ValidTopicFilter(f.Topic, v); err != nil {
		return err
	}
	if err := CheckFilter(f, v); err != nil {
		return err
	}
	if f.RetainHandling > SendNoRetained {
		return &InvalidError{Field: "retain handling", Reason: "out of range", Value: int(f.RetainHandling), Limit: int(SendNoRetained)}
	}
	if f.NoLocal && strings.HasPrefix(f.Topic, sharePrefix) { // [MQTT-3.8.3-4]
		return &InvalidError{Field: "no local", Reason: "set for a shared subscription"}
	}
	return nil
}

// CheckFilter returns a *VersionError if v cannot carry NoLocal or RetainHandling.
func CheckFilter(f Filter, v Version) error {
	switch {
	case v >= V5:
	case f.NoLocal:
		return needsV5("no local", v)
	case f.RetainHandling != SendRetained:
		return needsV5("retain handling", v)
	}
	return nil
}

// options returns the subscription options.
func (f *Filter) options(v Version) byte {
	b := byte(f.QoS)
	if v < V5 {
		return b // [MQTT-3-8.3-4] the upper bits are 0
	}
	if f.NoLocal {
		b |= optionNoLocal
	}
	if f.RetainAsPublished {
		b |= optionRetainAsPublished
	}
	return b | byte(f.RetainHandling)<<retainHandlingShift
}

// parseOptions sets the options, or returns the rule that they break.
func (f *Filter) parseOptions(b byte, v Version) (fault string) {
	f.QoS = QoS(b)
	if v >= V5 {
		f.QoS = QoS(b & 3)
		f.NoLocal, f.RetainAsPublished = b&optionNoLocal != 0, b&optionRetainAsPublished != 0
		f.RetainHandling = RetainHandling(b >> retainHandlingShift & 3)
	}
	switch {
	case f.QoS > ExactlyOnce:
		return "requested QoS above 2" // [MQTT-3-8.3-4]
	case v < V5:
	case b&optionReserved != 0:
		return "reserved subscription options" // [MQTT-3.8.3-5]
	case f.RetainHandling > SendNoRetained:
		return "retain handling 3"
	case f.NoLocal && strings.HasPrefix(f.Topic, sharePrefix):
		return "no local for a shared subscription" // [MQTT-3.8.3-4]
	}
	return ""
}

// Match reports whether topic matches f; see the function [Match].
func (f Filter) Match(topic string) bool { return Match(f.Topic, topic) }

// Subscribe is SUBSCRIBE (section 3.8).
type Subscribe struct {
	ID      uint16 // 1 to 65,535
	DUP     bool   // 3.1: the packet was sent before
	Filters []Filter

	// MQTT 5.
	Identifier uint32 // the subscription identifier of all Filters, at most 268,435,455; 0 is none
	User       []UserProperty
}

func (s *Subscribe) write(w *propertyWriter) {
	if s.Identifier != 0 {
		w.varint(propSubscriptionID, s.Identifier)
	}
	w.user(s.User)
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
	if s.Identifier > maxVarint {
		return dst, &InvalidError{Field: "subscription identifier", Reason: "out of range", Value: int(s.Identifier), Limit: maxVarint}
	}
	packet, err := appendRequest(dst, request{TypeSubscribe, s.ID, s.DUP, n, s.User, &s}, v)
	if err != nil {
		return dst, err
	}
	for i := range s.Filters {
		packet = append(appendField(packet, s.Filters[i].Topic), s.Filters[i].options(v))
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
	if v >= V5 {
		r := c.properties(t, t)
		for x, ok := r.next(); ok; x, ok = r.next() {
			switch x.id {
			case propSubscriptionID:
				s.Identifier = x.number
			case propUser:
				s.User = append(s.User, x.user())
			}
		}
		if r.err != nil {
			return Subscribe{}, r.err
		}
	}
	var fault string // the first
	for len(c.b) > 0 {
		f := Filter{Topic: string(c.field())}
		wrong := f.parseOptions(c.uint8(), v)
		if wrong == "" {
			if wrong = filterFault(f.Topic); wrong != "" {
				wrong = "filter " + wrong
			}
		}
		if fault == "" {
			fault = wrong
		}
		s.Filters = append(s.Filters, f)
	}
	if err := c.end(t); err != nil {
		return Subscribe{}, err
	}
	if s.ID == 0 {
		return Subscribe{}, violation(t, "packet identifier 0") // [MQTT-2.3.1-1]
	}
	if len(s.Filters) == 0 {
		return Subscribe{}, violation(t, "no filters") // [MQTT-3.8.3-3]
	}
	if fault != "" {
		return Subscribe{}, violation(t, fault)
	}
	return s, nil
}

// A request is the part that SUBSCRIBE and UNSUBSCRIBE have in common.
type request struct {
	kind       Type
	id         uint16
	dup        bool
	remaining  int // without the properties
	user       []UserProperty
	properties propertyBlock
}

// appendRequest appends the fixed header, the identifier and the properties of a request.
func appendRequest(dst []byte, q request, v Version) ([]byte, error) {
	if q.id == 0 {
		return dst, zeroID() // [MQTT-2.3.1-1]
	}
	first, n := q.kind.first(), 0
	if q.dup && q.kind.hasDUP(v) {
		first |= flagDUP
	}
	if v >= V5 {
		if err := validUser(q.user); err != nil {
			return dst, err
		}
		var whole int
		n, whole = measureProperties(q.properties)
		if q.remaining += whole; q.remaining > MaxRemaining {
			return dst, tooLong(q.remaining)
		}
	}
	dst = appendLength(append(dst, first), q.remaining)
	dst = binary.BigEndian.AppendUint16(dst, q.id)
	if v >= V5 {
		dst = appendProperties(dst, q.properties, n)
	}
	return dst, nil
}

func noFilters() error { return &InvalidError{Field: "filters", Reason: "none given"} }
