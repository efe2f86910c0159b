package main

import (
	"bytes"
	"regexp"
	"testing"
	"time"
)

func TestFlagsThatSelectNothingAreRefused(t *testing.T) {
	for _, test := range []struct {
		flags settings
		want  string
	}{
		{settings{only: "nothing"}, `^-only: "nothing" matches none of these names:\n\t(.*\n)*\techo QoS 1, 64 B\n`},
		{settings{only: "nothing", quick: true}, `^-only: "nothing" matches none of these names:\n\tpublish QoS 0, 64 B`},
		{settings{only: "("}, `^-only: error parsing regexp: missing closing \)`},
		{settings{clients: "nothing"}, `^-clients: "nothing" matches none of these names:\n\tPublishBatches\n(.*\n)*\tat-wat/mqtt-go\n`},
		{settings{clients: "^at-wat", peers: "none"}, `^-clients: "\^at-wat" matches none of these names:\n\tPublishBatches\n`},
		{settings{peers: "nothing"}, `^-peers: there is no peer "nothing"; the peers are paho.mqtt.golang, paho.golang, at-wat/mqtt-go, libmosquitto$`},
		{settings{rounds: -3}, `^-rounds -3 is below 1; 0 is the default$`},
		{settings{aim: -time.Second}, `^-time -1s is below 1ms; 0 is the default$`},
		{settings{aim: time.Microsecond}, `^-time 1µs is below 1ms; 0 is the default$`},
		{settings{only: "^publish QoS 1, 64 B, window 1$", clients: "^All$", rounds: 1, aim: time.Millisecond}, `^nothing was measured`},
	} {
		var out bytes.Buffer
		err := test.flags.start(&out)
		if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%+v: got the error %v, want %s", test.flags, err, test.want)
		}
	}
}
