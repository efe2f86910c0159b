package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// FollowSecure is a Redirect function. It follows a redirect from a broker with TLS to a broker
// with TLS, whose certificate must have the name in the Server Reference. It takes the first
// reference of a list (MQTT 5, section 4.11): host or host:port, with an IPv6 address in brackets.
// Without a port it uses 8883. A WebSocket stays one, at the same path; its default port is 443. No
// user name and no password is sent to the new broker.
//
// It returns an error for every other form of reference, such as a URL, and if the connection to
// the broker that refers does not use TLS, since anyone on the way may have written the reference
// then.
func FollowSecure(_ context.Context, r Redirect) (string, error) {
	if !r.Secure {
		return "", fmt.Errorf("the server reference comes from %s, without TLS", r.From)
	}
	from, err := url.Parse(r.From)
	if err != nil {
		return "", BadOption("From", "of the Redirect cannot be parsed")
	}
	to := url.URL{Scheme: "mqtts"}
	if strings.EqualFold(from.Scheme, "wss") {
		to.Scheme, to.Path, to.RawPath = "wss", from.Path, from.RawPath
	}
	first, _, _ := strings.Cut(strings.TrimLeft(r.Reference, " "), " ")
	host, port := first, schemes[to.Scheme].port
	if i := strings.LastIndexByte(first, ':'); i > strings.LastIndexByte(first, ']') {
		host, port = first[:i], first[i+1:]
	}
	switch {
	case first == "":
		return "", errors.New("the server reference is empty")
	case !isHost(host) || !isPort(port):
		return "", fmt.Errorf("the server reference is neither host nor host:port%s", quoteReference(first))
	}
	to.Host = host + ":" + port
	return to.String(), nil
}

// isHost reports whether s is a host name, an IPv4 address, or an IPv6 address in brackets.
func isHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		return ok && err == nil && ip.Is6() && ip.Zone() == ""
	}
	return s != "" && len(s) <= maxHost && s[0] != '-' && s[0] != '.' && !strings.Contains(s, "..") &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		})
}

// maxHost is the length of the longest host name (RFC 1035, section 2.3.4), with a dot at its end.
const maxHost = 254

// isPort reports whether s is a number from 1 to 65,535.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// quoteReference returns a Server Reference for the end of an error text. It hides one that may
// hold a password.
func quoteReference(s string) string {
	if strings.Contains(s, "@") {
		return ""
	}
	return fmt.Sprintf(": %.64q", s)
}
