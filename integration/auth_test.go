package integration

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-millrace/mqtt"
)

// refusedAs reports whether err is a broker's answer to a wrong password: a CONNACK with the return
// code 4 or the more general code 5.
func refusedAs(err error) bool {
	var refused *mqtt.ConnectError
	return errors.As(err, &refused) && (errors.Is(err, mqtt.BadUserNameOrPassword) || errors.Is(err, mqtt.NotAuthorized))
}

func TestUserAndPassword(t *testing.T) {
	const user, password = "miller", "grain+flour"
	withEach(t, setup{user: user, password: password}, func(t *testing.T, b *broker, v mqtt.Version) {
		host := b.url[len("mqtt://"):]
		roundTrip(t, "mqtt://"+user+":"+password+"@"+host, mqtt.Options{Version: v, ClientID: "in URL"})
		roundTrip(t, b.url, mqtt.Options{Version: v, ClientID: "in options", Username: user, Password: []byte(password)})

		for name, url := range map[string]string{
			"wrong password": "mqtt://" + user + ":chaff@" + host,
			"unknown user":   "mqtt://thief:" + password + "@" + host,
			"nobody":         b.url,
		} {
			_, err := mqtt.Dial(within(t), url, withLog(t, mqtt.Options{Version: v, ClientID: "refused"}))
			if !refusedAs(err) {
				t.Errorf("%s: got %v, want a rejection", name, err)
			}
			if err != nil && (strings.Contains(err.Error(), "chaff") || strings.Contains(err.Error(), password)) {
				t.Errorf("%s: the error contains the password: %v", name, err)
			}
		}
	})
}

// The client calls Prepare for every connection, so that it can connect after a rejection.
func TestCredentialsThatChange(t *testing.T) {
	const user, password = "miller", "fresh"
	withEach(t, setup{user: user, password: password}, func(t *testing.T, b *broker, v mqtt.Version) {
		var asked atomic.Int32
		c, err := mqtt.Open(b.url, withLog(t, mqtt.Options{Version: v, ClientID: "token", Reconnect: soon(),
			Prepare: login(func(context.Context) (string, []byte, error) {
				if asked.Add(1) == 1 {
					return user, []byte("stale"), nil
				}
				return user, []byte(password), nil
			})}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		states := c.States(within(t))
		if s := until(t, states, func(s mqtt.State) bool { return s.Online || s.Err != nil }); !refusedAs(s.Err) {
			t.Errorf("first attempt: online %t, %v; want a rejection", s.Online, s.Err)
		}
		until(t, states, func(s mqtt.State) bool { return s.Online })
	})
}
