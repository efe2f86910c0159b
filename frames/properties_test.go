package frames

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPropertiesMayBeNil(t *testing.T) {
	var p *Properties
	if _, ok := p.Get("a"); ok {
		t.Error("nil has a user property")
	}
	if _, ok := p.Left(time.Now()); ok {
		t.Error("nil has an expiry interval")
	}
	SetReceived(p)
	if (Message{}).Clone().Properties != nil {
		t.Error("Clone makes properties")
	}
}

func TestGetReturnsTheFirstUserProperty(t *testing.T) {
	p := &Properties{User: []UserProperty{{"a", "1"}, {"b", "2"}, {"a", "3"}}}
	if v, ok := p.Get("a"); !ok || v != "1" {
		t.Errorf("%q, %t", v, ok)
	}
	if _, ok := p.Get("c"); ok {
		t.Error("c was found")
	}
}

// V61, V63: a message that is passed on counts down by itself.
func TestLeftCountsFromSince(t *testing.T) {
	began := time.Unix(1000, 0)
	for _, row := range []struct {
		p    Properties
		now  time.Duration
		want time.Duration
		ok   bool
	}{
		{Properties{}, 0, 0, false},
		{Properties{Expiry: 5 * time.Second}, time.Hour, 5 * time.Second, true},
		{Properties{Expiry: 30 * time.Second, Since: began}, 10 * time.Second, 20 * time.Second, true},
		{Properties{Expiry: 30 * time.Second, Since: began}, time.Minute, 0, true},
		{Properties{Expiry: 30 * time.Second, Since: began}, -time.Minute, 30 * time.Second, true}, // the clock was set back
		{Properties{Since: began}, 0, 0, true},
		{Properties{expires: true}, 0, 0, true},
	} {
		if left, ok := row.p.Left(began.Add(row.now)); left != row.want || ok != row.ok {
			t.Errorf("%+v after %v: %v, %t", row.p, row.now, left, ok)
		}
	}
	p := Properties{expires: true}
	if SetReceived(&p); p.Since.IsZero() {
		t.Error("Received does not set Since")
	}
	p = Properties{}
	if SetReceived(&p); !p.Since.IsZero() {
		t.Error("Received sets Since of a message that does not expire")
	}
}

// V60: never longer than asked, and never 0.
func TestExpiryIsRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 8600 * time.Millisecond: 9, -time.Second: -1} {
		if got := seconds(d); got != want {
			t.Errorf("%v is %d s, want %d", d, got, want)
		}
	}
}

// D-2: before MQTT 5 a message may expire, and has no other property.
func TestOnlyExpiryWorksBeforeMQTT5(t *testing.T) {
	for field, p := range map[string]*Properties{
		"content type": {ContentType: "c"}, "response topic": {ResponseTopic: "r"}, "correlation data": {Correlation: []byte{}},
		"payload format indicator": {Text: true}, "user properties": {User: []UserProperty{{"a", "b"}}},
	} {
		m := Message{Topic: "a", Properties: p}
		wantVersion(t, m.Validate(V311), field)
		if err := m.Validate(V5); err != nil {
			t.Error(err)
		}
	}
	for _, p := range []*Properties{{}, {Expiry: time.Minute}, {Subscriptions: []uint32{1}}} {
		if err := (Message{Topic: "a", Properties: p}).Validate(V31); err != nil {
			t.Error(err)
		}
	}
}

// wantVersion checks that err is a VersionError for field.
func wantVersion(t *testing.T, err error, field string) {
	t.Helper()
	var e *VersionError
	if !errors.As(err, &e) || e.Field != field || e.Need != V5 || e.Have >= V5 || !strings.HasPrefix(e.Error(), field+": needs MQTT 5") {
		t.Errorf("error %v, want a VersionError with field %q", err, field)
	}
}

func TestCloneCopiesTheProperties(t *testing.T) {
	p := &Properties{Correlation: []byte("c"), User: []UserProperty{{"a", "1"}}, Subscriptions: []uint32{1}}
	c := Message{Properties: p}.Clone().Properties
	p.Correlation[0], p.User[0].Name, p.Subscriptions[0] = 'x', "x", 9
	if string(c.Correlation) != "c" || c.User[0].Name != "a" || c.Subscriptions[0] != 1 {
		t.Errorf("%+v", c)
	}
}

// V51, V52, V54: wrong properties are named before anything is sent.
func TestValidateNamesTheProperty(t *testing.T) {
	long := strings.Repeat("x", MaxString+1)
	for _, row := range []struct {
		p    Properties
		want InvalidError
	}{
		{Properties{Expiry: -time.Second}, InvalidError{Field: "message expiry interval"}},
		{Properties{Expiry: (maxExpiry + 1) * time.Second}, InvalidError{Field: "message expiry interval"}},
		{Properties{ContentType: "\x00"}, InvalidError{Field: "content type"}},
		{Properties{ContentType: long}, InvalidError{Field: "content type", Value: MaxString + 1, Limit: MaxString}},
		{Properties{ResponseTopic: "a/#"}, InvalidError{Field: "response topic"}},
		{Properties{Correlation: []byte(long)}, InvalidError{Field: "correlation data", Value: MaxString + 1, Limit: MaxString}},
		{Properties{User: []UserProperty{{"a", ""}, {"\xff", ""}}}, InvalidError{Field: "name of user property 2"}},
		{Properties{User: []UserProperty{{"a", "\x00"}}}, InvalidError{Field: "value of user property 1"}},
		{Properties{Text: true}, InvalidError{Field: "payload"}},
	} {
		m := Message{Topic: "a", Payload: []byte{0xff}, Properties: &row.p}
		wantInvalid(t, m.Validate(V5), row.want)
		wantInvalid(t, m.Validate(V311), row.want)
	}
	good := Message{Topic: "a", Payload: []byte{0xff}, Properties: &Properties{Expiry: time.Second, ResponseTopic: "r", User: []UserProperty{{}}}}
	if err := good.Validate(V5); err != nil {
		t.Error(err)
	}
	large := Message{Topic: "a", Payload: make([]byte, MaxRemaining-4), Properties: good.Properties}
	wantInvalid(t, large.Validate(V5), InvalidError{Field: "packet", Value: MaxRemaining - 1 + 15, Limit: MaxRemaining})
}

// Before MQTT 5 a packet has no properties, whatever Validate would say.
func TestPropertiesAreNotEncodedBeforeMQTT5(t *testing.T) {
	m := Message{Topic: "a", Payload: []byte("m")}
	plain := encode(t, Publish{Message: m}, V311)
	m.Properties = &Properties{ContentType: "t"}
	if got := encode(t, Publish{Message: m, Alias: 1}, V311); string(got) != string(plain) {
		t.Errorf("% x, want % x", got, plain)
	}
}

// A message with properties costs three allocations, however many user properties it has.
func TestParsingPropertiesAllocatesLittle(t *testing.T) {
	p := Publish{Message: Message{Topic: "a/b", Properties: &Properties{
		ContentType: "text", ResponseTopic: "r", Correlation: []byte("id"),
		User: []UserProperty{{"one", "1"}, {"two", "2"}, {"three", "3"}, {"four", "4"}},
	}}}
	f := frameOf(t, encode(t, p, V5))
	var topics Topics
	if n := testing.AllocsPerRun(100, func() { ParsePublish(f, V5, &topics, nil) }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}
