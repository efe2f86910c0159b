package cloudeventsmqtt_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// eachBroker runs test against mochi, and against mosquitto where it is installed.
func eachBroker(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("mochi", func(t *testing.T) { test(t, startMochi(t)) })
	t.Run("mosquitto", func(t *testing.T) {
		if mosquittoPath() == "" {
			t.Skip("mosquitto is not installed")
		}
		test(t, startMosquitto(t))
	})
}

// startMochi returns the URL of a broker that runs until the end of the test.
func startMochi(t testing.TB) (url string) {
	t.Helper()
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	for _, hook := range []mochi.Hook{new(auth.AllowHook), new(boundless)} {
		if err := server.AddHook(hook, nil); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.AddListener(listeners.NewNet("mqtt", l)); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return "mqtt://" + l.Addr().String()
}

// boundless is a hook that ends mochi's quota for a client of MQTT 5. In version 2.7.9,
// Inflight.NextImmediate takes a read lock twice, which is a deadlock when another goroutine waits
// for the lock in between. mochi calls it only while the client has a quota.
type boundless struct{ mochi.HookBase }

func (*boundless) Provides(b byte) bool { return b == mochi.OnSessionEstablish }

func (*boundless) OnSessionEstablish(c *mochi.Client, _ packets.Packet) {
	c.Properties.Props.ReceiveMaximum = 0 // for a session that the client takes over
	c.State.Inflight.ResetSendQuota(0)
}

// mosquittoPath returns the path of mosquitto, or "" if it is not installed.
var mosquittoPath = sync.OnceValue(func() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

// startMosquitto returns the URL of a broker that runs until the end of the test.
func startMosquitto(t testing.TB) (url string) {
	t.Helper()
	var err error
	for range 5 { // tries again, because another process may have taken the port
		port := 20_000 + rand.N(12_000)
		config := filepath.Join(t.TempDir(), "conf")
		text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest stderr\n", port)
		if os.Geteuid() == 0 {
			text += "user root\n"
		}
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err = runMosquitto(t, config); err == nil {
			return fmt.Sprintf("mqtt://127.0.0.1:%d", port)
		}
	}
	t.Fatal(err)
	return ""
}

// runMosquitto starts a process and waits until it listens.
func runMosquitto(t testing.TB, config string) error {
	cmd := exec.Command(mosquittoPath(), "-c", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	listens, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if strings.HasSuffix(s.Text(), " running") {
				close(listens)
			}
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-gone
	})
	select {
	case <-listens:
		return nil
	case <-gone:
		return errors.New("mosquitto has ended")
	case <-time.After(20 * time.Second):
		return errors.New("mosquitto does not listen")
	}
}
