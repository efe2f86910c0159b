package frames

import "testing"

func TestAuthNeedsMQTT5(t *testing.T) {
	wantUnappended(t, Auth{}, V311, InvalidError{Field: "packet"})
	if _, err := ParseAuth(Frame{TypeAuth.first(), nil}, V311); err == nil || err.Error() != "protocol violation: packet type 15 is reserved" {
		t.Error(err)
	}
}

func TestReasonsThatCannotBeEncodedAreRefused(t *testing.T) {
	bad := []UserProperty{{"a", "\x00"}}
	n := uint32(1)
	for _, p := range []Packet{
		Ack{Kind: TypePuback, ID: 1, AckReason: AckReason{Properties: &AckProperties{User: bad}}}, Suback{1, []ReasonCode{0}, &AckProperties{User: bad}},
		Unsuback{1, []ReasonCode{0}, &AckProperties{User: bad}}, Subscribe{ID: 1, Filters: []Filter{{Topic: "a"}}, User: bad},
		Unsubscribe{ID: 1, Topics: []string{"a"}, User: bad}, Disconnect{SessionExpiry: &n, User: bad}, Auth{Method: "m", User: bad},
		Connack{Properties: &ConnackProperties{User: bad}},
	} {
		wantUnappended(t, p, V5, InvalidError{Field: "value of user property 1"})
	}
	wantUnappended(t, Subscribe{ID: 1, Filters: []Filter{{Topic: "a"}}, Identifier: maxVarint + 1}, V5,
		InvalidError{Field: "subscription identifier", Value: maxVarint + 1, Limit: maxVarint})
	wantUnappended(t, Unsuback{ID: 1}, V5, InvalidError{Field: "codes"})
	q := ExactlyOnce
	wantUnappended(t, Connack{Properties: &ConnackProperties{MaximumQoS: &q}}, V5, InvalidError{Field: "maximum QoS", Value: 2, Limit: 1})
}

// V67.
func TestOptionsOfFiltersAreValidated(t *testing.T) {
	wantInvalid(t, Filter{Topic: "a", RetainHandling: 3}.Validate(V5), InvalidError{Field: "retain handling", Value: 3, Limit: 2})
	wantInvalid(t, Filter{Topic: "$share/g/a", NoLocal: true}.Validate(V5), InvalidError{Field: "no local"})
	if err := (Filter{Topic: "a", NoLocal: true, RetainAsPublished: true, RetainHandling: SendRetainedIfNew}).Validate(V5); err != nil {
		t.Error(err)
	}
	for field, f := range map[string]Filter{
		"no local": {Topic: "a", NoLocal: true}, "retain handling": {Topic: "a", RetainHandling: SendNoRetained},
	} {
		wantVersion(t, f.Validate(V311), field)
	}
	if err := (Filter{Topic: "a", RetainAsPublished: true}).Validate(V311); err != nil {
		t.Error(err)
	}
}

func TestFiltersAreShownWithTheirOptions(t *testing.T) {
	for want, f := range map[string]Filter{
		"{a/# exactly once}": {Topic: "a/#", QoS: ExactlyOnce},
		"{a at most once, no local, retain as published, retain handling 1}": {
			Topic: "a", NoLocal: true, RetainAsPublished: true, RetainHandling: SendRetainedIfNew,
		},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestConnectPropertiesAreValidated(t *testing.T) {
	for _, row := range []struct {
		p    ConnectProperties
		want string
	}{
		{ConnectProperties{AuthData: []byte{}}, "authentication data"},
		{ConnectProperties{AuthMethod: "\xff"}, "authentication method"},
		{ConnectProperties{User: []UserProperty{{"\x00", ""}}}, "name of user property 1"},
	} {
		wantInvalid(t, Connect{Version: V5, Properties: &row.p}.Validate(), InvalidError{Field: row.want})
	}
	will := &Message{Topic: "w", Properties: &Properties{ResponseTopic: "+"}}
	wantInvalid(t, Connect{Version: V5, Will: will}.Validate(), InvalidError{Field: "response topic"})
	wantVersion(t, Connect{ClientID: "c", Properties: &ConnectProperties{}}.Validate(), "properties of CONNECT")
	will = &Message{Topic: "w", Properties: &Properties{ContentType: "c"}}
	wantVersion(t, Connect{ClientID: "c", Will: will}.Validate(), "content type")
	if err := (Connect{Version: V5, PasswordFlag: true, Password: []byte("p")}).Validate(); err != nil {
		t.Errorf("a password without user name: %v", err)
	}
}

func FuzzParseAuth(f *testing.F) {
	seed(f, Auth{}, Auth{Code: ContinueAuthentication, Method: "m", Data: []byte{1}, Reason: "r", User: []UserProperty{{"a", "b"}}})
	fuzzParser(f, false, ParseAuth)
}

func FuzzParseDisconnect(f *testing.F) {
	n := uint32(1)
	seed(f, Disconnect{}, Disconnect{Code: ServerMoved}, Disconnect{ServerMoved, &n, "r", "s", []UserProperty{{"a", "b"}}})
	fuzzParser(f, true, ParseDisconnect)
}

func FuzzParseUnsuback(f *testing.F) {
	seed(f, Unsuback{ID: 1}, Unsuback{1, []ReasonCode{Success, NotAuthorized}, &AckProperties{"r", []UserProperty{{"a", "b"}}}})
	fuzzParser(f, true, ParseUnsuback)
}
