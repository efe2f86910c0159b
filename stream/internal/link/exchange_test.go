package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A script is an Exchange whose steps a test replaces.
type script struct {
	method string // "": M
	first  func() ([]byte, error)
	answer func(context.Context, []byte) ([]byte, error)
	done   func([]byte) error
}

func (s *script) Method() string {
	if s.method == "" {
		return "M"
	}
	return s.method
}

func (s *script) First() ([]byte, error) {
	if s.first == nil {
		return []byte("hush-first"), nil
	}
	return s.first()
}

func (s *script) Answer(ctx context.Context, challenge []byte) ([]byte, error) {
	if s.answer == nil {
		return []byte("hush-answer"), nil
	}
	return s.answer(ctx, challenge)
}

func (s *script) Done(data []byte) error {
	if s.done == nil {
		return nil
	}
	return s.done(data)
}

// authenticating makes a test dialer use the exchange x.
func authenticating(x Exchange) func(*Config) {
	return func(c *Config) {
		version5(c)
		c.Authenticate = func(context.Context) (Exchange, error) { return x, nil }
	}
}

// auth returns an encoded AUTH.
func auth(code frames.ReasonCode, method, data string) []byte {
	return encoded(frames.Auth{Code: code, Method: method, Data: []byte(data)})
}

// challenges returns a server that sends each of the packets after the one before was answered.
// Every packet of the client after CONNECT goes into got, which is closed at the end.
func challenges(t *testing.T, got chan<- []byte, packets ...[]byte) func(net.Conn) {
	return func(c net.Conn) {
		defer close(got)
		defer c.Close()
		if readConnect(t, c) == nil {
			return
		}
		buffer := make([]byte, 4096)
		for _, p := range append(packets, nil) { // at last the client speaks, or closes
			if len(p) > 0 {
				c.Write(p)
			}
			if len(p) > 0 && p[0]>>4 == byte(frames.TypeConnack) {
				continue
			}
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			got <- slices.Clone(buffer[:n])
		}
	}
}

// V83: nothing but AUTH is written before CONNACK, and the exchange may have several of them.
func TestAnExchangeGoesOverSeveralAUTH(t *testing.T) {
	var heard []string
	x := &script{
		answer: func(_ context.Context, c []byte) ([]byte, error) {
			heard = append(heard, string(c))
			return fmt.Appendf(nil, "answer to %s", c), nil
		},
		done: func(data []byte) error { heard = append(heard, "done "+string(data)); return nil },
	}
	got := make(chan []byte, 9)
	f := &fakeNet{serve: func(c net.Conn) {
		defer close(got)
		p := readConnect(t, c)
		if p.Properties == nil || p.Properties.AuthMethod != "M" || string(p.Properties.AuthData) != "hush-first" || p.Properties.ReceiveMaximum != 7 {
			t.Errorf("CONNECT has the properties %+v", p.Properties)
		}
		buffer := make([]byte, 4096)
		for _, challenge := range []string{"one", "two", "three"} {
			c.Write(auth(frames.ContinueAuthentication, "M", challenge))
			n, _ := c.Read(buffer)
			got <- slices.Clone(buffer[:n])
		}
		c.Write(connack(frames.Success, &frames.ConnackProperties{AuthMethod: "M", AuthData: []byte("proof")}))
	}}
	c, err := newTestDialer(t, f, func(c *Config) {
		authenticating(x)(c)
		c.Connect.Properties = &frames.ConnectProperties{ReceiveMaximum: 7}
	}, "mqtt://a").Dial(t.Context(), Request{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if want := []string{"one", "two", "three", "done proof"}; !slices.Equal(heard, want) || c.Auth.Exchange != Exchange(x) {
		t.Errorf("the exchange heard %v", heard)
	}
	for _, challenge := range heard[:3] {
		if want := auth(frames.ContinueAuthentication, "M", "answer to "+challenge); !slices.Equal(<-got, want) {
			t.Errorf("the answer to %s is another", challenge)
		}
	}
}

// An Exchange may have no data at any step, which differs from empty data.
func TestAnExchangeMayHaveNoData(t *testing.T) {
	x := &script{
		first:  func() ([]byte, error) { return nil, nil },
		answer: func(_ context.Context, c []byte) ([]byte, error) { return c, nil },
		done: func(data []byte) error {
			if data != nil {
				t.Errorf("Done got %q", data)
			}
			return nil
		},
	}
	got := make(chan []byte, 9)
	f := &fakeNet{serve: challenges(t, got, encoded(frames.Auth{Code: frames.ContinueAuthentication, Method: "M"}),
		encoded(frames.Auth{Code: frames.ContinueAuthentication, Method: "M", Data: []byte{}}),
		connack(frames.Success, &frames.ConnackProperties{AuthMethod: "M"}))}
	c, err := newTestDialer(t, f, authenticating(x), "mqtt://a").Dial(t.Context(), Request{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.Abort()
	if none, empty := <-got, <-got; len(empty) != len(none)+3 { // the property and its length
		t.Errorf("the answers are %x and %x", none, empty)
	}
}

// V79, V80: an AUTH or a CONNACK that does not belong to the exchange ends the connection with
// 0x82.
func TestAnAUTHThatDoesNotBelongToTheExchangeIsRefused(t *testing.T) {
	const next = frames.ContinueAuthentication
	success := func(method string) []byte {
		return connack(frames.Success, &frames.ConnackProperties{AuthMethod: method})
	}
	for name, c := range map[string]struct {
		packets [][]byte
		text    string
	}{
		"another method":            {[][]byte{auth(next, "N", "hush")}, `AUTH: has the authentication method "N", not "M"`},
		"no method":                 {[][]byte{encoded(frames.Auth{Code: next})}, `AUTH: has the authentication method "", not "M"`},
		"data without a method":     {[][]byte{{0xf0, 9, 0x18, 7, 0x16, 0, 4, 'h', 'u', 's', 'h'}}, "AUTH: authentication data without a method"},
		"the code Success":          {[][]byte{auth(frames.Success, "M", "hush")}, "AUTH: has the reason code 0x00 in the wrong place"},
		"the code Re-authenticate":  {[][]byte{auth(frames.ReAuthenticate, "M", "hush")}, "AUTH: has the reason code 0x19 in the wrong place"},
		"an unknown code":           {[][]byte{{0xf0, 1, 0x1a}}, "AUTH: reason code 0x1a"},
		"no code":                   {[][]byte{{0xf0, 0}}, "AUTH: has the authentication method"},
		"the method twice":          {[][]byte{{0xf0, 10, 0x18, 8, 0x15, 0, 1, 'M', 0x15, 0, 1, 'M'}}, "AUTH: authentication method more than once"},
		"another method later":      {[][]byte{auth(next, "M", "hush"), auth(next, "N", "hush")}, `AUTH: has the authentication method "N", not "M"`},
		"CONNACK without a method":  {[][]byte{auth(next, "M", "hush"), connack(frames.Success, nil)}, `CONNACK: has the authentication method "", not "M"`},
		"CONNACK at once":           {[][]byte{connack(frames.Success, nil)}, `CONNACK: has the authentication method "", not "M"`},
		"CONNACK of another method": {[][]byte{success("N")}, `CONNACK: has the authentication method "N", not "M"`},
		"PUBLISH":                   {[][]byte{auth(next, "M", "hush"), {0x30, 4, 0, 1, 'a', 0}}, "PUBLISH: came in place of CONNACK"},
		"a malformed PUBLISH":       {[][]byte{auth(next, "M", "hush"), {0x30, 2, 0, 0}}, "PUBLISH: came in place of CONNACK"},
	} {
		got := make(chan []byte, 9)
		f := &fakeNet{serve: challenges(t, got, c.packets...)}
		_, err := newTestDialer(t, f, authenticating(&script{}), "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, c.text)
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: authentication data is shown: %v", name, err)
		}
		var last []byte
		for last = range got { // the last packet
		}
		if want := []byte{0xe0, 1, 0x82}; !slices.Equal(last, want) {
			t.Errorf("%s: the last packet is %x, want %x", name, last, want)
		}
	}
}

// V80: without a method of ours, neither AUTH nor a CONNACK with a method is accepted.
func TestAuthenticationWithoutAMethodOfOursIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		packet []byte
		text   string
	}{
		"AUTH":           {auth(frames.ContinueAuthentication, "M", "hush"), "AUTH: came in place of CONNACK"},
		"malformed AUTH": {[]byte{0xf0, 5, 0x18, 'h', 'u', 's', 'h'}, "AUTH: came in place of CONNACK"},
		"CONNACK": {connack(frames.Success, &frames.ConnackProperties{AuthMethod: "M", AuthData: []byte("hush")}),
			"CONNACK: has an authentication method, which CONNECT has not"},
	} {
		got := make(chan []byte, 9)
		f := &fakeNet{serve: challenges(t, got, c.packet)}
		_, err := newTestDialer(t, f, version5, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, c.text)
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: authentication data is shown: %v", name, err)
		}
		if bye := <-got; !slices.Equal(bye, []byte{0xe0, 1, 0x82}) {
			t.Errorf("%s: the last packet is %x", name, bye)
		}
	}
}

// V81: a fault in each step of an Exchange becomes the error of the attempt, also a panic, and an
// error of the user that wraps io.EOF is not taken for the end of the connection.
func TestAFaultInAnExchangeIsTheErrorOfTheAttempt(t *testing.T) {
	fault := fmt.Errorf("mqtt: no token: %w", io.EOF)
	data := func() ([]byte, error) { return nil, fault }
	panics := func() ([]byte, error) { panic("at the disco") }
	made := func(x Exchange, err error) func(*Config) {
		return func(c *Config) {
			version5(c)
			c.Authenticate = func(context.Context) (Exchange, error) { return x, err }
		}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		text   string
		dials  int
	}{
		"Authenticate":  {made(nil, fault), "mqtt: authentication: no token: EOF", 0},
		"neither":       {made(nil, nil), "mqtt: authentication: Authenticate has returned neither", 0},
		"no method":     {made(&noMethod{}, nil), "mqtt: authentication: Authenticate has returned an Exchange without a method", 0},
		"a bad method":  {made(&script{method: "\x00"}, nil), "mqtt: authentication: invalid authentication method", 0},
		"too much":      {made(&script{first: func() ([]byte, error) { return make([]byte, 1<<16), nil }}, nil), "mqtt: authentication: invalid authentication data", 0},
		"First":         {made(&script{first: data}, nil), "mqtt: authentication: no token: EOF", 0},
		"First panics":  {made(&script{first: panics}, nil), "mqtt: authentication: panic: at the disco", 0},
		"Answer":        {made(&script{answer: func(context.Context, []byte) ([]byte, error) { return data() }}, nil), "mqtt: authentication: no token: EOF", 1},
		"Answer panics": {made(&script{answer: func(context.Context, []byte) ([]byte, error) { return panics() }}, nil), "mqtt: authentication: panic: at the disco", 1},
		"a long answer": {made(&script{answer: func(context.Context, []byte) ([]byte, error) { return make([]byte, 1<<16), nil }}, nil), "mqtt: AUTH: invalid authentication data", 1},
		"Done":          {made(&script{done: func([]byte) error { return fault }}, nil), "mqtt: authentication: the broker is not accepted: no token: EOF", 1},
		"Done panics":   {made(&script{done: func([]byte) error { panic("at the disco") }}, nil), "mqtt: authentication: the broker is not accepted: panic: at the disco", 1},
	} {
		got := make(chan []byte, 9)
		f := &fakeNet{serve: challenges(t, got, auth(frames.ContinueAuthentication, "M", "hush"),
			connack(frames.Success, &frames.ConnackProperties{AuthMethod: "M", AuthData: []byte("hush")}))}
		_, err := newTestDialer(t, f, c.change, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, c.text)
		if strings.Contains(err.Error(), "hush") || len(f.dialed) != c.dials {
			t.Errorf("%s: %v; dialed %v", name, err, f.dialed)
		}
		if strings.HasSuffix(c.text, "EOF") && !errors.Is(err, io.EOF) {
			t.Errorf("%s: the error does not wrap that of the user: %v", name, err)
		}
	}
}

// noMethod is an Exchange without a method.
type noMethod struct{ script }

func (*noMethod) Method() string { return "" }

// V81: a broker that never ends the exchange is given up after ConnectTimeout, and an Answer that
// waits gets a context that ends then.
func TestConnectTimeoutEndsAnExchange(t *testing.T) {
	for name, answer := range map[string]func(context.Context, []byte) ([]byte, error){
		"the broker": func(context.Context, []byte) ([]byte, error) { time.Sleep(time.Second); return nil, nil },
		"the answer": func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeNet{serve: func(c net.Conn) {
				defer c.Close()
				readConnect(t, c)
				for buffer := make([]byte, 99); ; {
					if _, err := c.Write(auth(frames.ContinueAuthentication, "M", "hush")); err != nil {
						return
					}
					c.Read(buffer)
				}
			}}
			began := time.Now()
			_, err := newTestDialer(t, f, func(c *Config) {
				authenticating(&script{answer: answer})(c)
				c.ConnectTimeout = 3500 * time.Millisecond
			}, "mqtt://a").Dial(t.Context(), Request{Number: 1})
			once(t, err, "ConnectTimeout (3.5s)")
			if took := time.Since(began); took > 4*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: after %v: %v", name, took, err)
			}
		})
	}
}

// V81: the answer to the end of an exchange is the refusal of the broker, and its end is an error.
func TestABrokerMayEndAnExchange(t *testing.T) {
	const next = frames.ContinueAuthentication
	got := make(chan []byte, 9)
	f := &fakeNet{serve: challenges(t, got, auth(next, "M", ""), connack(frames.NotAuthorized, &frames.ConnackProperties{Reason: "wrong proof"}))}
	_, err := newTestDialer(t, f, authenticating(&script{}), "mqtt://a").Dial(t.Context(), Request{Number: 1})
	if once(t, err, `connection refused: not authorized ("wrong proof")`); !Useless(err) {
		t.Errorf("the error is %v", err)
	}
	f = &fakeNet{serve: func(c net.Conn) {
		readConnect(t, c)
		c.Write(auth(next, "M", ""))
		c.Read(make([]byte, 99))
		c.Close()
	}}
	_, err = newTestDialer(t, f, authenticating(&script{}), "mqtt://a").Dial(t.Context(), Request{Number: 1})
	if once(t, err, "the broker closed the connection before CONNACK"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the error is %v", err)
	}
}

// Each connection has an exchange of its own.
func TestEachConnectionHasItsOwnExchange(t *testing.T) {
	made := 0
	f := &fakeNet{serve: answer(connack(frames.Success, &frames.ConnackProperties{AuthMethod: "M"})...)}
	d := newTestDialer(t, f, func(c *Config) {
		c.Connect.Version = 0
		c.Authenticate = func(ctx context.Context) (Exchange, error) {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the context has no deadline")
			}
			made++
			return &script{}, nil
		}
		c.ConnectTimeout = time.Minute
	}, "mqtt://a")
	for range 3 {
		c, err := d.Dial(t.Context(), Request{Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.Abort()
	}
	if made != 3 {
		t.Errorf("%d exchanges", made)
	}
}
