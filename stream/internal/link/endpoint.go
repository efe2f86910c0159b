package link

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// An Endpoint is the parsed URL of a broker.
type Endpoint struct {
	scheme  string
	network string // tcp or unix
	addr    string // host:port, or the path of a unix socket
	host    string // the name that TLS verifies
	tls     bool
	path    string // of a WebSocket, escaped; empty for other schemes
	query   string // of a WebSocket; the query may hold a token
	user    *url.Userinfo
}

// String returns the URL as logs, States and errors may show it: without user name, password and
// query.
func (e *Endpoint) String() string {
	if e.network == "unix" {
		return "unix://" + e.addr
	}
	return e.scheme + "://" + e.addr + e.path
}

// Scheme returns the scheme of the URL, in lower case.
func (e *Endpoint) Scheme() string { return e.scheme }

// Secure reports whether the scheme uses TLS.
func (e *Endpoint) Secure() bool { return e.tls }

// WebSocket reports whether the scheme uses WebSocket.
func (e *Endpoint) WebSocket() bool { return e.path != "" }

// schemes are the URL schemes of brokers on a network, with their default ports.
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

// ParseEndpoints parses the URL raw and the fallbacks. A fallback without user name and password
// gets the user name and password of raw.
func ParseEndpoints(raw string, fallbacks []string) ([]*Endpoint, error) {
	e, err := parseEndpoint("URL", raw)
	if err != nil {
		return nil, err
	}
	all := []*Endpoint{e}
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

// parseEndpoint parses the URL raw. Errors name field, not the URL. The text of an error of package
// url is not used, since it quotes the URL, which may hold a password.
func parseEndpoint(field, raw string) (*Endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, BadOption(field, "cannot be parsed; it has the form mqtt://user:password@host:port, with %%xx for special characters")
	}
	e := &Endpoint{scheme: strings.ToLower(u.Scheme), network: "tcp", user: u.User, host: u.Hostname()}
	if e.scheme == "unix" {
		if u.Path == "" || u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, BadOption(field, "of scheme unix needs the form unix:///path")
		}
		e.network, e.addr = "unix", u.Path
		return e, nil
	}
	scheme, known := schemes[e.scheme]
	switch {
	case e.scheme == "", !known && u.Opaque != "": // without //, the part before the colon may be a host or a user name
		return nil, BadOption(field, "has no scheme: use mqtt://host:port")
	case !known:
		return nil, BadOption(field, "has the scheme %q, not one of mqtt, tcp, mqtts, ssl, tls, ws, wss, unix", e.scheme)
	case e.host == "":
		return nil, BadOption(field, "has no host")
	case u.Fragment != "":
		return nil, BadOption(field, "has a fragment, which means nothing to a broker")
	case scheme.webSocket:
		e.path, e.query = u.EscapedPath(), u.RawQuery
		if e.path == "" {
			e.path = "/mqtt"
		}
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return nil, BadOption(field, "of scheme %s has no path or query", e.scheme)
	}
	port := scheme.port
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, BadOption(field, "has a port outside 1 to 65535")
		}
		port = p
	}
	e.tls = scheme.tls
	e.addr = net.JoinHostPort(e.host, port)
	return e, nil
}
