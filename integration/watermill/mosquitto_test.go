package watermillmqtt_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds the start and the end of a broker.
const startTimeout = 20 * time.Second

// mosquittoPath returns the path of mosquitto, or "" if it is not installed.
var mosquittoPath = sync.OnceValue(func() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

// needMosquitto skips t where mosquitto is not installed. TestMain says so in its output.
func needMosquitto(t *testing.T) {
	t.Helper()
	if mosquittoPath() == "" {
		t.Skip("mosquitto is not installed")
	}
}

// startMosquitto starts a mosquitto that keeps its sessions on disk.
func startMosquitto(t *testing.T) *broker {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "conf")
	var failed error
	for range 5 { // tries again, because another process may have taken the port
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.N(12_000))
		text := []string{
			"listener " + addr[len("127.0.0.1:"):] + " 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true",
			"max_queued_messages 0",
			"persistence true", "persistence_location " + dir + "/", "log_dest stderr",
		}
		if os.Geteuid() == 0 {
			text = append(text, "user root") // because another user cannot access dir
		}
		if err := os.WriteFile(config, []byte(strings.Join(text, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		stop, err := runMosquitto(config)
		if err != nil {
			failed = err
			continue
		}
		t.Cleanup(func() { stop() })
		restart := func() (err error) {
			stop()
			stop, err = runMosquitto(config)
			return err
		}
		return &broker{url: "mqtt://" + addr, restart: restart}
	}
	t.Fatal(failed)
	return nil
}

// runMosquitto starts a process and waits until it listens. stop interrupts it, so that it saves
// its sessions.
func runMosquitto(config string) (stop func(), _ error) {
	cmd := exec.Command(mosquittoPath(), "-c", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
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
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-gone:
		case <-time.After(startTimeout):
			cmd.Process.Kill()
			<-gone
		}
	}
	select {
	case <-listens:
		return stop, nil
	case <-gone:
		return func() {}, fmt.Errorf("mosquitto has ended")
	case <-time.After(startTimeout):
		stop()
		return func() {}, fmt.Errorf("mosquitto does not listen")
	}
}
