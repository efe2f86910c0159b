package link

import (
	"strings"
	"testing"
)

// V76, V78: FollowSecure takes the first reference of a list, and stays with TLS.
func TestFollowSecureLeadsToTLS(t *testing.T) {
	for _, c := range []struct{ from, reference, want string }{
		{"mqtts://a:8883", "b", "mqtts://b:8883"},
		{"mqtts://a:8883", "b:1884", "mqtts://b:1884"},
		{"ssl://a:8883", "B.example.com", "mqtts://B.example.com:8883"},
		{"tls://a:8883", "b_1.example.com.:65535", "mqtts://b_1.example.com.:65535"},
		{"mqtts://a:8883", "10.10.151.22:8883", "mqtts://10.10.151.22:8883"},
		{"mqtts://a:8883", "[::1]:1884", "mqtts://[::1]:1884"},
		{"mqtts://a:8883", "[fe80::9610:3eff:fe1c]", "mqtts://[fe80::9610:3eff:fe1c]:8883"},
		{"mqtts://a:8883", "b c:1", "mqtts://b:8883"},
		{"mqtts://a:8883", " b:1  c", "mqtts://b:1"},
		{"wss://a:443/a%2Fb/mqtt", "b", "wss://b:443/a%2Fb/mqtt"},
		{"wss://a:443/mqtt", "[::1]:8443", "wss://[::1]:8443/mqtt"},
	} {
		got, err := FollowSecure(t.Context(), Redirect{Reference: c.reference, From: c.from, Secure: true})
		if err != nil || got != c.want {
			t.Errorf("%q: %s, %v, want %s", c.reference, got, err, c.want)
		}
		if _, err := parseEndpoint("Redirect", got); err != nil {
			t.Errorf("%q: %v", c.reference, err)
		}
	}
}

// V76: a reference that is no host is an error that quotes it, unless it may hold a password.
func TestFollowSecureRefusesOtherForms(t *testing.T) {
	for _, reference := range []string{
		"", " ", "mqtts://b", "mqtts://u:hush@b", "mqtt://b:1883", "u:hush@b", "hush@b", "b/path", "b?q", "b#f", "b:", ":1883", "b:0", "b:65536",
		"b:x", "b:-1", "b:+1", "::1", "[::1", "::1]", "[]", "[b]", "[1.2.3.4]", "[fe80::1%eth0]", "[::1]x:1", "b,c", "b;c", "b\tc", "b\nc", "b\x00", "-b", ".b", "b..c", "b%20c",
		"bücher.example", "b\u202ec", strings.Repeat("b", 300), strings.Repeat("/", 60_000),
	} {
		got, err := FollowSecure(t.Context(), Redirect{Reference: reference, From: "mqtts://a:8883", Secure: true})
		if err == nil {
			t.Errorf("%.20q leads to %s", reference, got)
		} else if text := err.Error(); len(text) > 200 || strings.Contains(text, "hush") || strings.ContainsAny(text, "\n\t\x00\u202e") {
			t.Errorf("%.20q: %s", reference, text)
		}
	}
}

// V78: a reference that came without TLS may be forged.
func TestFollowSecureNeedsTLSOnTheWay(t *testing.T) {
	if got, err := FollowSecure(t.Context(), Redirect{Reference: "b", From: "mqtt://a:1883"}); err == nil {
		t.Errorf("it leads to %s", got)
	}
}
