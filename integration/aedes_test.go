package integration

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const (
	aedesVersion   = "1.2.0"        // the last one without MQTT 5
	aedes5Version  = "2.0.0-beta.1" // with MQTT 5
	aedesWSVersion = "8.23.0"       // version of ws, the WebSocket package that aedes needs
)

//go:embed testdata/aedes.js
var aedesScript []byte

// aedesFolder and aedes5Folder return the directory where their version of aedes is installed. The
// first call installs it.
var (
	aedesFolder  = sync.OnceValues(func() (string, error) { return installAedes(aedesVersion) })
	aedes5Folder = sync.OnceValues(func() (string, error) { return installAedes(aedes5Version) })
)

// installAedes installs aedes in the cache of the user, unless it is there, in at most three tries.
// It fails without node, npm or a network.
func installAedes(version string) (string, error) {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return "", err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "millrace-aedes-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "millrace-aedes")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh) // does nothing after the rename
	want := fmt.Sprintf(`{"private":true,"dependencies":{"aedes":%q,"ws":%q}}`, version, aedesWSVersion)
	if err := os.WriteFile(filepath.Join(fresh, "package.json"), []byte(want), 0o600); err != nil {
		return "", err
	}
	for range 3 {
		if err = npmInstall(fresh); err == nil {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err // ErrExist means that another process has installed aedes
	}
	return dir, nil
}

func npmInstall(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=10000")
	npm.Dir, npm.WaitDelay = dir, time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w\n%s", err, out)
	}
	return nil
}

func startAedes(t *testing.T, s setup) *broker {
	t.Helper()
	modules, err := aedesFolder()
	if err != nil {
		t.Fatal(err)
	}
	return runAedes(t, s, aedesVersion, modules)
}

func startAedes5(t *testing.T, s setup) *broker {
	t.Helper()
	modules, err := aedes5Folder()
	if err != nil {
		t.Fatal(err)
	}
	return runAedes(t, s, aedes5Version, modules)
}

func runAedes(t *testing.T, s setup, version, modules string) *broker {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) (path string) {
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{write("aedes.js", aedesScript), s.user, s.password}
	if s.cert != nil {
		args = append(args, write("cert", s.cert.cert), write("key", s.cert.key))
	}
	node := exec.Command("node", args...)
	node.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(modules, "node_modules"))
	var said bytes.Buffer
	node.Stderr = &said
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		node.Process.Kill()
		node.Wait()
	})
	var ports struct{ TCP, TLS, WS, WSS int }
	if err := json.NewDecoder(stdout).Decode(&ports); err != nil {
		node.Process.Kill()
		node.Wait()
		t.Fatalf("aedes is not listening: %v\n%s", err, said.Bytes())
	}
	b := &broker{name: "aedes", version: version, url: fmt.Sprintf("mqtt://127.0.0.1:%d", ports.TCP)}
	if s.webSocket {
		b.wsURL = fmt.Sprintf("ws://127.0.0.1:%d/mqtt", ports.WS)
	}
	if s.cert != nil {
		b.tlsURL = fmt.Sprintf("mqtts://127.0.0.1:%d", ports.TLS)
	}
	if s.cert != nil && s.webSocket {
		b.wssURL = fmt.Sprintf("wss://127.0.0.1:%d/mqtt", ports.WSS)
	}
	return b
}
