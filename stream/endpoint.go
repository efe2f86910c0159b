package stream

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// An endpoint is a broker's URL, taken apart. Its String is what logs, States
// and errors may show: no user name, no password, no query.
type endpoint struct {
	scheme  string
	network string // tcp or unix
	addr    string // host:port, or the path of a unix socket
	host    string // to be verified by TLS
	tls     bool
	path    string // of a WebSocket, escaped; empty for the others
	query   string // of a WebSocket: it may hold a token
	user    *url.Userinfo
}

func (e *endpoint) String() string {
	if e.network == "unix" {
		return "unix://" + e.addr
	}
	return e.scheme + "://" + e.addr + e.path
}

// login is the user name and the password for this endpoint: those of the
// Options, or those in the URL.
func (e *endpoint) login(o *Options) (user string, password []byte) {
	if o.Username != "" || o.Password != nil || e.user == nil {
		return o.Username, o.Password
	}
	if p, ok := e.user.Password(); ok {
		password = []byte(p)
	}
	return e.user.Username(), password
}

// schemes are those of the brokers on a network, with their default ports.
var schemes = map[string]struct {
	port           string
	tls, webSocket bool
}{
	"mqtt":  {port: "1883"},
	"tcp":   {port: "1883"},
	"mqtts": {port: "8883", tls: true},
	"ssl":   {port: "8883", tls: true},
	"tls":   {port: "8883", tls: true},
	"ws":    {port: "80", webSocket: true},
	"wss":   {port: "443", tls: true, webSocket: true},
}

// parseEndpoints reads the URL and the Fallbacks.
func parseEndpoints(raw string, fallbacks []string) ([]*endpoint, error) {
	e, err := parseEndpoint("URL", raw)
	if err != nil {
		return nil, err
	}
	all := []*endpoint{e}
	for i, raw := range fallbacks {
		f, err := parseEndpoint(fmt.Sprintf("Fallbacks[%d]", i), raw)
		if err != nil {
			return nil, err
		}
		if f.user == nil {
			f.user = e.user
		}
		all = append(all, f)
	}
	return all, nil
}

// parseEndpoint reads a URL, which is called what in errors. An error of package
// url quotes what it was given, which may hold a password: none of its text is
// passed on.
func parseEndpoint(what, raw string) (*endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, badOption(what, "cannot be parsed; it has the form mqtt://user:password@host:port, with %%xx for special characters")
	}
	e := &endpoint{scheme: strings.ToLower(u.Scheme), network: "tcp", user: u.User, host: u.Hostname()}
	if e.scheme == "unix" {
		if u.Path == "" || u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, badOption(what, "of scheme unix needs the form unix:///path")
		}
		e.network, e.addr = "unix", u.Path
		return e, nil
	}
	scheme, known := schemes[e.scheme]
	switch {
	case e.scheme == "", !known && u.Opaque != "": // without //, what looks like a scheme may be a host or a user name
		return nil, badOption(what, "has no scheme: use mqtt://host:port")
	case !known:
		return nil, badOption(what, "has the scheme %q, not one of mqtt, tcp, mqtts, ssl, tls, ws, wss, unix", e.scheme)
	case e.host == "":
		return nil, badOption(what, "has no host")
	case u.Fragment != "":
		return nil, badOption(what, "has a fragment, which means nothing to a broker")
	case scheme.webSocket:
		e.path, e.query = u.EscapedPath(), u.RawQuery
		if e.path == "" {
			e.path = "/mqtt"
		}
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return nil, badOption(what, "of scheme %s has no path or query", e.scheme)
	}
	port := scheme.port
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, badOption(what, "has a port outside 1 to 65535")
		}
		port = p
	}
	e.tls = scheme.tls
	e.addr = net.JoinHostPort(e.host, port)
	return e, nil
}
