package stream

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// An endpoint is a broker's URL, taken apart. Its String is what logs, States
// and errors may show: no user name, no password.
type endpoint struct {
	scheme  string
	network string // tcp or unix
	addr    string // host:port, or the path of a unix socket
	host    string // to be verified by TLS
	tls     bool
	user    *url.Userinfo
}

func (e *endpoint) String() string {
	if e.network == "unix" {
		return "unix://" + e.addr
	}
	return e.scheme + "://" + e.addr
}

// parseEndpoint reads a URL. An error of package url quotes what it was given,
// which may hold a password: none of its text is passed on.
func parseEndpoint(raw string) (*endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, badOption("URL", "cannot be parsed; it has the form mqtt://user:password@host:port, with %%xx for special characters")
	}
	e := &endpoint{scheme: strings.ToLower(u.Scheme), network: "tcp", user: u.User, host: u.Hostname()}
	port := "1883"
	switch e.scheme {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		e.tls, port = true, "8883"
	case "unix":
		if u.Path == "" || u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, badOption("URL", "of scheme unix needs the form unix:///path")
		}
		e.network, e.addr = "unix", u.Path
		return e, nil
	case "":
		return nil, badOption("URL", "has no scheme: use mqtt://host:port")
	default:
		if u.Opaque != "" { // without //, what looks like a scheme may be a host or a user name
			return nil, badOption("URL", "has no scheme: use mqtt://host:port")
		}
		return nil, badOption("URL", "has the scheme %q, not one of mqtt, tcp, mqtts, ssl, tls, unix", e.scheme)
	}
	if e.host == "" {
		return nil, badOption("URL", "has no host")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, badOption("URL", "of scheme %s has no path, query or fragment", e.scheme)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, badOption("URL", "has a port outside 1 to 65535")
		}
		port = p
	}
	e.addr = net.JoinHostPort(e.host, port)
	return e, nil
}
