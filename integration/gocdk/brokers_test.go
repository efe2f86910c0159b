package gocdk

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// startMochi returns the address of a broker that runs until the end of the test.
func startMochi(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	for _, hook := range []mochi.Hook{new(auth.AllowHook), new(boundless)} {
		if err := server.AddHook(hook, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.AddListener(listeners.NewNet("tcp", l)); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Close of mochi's listener can deadlock with a client that disconnects at the same moment.
		for end := time.Now().Add(10 * time.Second); atomic.LoadInt64(&server.Info.ClientsConnected) > 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
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
func mosquittoPath() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// startMosquitto returns the address of a broker that runs until the end of the test.
func startMosquitto(t *testing.T) (addr string) {
	t.Helper()
	for range 5 { // tries again, because another process may have taken the port
		if addr, ok := tryMosquitto(t); ok {
			return addr
		}
	}
	t.Fatal("mosquitto did not start")
	return ""
}

func tryMosquitto(t *testing.T) (addr string, ok bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	lines := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 0\nlog_dest stderr\n", port)
	if os.Geteuid() == 0 {
		lines += "user root\n" // because another user cannot read the file
	}
	if err := os.WriteFile(config, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(mosquittoPath(), "-c", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	runs, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if strings.HasSuffix(s.Text(), " running") {
				close(runs)
			}
		}
		cmd.Wait()
	}()
	kill := func() {
		cmd.Process.Kill()
		<-gone
	}
	select {
	case <-runs:
		t.Cleanup(kill)
		return fmt.Sprintf("127.0.0.1:%d", port), true
	case <-gone:
	case <-time.After(30 * time.Second):
		kill()
	}
	return "", false
}
