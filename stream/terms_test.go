package stream

import (
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

func TestTermsAreTheOptionsUntilAConnectionAgrees(t *testing.T) {
	o := &Options{Version: frames.V311, ClientID: "c", KeepAlive: time.Minute, Window: 7, KeepSession: true}
	want := terms{
		version: frames.V311, clientID: "c", keepAlive: time.Minute, window: 7, kept: true,
		expiry: forEver, aliases: 16, maxQoS: frames.ExactlyOnce, limits: limits{maxPacket: frames.MaxPacket},
	}
	if got := wantedTerms(o); got != want {
		t.Errorf("the terms are %+v, want %+v", got, want)
	}
}

// Only 3.1.1 tells whether the broker had the session. On 3.1 a kept one is in doubt.
func TestTermsTellWhoMayHaveTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		version          frames.Version
		kept, present    bool
		resumed, mayHave bool
	}{
		"3.1.1, kept and present": {frames.V311, true, true, true, true},
		"3.1.1, kept and lost":    {frames.V311, true, false, false, false},
		"3.1.1, clean":            {frames.V311, false, false, false, false},
		"3.1, kept":               {frames.V31, true, false, false, true},
		"3.1, clean":              {frames.V31, false, false, false, false},
	} {
		wanted := terms{version: c.version, kept: c.kept}
		got := wanted.agreed(&link.Conn{Version: c.version, Connack: frames.Connack{SessionPresent: c.present}})
		if got.resumed != c.resumed || got.mayHaveSession() != c.mayHave {
			t.Errorf("%s: resumed %t, may have it %t", name, got.resumed, got.mayHaveSession())
		}
	}
}
