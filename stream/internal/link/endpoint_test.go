package link

import (
	"strings"
	"testing"
)

// U42: an address that can be read in two ways is refused with a hint, and without its secret.
func TestAnAddressWithTwoReadingsIsRefusedWithAHint(t *testing.T) {
	for raw, hint := range map[string]string{
		"ws://u:12/hush@host/mqtt":        "%2F",
		"ws://u:12?hush@host/mqtt":        "%3F",
		"wss://u:12#hush@host/mqtt":       "%23",
		"ws://host/mqtt?user=ann@hush":    "%40",
		"mqtt://u:12/hush@host":           "%2F",
		"mqtt://u:hush@::1":               "brackets",
		"mqtt://fe80::1:1883":             "brackets",
		"mqtt://u:hush@a:1883,b:1883":     "Fallbacks",
		"mqtt://u:hush@a,b":               "Fallbacks",
		"mqtt://u:hush@a,mqtt://u:hush@b": "%2F",
		"mqtt://a:1883;b:1883":            "Fallbacks",
	} {
		_, err := ParseEndpoints(raw, nil)
		if err == nil || !strings.Contains(err.Error(), hint) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %q in it", raw, err, hint)
		}
	}
	for _, raw := range []string{"mqtt://u:p@ss,w;x@host", "unix:///run/me@host.sock", "ws://host/a%40b?c=d%40e", "mqtt://[::1]"} {
		if _, err := ParseEndpoints(raw, nil); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
