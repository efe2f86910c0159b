package frames

import "fmt"

// Auth is AUTH, a step of an enhanced authentication (MQTT 5, section 3.15). Either side sends it.
type Auth struct {
	Code   ReasonCode // Success, ContinueAuthentication or ReAuthenticate
	Method string     // the authentication method
	Data   []byte     // nil is none
	Reason string     // the reason string
	User   []UserProperty
}

// Type returns TypeAuth.
func (Auth) Type() Type { return TypeAuth }

func (a *Auth) write(w *propertyWriter) {
	if a.Method != "" || a.Data != nil {
		w.method(a.Method)
	}
	w.data(propAuthData, a.Data)
	w.text(propReasonString, a.Reason)
	w.user(a.User)
}

func (a *Auth) empty() bool {
	return a.Method == "" && a.Data == nil && a.Reason == "" && len(a.User) == 0
}

func (a *Auth) validate() error {
	if err := ValidString("authentication method", a.Method); err != nil {
		return err
	}
	if err := checkLength("authentication data", len(a.Data)); err != nil {
		return err
	}
	return (&AckProperties{a.Reason, a.User}).validate()
}

// Append appends the packet. Before MQTT 5 there is no AUTH.
func (a Auth) Append(dst []byte, v Version) ([]byte, error) {
	if v < V5 {
		return dst, &InvalidError{Field: "packet", Reason: "AUTH needs MQTT 5"}
	}
	if a.Code == Success && a.empty() { // section 3.15.2.1
		return append(dst, TypeAuth.first(), 0), nil
	}
	if err := a.validate(); err != nil {
		return dst, err
	}
	return appendCoded(dst, TypeAuth, a.Code, &a)
}

// ParseAuth parses an AUTH.
func ParseAuth(f Frame, v Version) (Auth, error) {
	const t = TypeAuth
	if v < V5 {
		if f.Type() != t {
			return Auth{}, unexpected(f, t)
		}
		return Auth{}, reservedType(f.Header)
	}
	if err := f.expect(t, v); err != nil {
		return Auth{}, err
	}
	var a Auth
	c := cursor{b: f.Body}
	if len(c.b) == 0 {
		return a, nil
	}
	a.Code = ReasonCode(c.uint8())
	switch a.Code {
	case Success, ContinueAuthentication, ReAuthenticate: // [MQTT-3.15.2-1]
	default:
		return Auth{}, violation(t, fmt.Sprintf("reason code %#02x", byte(a.Code)))
	}
	r := c.properties(t, t)
	for x, ok := r.next(); ok; x, ok = r.next() {
		switch x.id {
		case propAuthMethod:
			a.Method = string(x.value)
		case propAuthData:
			a.Data = x.value
		case propReasonString:
			a.Reason = string(x.value)
		case propUser:
			a.User = append(a.User, x.user())
		}
	}
	r.checkAuth()
	if err := c.ended(t, &r); err != nil {
		return Auth{}, err
	}
	return a, nil
}

// appendCoded appends a packet that has a reason code and properties.
func appendCoded(dst []byte, t Type, code ReasonCode, b propertyBlock) ([]byte, error) {
	n, whole := measureProperties(b)
	if 1+whole > MaxRemaining {
		return dst, tooLong(1 + whole)
	}
	dst = appendLength(append(dst, t.first()), 1+whole)
	return appendProperties(append(dst, byte(code)), b, n), nil
}
