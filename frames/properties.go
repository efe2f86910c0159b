package frames

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Properties are the properties of a message in MQTT 5 (section 3.3.2.3). As with the payload, do
// not write to them before the Receipt of the message. Received Properties may be shared with other
// consumers.
type Properties struct {
	Expiry        time.Duration // the message expiry interval, rounded up to whole seconds, at most 4,294,967,295 s; see Since
	Since         time.Time     // when Expiry began; if it is zero, an Expiry of 0 is none
	ContentType   string
	ResponseTopic string
	Correlation   []byte // the correlation data; nil is none
	Text          bool   // the payload format indicator: the payload is UTF-8
	User          []UserProperty
	Subscriptions []uint32 // the subscription identifiers of a received message

	expires bool // a received message has an expiry interval, perhaps 0
}

// UserProperty is a name and a value that the sender chooses (section 3.3.2.3.7). Names may be
// repeated, and their order is kept.
type UserProperty struct{ Name, Value string }

// Get returns the value of the first user property with a name. It accepts nil Properties.
func (p *Properties) Get(name string) (value string, ok bool) {
	if p == nil {
		return "", false
	}
	for i := range p.User {
		if p.User[i].Name == name {
			return p.User[i].Value, true
		}
	}
	return "", false
}

// Left returns how much of the expiry interval is left at the time now, at least 0, or false if the
// message has none. It accepts nil Properties.
func (p *Properties) Left(now time.Time) (left time.Duration, ok bool) {
	if p == nil || p.Expiry == 0 && p.Since.IsZero() && !p.expires {
		return 0, false
	}
	left = p.Expiry
	if !p.Since.IsZero() {
		left -= max(0, now.Sub(p.Since))
	}
	return max(0, left), true
}

// SetReceived sets Since of parsed Properties to the present time, if the message has an expiry
// interval. It does not write to Properties that messages share.
func SetReceived(p *Properties) {
	if p != nil && p.expires {
		p.Since = time.Now()
	}
}

// PropertiesMemory returns about how many bytes of memory p takes.
func PropertiesMemory(p *Properties) int {
	n := 160 + len(p.ContentType) + len(p.ResponseTopic) + len(p.Correlation) + 4*len(p.Subscriptions)
	for i := range p.User {
		n += 32 + len(p.User[i].Name) + len(p.User[i].Value)
	}
	return n
}

// clone returns a deep copy.
func (p *Properties) clone() *Properties {
	if p == nil {
		return nil
	}
	c := *p
	c.Correlation = bytes.Clone(p.Correlation)
	c.User, c.Subscriptions = slices.Clone(p.User), slices.Clone(p.Subscriptions)
	return &c
}

// maxExpiry is the longest interval, in seconds.
const maxExpiry = 1<<32 - 1

// seconds returns an interval in whole seconds, rounded up.
func seconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return n
}

// validate checks that p can be sent with the payload. The error is an *InvalidError.
func (p *Properties) validate(payload []byte) error {
	if p == nil {
		return nil
	}
	if p.Expiry < 0 || seconds(p.Expiry) > maxExpiry {
		// The limit does not fit an int of 32 bits.
		return &InvalidError{Field: "message expiry interval", Reason: fmt.Sprintf("%v is outside 0 to 4,294,967,295 s", p.Expiry)}
	}
	if err := ValidString("content type", p.ContentType); err != nil {
		return err
	}
	if p.ResponseTopic != "" {
		if err := validTopicName("response topic", p.ResponseTopic, V5); err != nil {
			return err // [MQTT-3.3.2-14]
		}
	}
	if err := checkLength("correlation data", len(p.Correlation)); err != nil {
		return err
	}
	if p.Text {
		if fault := bytesFault(payload); fault == notUTF8 {
			return &InvalidError{Field: "payload", Reason: fault + ", although Text is set"}
		}
	}
	return validUser(p.User)
}

// validUser checks user properties. The error names the number of the property, counted from 1.
func validUser(list []UserProperty) error {
	for i, u := range list {
		if err := ValidString(fmt.Sprintf("name of user property %d", i+1), u.Name); err != nil {
			return err
		}
		if err := ValidString(fmt.Sprintf("value of user property %d", i+1), u.Value); err != nil {
			return err
		}
	}
	return nil
}

// CheckProperties returns a *VersionError for the first property, other than Expiry, that a version
// before MQTT 5 cannot carry. It accepts nil Properties.
func CheckProperties(p *Properties, v Version) error {
	if p == nil || v >= V5 {
		return nil
	}
	switch {
	case p.ContentType != "":
		return needsV5("content type", v)
	case p.ResponseTopic != "":
		return needsV5("response topic", v)
	case p.Correlation != nil:
		return needsV5("correlation data", v)
	case p.Text:
		return needsV5("payload format indicator", v)
	case len(p.User) > 0:
		return needsV5("user properties", v)
	}
	return nil
}

// size returns the size of the block of p, without the length of the block. It is 0 if p is nil.
// Unlike measureProperties it does not allocate.
func (p *Properties) size() int {
	if p == nil {
		return 0
	}
	w := propertyWriter{measuring: true}
	p.write(&w)
	return w.n
}

func (p *Properties) write(w *propertyWriter) {
	w.flag(propPayloadFormat, p.Text)
	if p.Expiry > 0 || p.expires || !p.Since.IsZero() {
		w.uint32(propMessageExpiry, uint32(seconds(p.Expiry)))
	}
	w.text(propContentType, p.ContentType)
	w.text(propResponseTopic, p.ResponseTopic)
	w.data(propCorrelationData, p.Correlation)
	w.user(p.User)
	for _, id := range p.Subscriptions {
		w.varint(propSubscriptionID, id)
	}
}

// blank reports whether p has no property that would be sent.
func (p *Properties) blank() bool {
	return !p.Text && p.Expiry == 0 && !p.expires && p.Since.IsZero() && p.ContentType == "" && p.ResponseTopic == "" &&
		p.Correlation == nil && p.User == nil && p.Subscriptions == nil
}

// take stores a property of a PUBLISH or a will.
func (p *Properties) take(x *property, texts *texts) {
	switch x.id {
	case propPayloadFormat:
		p.Text = x.number == 1
	case propMessageExpiry:
		p.Expiry, p.expires = time.Duration(x.number)*time.Second, true
	case propContentType:
		p.ContentType = texts.of(x.value)
	case propResponseTopic:
		p.ResponseTopic = texts.of(x.value)
	case propCorrelationData:
		p.Correlation = x.value
	case propUser:
		if p.User == nil {
			p.User = make([]UserProperty, 0, 4)
		}
		p.User = append(p.User, UserProperty{texts.of(x.name), texts.of(x.value)})
	case propSubscriptionID:
		p.Subscriptions = append(p.Subscriptions, x.number)
	}
}

// fault returns an error for properties that a received packet must not have.
func (p *Properties) fault(t Type, r *propertyReader) error {
	if !r.has(propResponseTopic) {
		return nil
	}
	if fault := topicFault(p.ResponseTopic); fault != "" {
		return violation(t, "response topic "+fault) // [MQTT-3.3.2-14]
	}
	return nil
}

// texts turns the strings of one property block into parts of one string, so that many strings need
// one allocation.
type texts struct {
	b    strings.Builder
	room int // bytes of all strings together, at most
}

// of returns b as a string.
func (t *texts) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if t.b.Cap() == 0 {
		t.b.Grow(t.room)
	}
	from := t.b.Len()
	t.b.Write(b)
	return t.b.String()[from:]
}

// parseUser reads a block that has a reason string and user properties, as those of acks.
func (r *propertyReader) parseReason() (reason string, user []UserProperty) {
	for x, ok := r.next(); ok; x, ok = r.next() {
		switch x.id {
		case propReasonString:
			reason = string(x.value)
		case propUser:
			user = append(user, x.user())
		}
	}
	return reason, user
}
