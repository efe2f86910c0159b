package link

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const unix = "unix" // the scheme of a unix socket

// An Endpoint is the parsed URL of a broker.
type Endpoint struct {
	scheme string
	addr   string // host:port, or the path of a unix socket
	host   string // the name that TLS verifies
	path   string // of a WebSocket, escaped; empty for other schemes
	query  string // of a WebSocket; the query may hold a token
	user   *url.Userinfo

	tls      bool
	referred bool // another broker has referred to it
}

// String returns the URL as logs, States and errors may show it: without user name, password and
// query.
func (e *Endpoint) String() string {
	if e.scheme == unix {
		return "unix://" + e.addr
	}
	return e.scheme + "://" + e.addr + e.path
}

// network returns the network of the address, as package net names it.
func (e *Endpoint) network() string {
	if e.scheme == unix {
		return "unix"
	}
	return "tcp"
}

// place returns the same text for all URLs of one broker.
func (e *Endpoint) place() string {
	if e.scheme == unix {
		return e.String()
	}
	return fmt.Sprint(e.tls, " ", strings.ToLower(e.addr), e.path)
}

// url returns the URL without user name and password.
func (e *Endpoint) url() *url.URL {
	if e.scheme == unix {
		return &url.URL{Scheme: e.scheme, Path: e.addr}
	}
	path, _ := url.PathUnescape(e.path) // e.path comes from url.URL.EscapedPath
	return &url.URL{Scheme: e.scheme, Host: e.addr, Path: path, RawPath: e.path, RawQuery: e.query}
}

// changed returns the endpoint for the URL that Prepare has left.
func (e *Endpoint) changed(u *url.URL) (*Endpoint, error) {
	const field = "URL"
	switch {
	case u == nil:
		return nil, BadOption(field, "is nil")
	case u.User != nil:
		return nil, BadOption(field, "has a user name or a password; they go into Username and Password")
	case !strings.EqualFold(u.Scheme, e.scheme):
		return nil, BadOption(field, "has another scheme than %s, which cannot be changed", e.scheme)
	case strings.ContainsAny(u.Host, "@,;"):
		return nil, BadOption(field, "has a character in its host that no host has")
	}
	u, err := url.Parse(u.String()) // a URL that was put together by hand may have impossible parts
	if err != nil {
		return nil, BadOption(field, "has an impossible part")
	}
	return newEndpoint(field, u)
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
	if err := checkUnambiguous(field, raw); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, BadOption(field, "cannot be parsed; it has the form mqtt://user:password@host:port, with %%xx for special characters")
	}
	return newEndpoint(field, u)
}

// checkUnambiguous rejects a URL that can be read in two ways. One of them may take a part of a
// password for a path, which is shown in logs.
func checkUnambiguous(field, raw string) error {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found || strings.EqualFold(scheme, "unix") {
		return nil
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
		if strings.Contains(rest[i:], "@") {
			return BadOption(field, "has an @ in its path, query or fragment: "+
				"in a user name or a password write %%2F for /, %%3F for ? and %%23 for #; in a path or a query write %%40 for @")
		}
	}
	host = host[strings.LastIndex(host, "@")+1:]
	switch {
	case strings.ContainsAny(host, ",;"):
		return BadOption(field, "has several hosts; the other endpoints go into Options.Fallbacks")
	case !strings.HasPrefix(host, "[") && strings.Count(host, ":") > 1:
		return BadOption(field, "has a host with several colons; an IPv6 address needs brackets: mqtt://[::1]:1883")
	}
	return nil
}

// newEndpoint returns the endpoint that u names. Errors name field, not the URL.
func newEndpoint(field string, u *url.URL) (*Endpoint, error) {
	e := &Endpoint{scheme: strings.ToLower(u.Scheme), user: u.User, host: u.Hostname()}
	if e.scheme == unix {
		if u.Path == "" || u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, BadOption(field, "of scheme unix needs the form unix:///path")
		}
		e.addr = u.Path
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
	case !strings.HasPrefix(u.Host, "[") && strings.Contains(e.host, ":"):
		return nil, BadOption(field, "has a host with several colons; an IPv6 address needs brackets: mqtt://[::1]:1883")
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
