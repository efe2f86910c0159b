package link

import (
	"context"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// An Exchange is the client's side of one enhanced authentication (MQTT 5, section 4.12). A new one
// is made for each connection and for each re-authentication.
type Exchange interface {
	// Method returns the authentication method, such as SCRAM-SHA-256.
	Method() string

	// First returns the data of CONNECT, or of the AUTH that begins a re-authentication; nil for
	// none.
	First() ([]byte, error)

	// Answer returns the answer to a challenge of the broker.
	Answer(ctx context.Context, challenge []byte) ([]byte, error)

	// Done checks the data with which the broker has accepted the client; nil if it has sent none.
	// It is the last word on whether the broker has proved its identity.
	Done(data []byte) error
}

// An Authentication is an Exchange under way.
type Authentication struct {
	Exchange
	Method    string
	ExpiresAt time.Time // of an Exchange with the method Expires() time.Time, set by Finish; zero: never
	first     []byte
}

// BeginAuthentication calls authenticate and the first methods of its Exchange.
func BeginAuthentication(ctx context.Context, authenticate func(context.Context) (Exchange, error)) (*Authentication, error) {
	var x Authentication
	if err := guard(func() (err error) {
		if x.Exchange, err = authenticate(ctx); err != nil {
			return err
		}
		if x.Exchange == nil {
			return BadOption("Authenticate", "has returned neither an Exchange nor an error")
		}
		if x.Method = x.Exchange.Method(); x.Method == "" {
			return BadOption("Authenticate", "has returned an Exchange without a method")
		}
		x.first, err = x.First()
		return err
	}); err != nil {
		return nil, wrap("authentication: ", err)
	}
	p := frames.ConnectProperties{AuthMethod: x.Method, AuthData: x.first}
	if err := (frames.Connect{Version: frames.V5, CleanSession: true, Properties: &p}).Validate(); err != nil {
		return nil, wrap("authentication: ", err)
	}
	return &x, nil
}

// Again returns the AUTH that begins a re-authentication.
func (x *Authentication) Again() frames.Auth {
	return frames.Auth{Code: frames.ReAuthenticate, Method: x.Method, Data: x.first}
}

// Continue returns the answer to an AUTH that continues the exchange [MQTT-4.12.0-3].
func (x *Authentication) Continue(ctx context.Context, a *frames.Auth) (answer frames.Auth, err error) {
	answer = frames.Auth{Code: frames.ContinueAuthentication, Method: x.Method}
	if err := guard(func() (err error) { answer.Data, err = x.Answer(ctx, a.Data); return err }); err != nil {
		return answer, wrap("authentication: ", err)
	}
	return answer, nil
}

// Finish checks the last data of the broker.
func (x *Authentication) Finish(data []byte) error {
	if err := guard(func() error {
		if err := x.Done(data); err != nil {
			return err
		}
		if e, ok := x.Exchange.(interface{ Expires() time.Time }); ok {
			x.ExpiresAt = e.Expires()
		}
		return nil
	}); err != nil {
		return wrap("authentication: the broker is not accepted: ", err)
	}
	return nil
}

// guard calls code of the user. A panic becomes an error, so that a fault in an Exchange does not
// end the program.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// answer handles an AUTH that comes before CONNACK [MQTT-4.12.0-2] [MQTT-4.12.0-3].
func (c *Conn) answer(ctx context.Context, f frames.Frame, x *Authentication) error {
	a, err := frames.ParseAuth(f, c.Version)
	if err == nil {
		err = CheckAuth(&a, x.Method, frames.ContinueAuthentication)
	}
	if err != nil {
		return err
	}
	answer, err := x.Continue(ctx, &a)
	if err != nil {
		return err
	}
	packet, err := answer.Append(nil, c.Version)
	if err == nil {
		_, err = c.Write(packet)
	}
	if err != nil {
		return wrap("AUTH: ", err)
	}
	return nil
}

// CheckAuth returns an error if an AUTH of the broker does not belong to the exchange with the
// given method, or has none of the codes [MQTT-4.12.0-5].
func CheckAuth(a *frames.Auth, method string, codes ...frames.ReasonCode) error {
	if a.Method != method {
		return &frames.ProtocolError{Type: frames.TypeAuth, Reason: fmt.Sprintf("has the authentication method %.64q, not %q [MQTT-4.12.0-5]", a.Method, method)}
	}
	for _, code := range codes {
		if a.Code == code {
			return nil
		}
	}
	return &frames.ProtocolError{Type: frames.TypeAuth, Reason: fmt.Sprintf("has the reason code %#02x in the wrong place", byte(a.Code))}
}

// accept checks the authentication in a CONNACK with Success. A nil Authentication is none.
func (x *Authentication) accept(c *Conn, p *frames.ConnackProperties) error {
	switch {
	case x == nil && p.AuthMethod != "":
		return &frames.ProtocolError{Type: frames.TypeConnack, Reason: "has an authentication method, which CONNECT has not [MQTT-4.12.0-6]"}
	case x == nil:
		return nil
	case p.AuthMethod != x.Method:
		return &frames.ProtocolError{Type: frames.TypeConnack, Reason: fmt.Sprintf("has the authentication method %.64q, not %q [MQTT-4.12.0-5]", p.AuthMethod, x.Method)}
	}
	if err := x.Finish(p.AuthData); err != nil {
		return err
	}
	c.Auth = x
	return nil
}
