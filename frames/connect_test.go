package frames

import (
	"errors"
	"strings"
	"testing"
)

func TestConnectValidateAcceptsValidPackets(t *testing.T) {
	long := strings.Repeat("x", MaxString)
	for name, c := range map[string]Connect{
		"no version is 3.1.1":           {ClientID: "c"},
		"no identifier, clean session":  {Version: V311, CleanSession: true},
		"long identifier":               {Version: V311, ClientID: long},
		"3.1, one character":            {Version: V31, ClientID: "水"},
		"3.1, 23 characters":            {Version: V31, ClientID: strings.Repeat("ä", 23)},
		"user name alone":               {ClientID: "c", UserNameFlag: true, UserName: "u"},
		"empty user name and password":  {ClientID: "c", UserNameFlag: true, PasswordFlag: true},
		"password of any bytes":         {ClientID: "c", UserNameFlag: true, PasswordFlag: true, Password: []byte(long[:65534] + "\xff")},
		"will with the longest payload": {ClientID: "c", Will: &Message{Topic: "w", Payload: []byte(long), QoS: 2, Retain: true}},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Append(nil, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnectValidateNamesFieldAndLimit(t *testing.T) {
	long := strings.Repeat("x", 65536)
	const id = "client identifier"
	for name, c := range map[string]struct {
		c    Connect
		want InvalidError
	}{
		"unknown version":         {Connect{Version: 6, ClientID: "c"}, InvalidError{Field: "version"}},
		"no identifier":           {Connect{}, InvalidError{Field: id}},
		"identifier too long":     {Connect{ClientID: long}, InvalidError{Field: id, Value: 65536, Limit: 65535}},
		"identifier not UTF-8":    {Connect{ClientID: "\xff"}, InvalidError{Field: id}},
		"identifier with NUL":     {Connect{ClientID: "\x00"}, InvalidError{Field: id}},
		"3.1, no identifier":      {Connect{Version: V31, CleanSession: true}, InvalidError{Field: id, Limit: 23}},
		"3.1, 24 characters":      {Connect{Version: V31, ClientID: strings.Repeat("ä", 24)}, InvalidError{Field: id, Value: 24, Limit: 23}},
		"will without topic":      {Connect{ClientID: "c", Will: &Message{}}, InvalidError{Field: "will topic"}},
		"will topic, wildcard":    {Connect{ClientID: "c", Will: &Message{Topic: "+"}}, InvalidError{Field: "will topic"}},
		"will topic, not UTF-8":   {Connect{ClientID: "c", Will: &Message{Topic: "\xff"}}, InvalidError{Field: "will topic"}},
		"3.1, long will topic":    {Connect{Version: V31, ClientID: "c", Will: &Message{Topic: long[:32768]}}, InvalidError{Field: "will topic", Value: 32768, Limit: 32767}},
		"will QoS":                {Connect{ClientID: "c", Will: &Message{Topic: "w", QoS: 3}}, InvalidError{Field: "will QoS", Value: 3, Limit: 2}},
		"will payload":            {Connect{ClientID: "c", Will: &Message{Topic: "w", Payload: []byte(long)}}, InvalidError{Field: "will payload", Value: 65536, Limit: 65535}},
		"user name, not UTF-8":    {Connect{ClientID: "c", UserNameFlag: true, UserName: "\xff"}, InvalidError{Field: "user name"}},
		"user name too long":      {Connect{ClientID: "c", UserNameFlag: true, UserName: long}, InvalidError{Field: "user name", Value: 65536, Limit: 65535}},
		"user name, no flag":      {Connect{ClientID: "c", UserName: "u"}, InvalidError{Field: "user name"}},
		"password, no flag":       {Connect{ClientID: "c", UserNameFlag: true, Password: []byte("p")}, InvalidError{Field: "password"}},
		"password, no user":       {Connect{ClientID: "c", PasswordFlag: true}, InvalidError{Field: "password"}},
		"password, no user, 3.1":  {Connect{Version: V31, ClientID: "c", PasswordFlag: true}, InvalidError{Field: "password"}},
		"password too long":       {Connect{ClientID: "c", UserNameFlag: true, PasswordFlag: true, Password: []byte(long)}, InvalidError{Field: "password", Value: 65536, Limit: 65535}},
		"will topic too long":     {Connect{ClientID: "c", Will: &Message{Topic: long}}, InvalidError{Field: "will topic", Value: 65536, Limit: 65535}},
		"user name contains NUL":  {Connect{ClientID: "c", UserNameFlag: true, UserName: "u\x00"}, InvalidError{Field: "user name"}},
		"will topic contains NUL": {Connect{ClientID: "c", Will: &Message{Topic: "w\x00"}}, InvalidError{Field: "will topic"}},
	} {
		t.Run(name, func(t *testing.T) { wantInvalid(t, c.c.Validate(), c.want) })
	}
}

func TestConnectAppendRefusesInvalidFields(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, c := range []struct {
		c    Connect
		v    Version
		want InvalidError
	}{
		{Connect{Version: 6}, 0, InvalidError{Field: "version"}},
		{Connect{}, 6, InvalidError{Field: "version"}},
		{Connect{Version: V31}, V311, InvalidError{Field: "version"}},
		{Connect{ClientID: long}, V311, InvalidError{Field: "client identifier", Value: 65536, Limit: 65535}},
		{Connect{Will: &Message{Topic: long}}, V311, InvalidError{Field: "will topic", Value: 65536, Limit: 65535}},
		{Connect{Will: &Message{Payload: []byte(long)}}, V311, InvalidError{Field: "will payload", Value: 65536, Limit: 65535}},
		{Connect{Will: &Message{QoS: 3}}, V311, InvalidError{Field: "will QoS", Value: 3, Limit: 2}},
		{Connect{UserName: long}, V311, InvalidError{Field: "user name", Value: 65536, Limit: 65535}},
		{Connect{Password: []byte(long)}, V311, InvalidError{Field: "password", Value: 65536, Limit: 65535}},
	} {
		wantUnappended(t, c.c, c.v, c.want)
	}
}

func TestConnectTakesTheVersionOfAppendWhenItHasNone(t *testing.T) {
	for v, want := range map[Version]Version{V31: V31, V311: V311, 0: V311} {
		got, err := ParseConnect(frameOf(t, encode(t, Connect{ClientID: "c"}, v)))
		if err != nil || got.Version != want {
			t.Errorf("%v: %+v, %v", v, got, err)
		}
	}
}

// Append does not check content, so that a scripted client can send bad content on purpose.
func TestConnectAppendDoesNotLookAtContent(t *testing.T) {
	for _, c := range []Connect{
		{},
		{ClientID: "\xff"},
		{PasswordFlag: true},
		{Will: &Message{Topic: "#"}},
	} {
		encode(t, c, V311)
	}
}

// [MQTT-3.1.2-2] a broker answers an unknown protocol level with a return code, so ParseConnect
// must return the level beside its error.
func TestParseConnectTellsAnUnknownLevel(t *testing.T) {
	b := encode(t, Connect{ClientID: "c"}, V311)
	b[8] = 6
	got, err := ParseConnect(frameOf(t, b))
	var violation *ProtocolError
	if !errors.As(err, &violation) || got.Version != 6 || got.ClientID != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseConnectPointsIntoTheBodyAndNoFurther(t *testing.T) {
	c := Connect{ClientID: "c", Will: &Message{Topic: "w", Payload: []byte("bye")}, UserNameFlag: true, UserName: "u"}
	f := frameOf(t, encode(t, c, V311))
	got, err := ParseConnect(f)
	if err != nil {
		t.Fatal(err)
	}
	if cap(got.Will.Payload) != len("bye") {
		t.Error("an append to the will payload would write into the user name")
	}
	clear(f.Body)
	if got.ClientID != "c" || got.UserName != "u" || got.Will.Topic != "w" || string(got.Will.Payload) != "\x00\x00\x00" {
		t.Errorf("%+v, will %+v", got, got.Will)
	}
}

func FuzzParseConnect(f *testing.F) {
	seed(f,
		Connect{ClientID: "c", KeepAlive: 60, CleanSession: true},
		Connect{ClientID: "c", Will: &Message{Topic: "w", Payload: []byte("m"), QoS: 2, Retain: true}},
		Connect{ClientID: "c", UserNameFlag: true, UserName: "u", PasswordFlag: true, Password: []byte{0, 0xFF}},
	)
	// The parameter exact is false because 3.1 does not define bit 0 of the flags.
	fuzzParser(f, false, func(f Frame, _ Version) (Connect, error) { return ParseConnect(f) })
}
