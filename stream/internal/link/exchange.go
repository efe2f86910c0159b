package link

import (
	"context"
	"fmt"

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

// An exchange is an Exchange under way, with the values that CONNECT needs.
type exchange struct {
	Exchange
	method string
	first  []byte
}

// begin makes the exchange of an attempt.
func (c *Config) begin(ctx context.Context) (*exchange, error) {
	var e exchange
	if err := guard(func() (err error) {
		if e.Exchange, err = c.Authenticate(ctx); err != nil {
			return err
		}
		if e.Exchange == nil {
			return BadOption("Authenticate", "has returned neither an Exchange nor an error")
		}
		if e.method = e.Method(); e.method == "" {
			return BadOption("Authenticate", "has returned an Exchange without a method")
		}
		e.first, err = e.First()
		return err
	}); err != nil {
		return nil, wrap("authentication: ", err)
	}
	p := frames.ConnectProperties{AuthMethod: e.method, AuthData: e.first}
	if err := (frames.Connect{Version: frames.V5, CleanSession: true, Properties: &p}).Validate(); err != nil {
		return nil, wrap("authentication: ", err)
	}
	return &e, nil
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
func (c *Conn) answer(ctx context.Context, f frames.Frame, x *exchange) error {
	a, err := frames.ParseAuth(f, c.Version)
	if err == nil {
		err = CheckAuth(&a, x.method, frames.ContinueAuthentication)
	}
	if err != nil {
		return err
	}
	var data []byte
	if err := guard(func() (err error) { data, err = x.Answer(ctx, a.Data); return err }); err != nil {
		return wrap("authentication: ", err)
	}
	answer, err := frames.Auth{Code: frames.ContinueAuthentication, Method: x.method, Data: data}.Append(nil, c.Version)
	if err == nil {
		_, err = c.Write(answer)
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

// accept checks the authentication in a CONNACK with Success. A nil exchange is none.
func (x *exchange) accept(c *Conn, p *frames.ConnackProperties) error {
	switch {
	case x == nil && p.AuthMethod != "":
		return &frames.ProtocolError{Type: frames.TypeConnack, Reason: "has an authentication method, which CONNECT has not [MQTT-4.12.0-6]"}
	case x == nil:
		return nil
	case p.AuthMethod != x.method:
		return &frames.ProtocolError{Type: frames.TypeConnack, Reason: fmt.Sprintf("has the authentication method %.64q, not %q [MQTT-4.12.0-5]", p.AuthMethod, x.method)}
	}
	if err := guard(func() error { return x.Done(p.AuthData) }); err != nil {
		return wrap("authentication: the broker is not accepted: ", err)
	}
	c.Exchange = x.Exchange
	return nil
}
