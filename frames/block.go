package frames

import (
	"bytes"
	"fmt"
)

// AppendProperties appends the properties as a PUBLISH has them (section 3.3.2.3), without the
// length in front. It is meant for storage; [ParseProperties] is its inverse, Since excepted. It
// appends nothing if p is nil. The error is an *InvalidError.
func AppendProperties(dst []byte, p *Properties) ([]byte, error) {
	if p == nil {
		return dst, nil
	}
	if err := p.validate(nil); err != nil {
		return dst, err
	}
	for _, id := range p.Subscriptions {
		if id == 0 || id > maxVarint {
			return dst, &InvalidError{Field: "subscription identifier", Reason: fmt.Sprintf("%d is outside 1 to %d", id, maxVarint)}
		}
	}
	if n, _ := measureProperties(p); n > MaxRemaining {
		return dst, tooLong(n)
	}
	w := propertyWriter{dst: dst}
	p.write(&w)
	return w.dst, nil
}

// ParseProperties parses a block of [Properties.AppendBlock]. A block without properties is nil.
// The result does not refer to b. The error is a *ProtocolError.
func ParseProperties(b []byte) (*Properties, error) {
	var p Properties
	r := propertyReader{in: cursor{b: b}, of: TypePublish, t: TypePublish}
	texts := texts{room: len(b)}
	for x, ok := r.next(); ok; x, ok = r.next() {
		if x.id == propTopicAlias {
			return nil, violation(TypePublish, "topic alias outside of a packet")
		}
		p.take(&x, &texts)
	}
	if r.err != nil {
		return nil, r.err
	}
	if err := p.fault(TypePublish, &r); err != nil {
		return nil, err
	}
	if p.blank() {
		return nil, nil
	}
	p.Correlation = bytes.Clone(p.Correlation)
	return &p, nil
}
