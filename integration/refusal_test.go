package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/jpillora/backoff"
)

// setPassword changes the password file, which the broker reads when it starts.
func (m *mosquitto) setPassword(user, password string) {
	m.t.Helper()
	path := filepath.Join(filepath.Dir(m.config), "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-b", path, user, password).CombinedOutput(); err != nil {
		m.t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}
}

// Dial does not retry after the broker has rejected the connection.
func TestARefusalEndsDialAtOnce(t *testing.T) {
	withMosquitto(t, setup{user: "miller", password: "grain+flour"}, func(t *testing.T, b *broker, v mqtt.Version) {
		asked := 0
		start := time.Now()
		c, err := mqtt.Dial(within(t), b.url, withLog(t, mqtt.Options{Version: v, ClientID: "refused",
			Prepare: login(func(context.Context) (string, []byte, error) {
				asked++
				return "miller", []byte("chaff"), nil
			})}))
		if err == nil {
			c.Close()
			t.Fatal("no error")
		}
		if !refusedAs(err) || strings.Contains(err.Error(), "chaff") {
			t.Errorf("got %v, want a rejection without the password", err)
		}
		if after := time.Since(start); asked != 1 || after > 5*time.Second {
			t.Errorf("%d attempts in %v, want one", asked, after)
		}
	})
}

// A running session keeps retrying at the longest interval, because the program may get the new
// password after it was changed at the broker.
func TestARefusalOfARunningSessionIsRetriedSlowlyUntilTheCredentialsAreGood(t *testing.T) {
	const user, slowest = "miller", time.Second
	withMosquitto(t, setup{user: user, password: "grain+old"}, func(t *testing.T, b *broker, v mqtt.Version) {
		var password atomic.Value
		password.Store("grain+old")
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "running",
			Reconnect: &backoff.Backoff{Min: 10 * time.Millisecond, Max: slowest},
			Prepare: login(func(context.Context) (string, []byte, error) {
				return user, []byte(password.Load().(string)), nil
			})})
		states := c.States(within(t))
		b.process.terminate()
		b.process.setPassword(user, "grain+new")
		b.process.restart()

		first := until(t, states, func(s mqtt.State) bool { return refusedAs(s.Err) })
		second := until(t, states, func(s mqtt.State) bool { return s.Attempt > first.Attempt })
		if gap := second.Since.Sub(first.Since); !refusedAs(second.Err) || gap < slowest {
			t.Errorf("next attempt after %v, want another rejection after at least %v", gap, slowest)
		}
		if err := second.Err; strings.Contains(err.Error(), "grain") {
			t.Errorf("the error contains the password: %v", err)
		}
		password.Store("grain+new")
		online := until(t, states, func(s mqtt.State) bool { return s.Online })
		if gap := online.Since.Sub(second.Since); gap < slowest {
			t.Errorf("online after %v, want at least %v", gap, slowest)
		}
		publish(t, c, text("a", "as before", 2))
	})
}

// NATS closes a 3.1 connection without a CONNACK. The client cannot know the reason, so the error
// is not a ConnectError.
func TestABrokerThatClosesA31ConnectionIsAPlainError(t *testing.T) {
	t.Parallel()
	url := fmt.Sprintf("mqtt://127.0.0.1:%d", runNATS(t, setup{}, nil).MQTT.Port)
	dial(t, url, mqtt.Options{ClientID: "newer"})
	c, err := mqtt.Dial(within(t), url, withLog(t, mqtt.Options{Version: mqtt.V31, ClientID: "older"}))
	if err == nil {
		c.Close()
		t.Fatal("no error")
	}
	var refused *mqtt.ConnectError
	if errors.As(err, &refused) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want io.ErrUnexpectedEOF and no ConnectError", err)
	}
}
