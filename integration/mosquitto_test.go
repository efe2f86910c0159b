package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

const notInstalled = "mosquitto is not installed: its rows are skipped, only mochi is tested"

// mosquittoPath returns the path of mosquitto, or "" if it is not installed.
var mosquittoPath = sync.OnceValue(func() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

var mosquittoVersion = sync.OnceValue(func() string {
	help, _ := exec.Command(mosquittoPath(), "-h").Output() // mosquitto -h exits with status 3
	line, _, _ := strings.Cut(string(help), "\n")
	return strings.TrimPrefix(line, "mosquitto version ")
})

// mosquitto is a broker process. After a restart it is a new process on the same port.
type mosquitto struct {
	t      *testing.T
	config string
	addr   string

	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended

	mu  sync.Mutex
	log []string
}

func startMosquitto(t *testing.T, s setup) *broker {
	t.Helper()
	for range 5 { // tries again, because another process may have taken the port
		dir := t.TempDir()
		b := &broker{name: "mosquitto", version: mosquittoVersion(), process: &mosquitto{t: t, config: filepath.Join(dir, "conf")}}
		if err := os.WriteFile(b.process.config, []byte(b.configure(dir, s)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := b.process.start()
		if err == nil {
			t.Cleanup(b.process.end)
			return b
		}
		t.Log(err)
	}
	t.Fatal("mosquitto did not start")
	return nil
}

// configure returns the configuration for s. It lifts the limits, because above
// max_inflight_messages mosquitto acknowledges QoS 2 publications and drops them.
func (b *broker) configure(dir string, s setup) string {
	t := b.process.t
	var c strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&c, format+"\n", args...) }
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	switch {
	case s.limits != "":
		add("%s", s.limits)
	case s.persistent:
		// Without a limit, 2.0.11 does not save which QoS 2 messages already had a PUBREL, and
		// sends their PUBLISH again.
		add("max_inflight_messages 2000")
	default:
		add("max_inflight_messages 0")
	}
	add("max_queued_messages 0")
	add("set_tcp_nodelay true")
	add("log_dest stderr")
	add("log_type error\nlog_type warning\nlog_type notice\nlog_type information")
	if os.Geteuid() == 0 {
		add("user root") // because another user cannot access dir
	}
	if s.plugin != "" {
		add("plugin %s", s.plugin)
	}
	if s.persistent {
		add("persistence true")
		add("persistence_location %s/", dir)
	}
	if s.user == "" {
		add("allow_anonymous true")
	} else {
		passwords := write("passwords", nil)
		if out, err := exec.Command("mosquitto_passwd", "-b", passwords, s.user, s.password).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
		}
		add("allow_anonymous false")
		add("password_file %s", passwords)
	}
	listen := func() (addr string) {
		port := freePort(t)
		add("listener %d 127.0.0.1", port)
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	secure := func() {
		add("certfile %s", write("cert", s.cert.cert))
		add("keyfile %s", write("key", s.cert.key))
	}
	b.process.addr = listen()
	b.url = "mqtt://" + b.process.addr
	if s.webSocket {
		b.wsURL = "ws://" + listen() + "/mqtt"
		add("protocol websockets")
	}
	if s.cert != nil {
		b.tlsURL = "mqtts://" + listen()
		secure()
	}
	if s.cert != nil && s.webSocket {
		b.wssURL = "wss://" + listen() + "/mqtt"
		add("protocol websockets")
		secure()
	}
	if s.cert != nil && s.clients != nil {
		b.mutualURL = "mqtts://" + listen()
		secure()
		add("cafile %s", write("clients", s.clients.cert))
		add("require_certificate true")
	}
	if s.unix {
		path := filepath.Join(dir, "socket")
		add("listener 0 %s", path)
		b.unixURL = "unix://" + path
	}
	return c.String()
}

// freePort returns a free port below the range of outgoing connections, so that no such connection
// can take the port while a broker is away.
func freePort(t *testing.T) int {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}

// freePorts returns n different free ports from the same range.
func freePorts(n int) (ports []int, err error) {
	for range 100 * n {
		port := 20_000 + rand.N(12_000)
		if slices.Contains(ports, port) {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			if ports = append(ports, port); len(ports) == n {
				return ports, nil
			}
		}
	}
	return nil, errors.New("no port is free")
}

// start starts the process and waits until it listens.
func (m *mosquitto) start() error {
	m.cmd = exec.Command(mosquittoPath(), "-c", m.config)
	stderr, err := m.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	listens := make(chan struct{})
	m.gone = make(chan struct{})
	go func() {
		defer close(m.gone)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			m.mu.Lock()
			m.log = append(m.log, s.Text())
			m.mu.Unlock()
			if strings.HasSuffix(s.Text(), " running") {
				close(listens)
			}
		}
		m.cmd.Wait()
	}()
	select {
	case <-listens:
		return m.probe()
	case <-m.gone:
		m.mu.Lock()
		defer m.mu.Unlock()
		return errors.New("mosquitto has ended:\n" + strings.Join(m.log, "\n"))
	case <-time.After(patience):
		m.kill()
		return errors.New("mosquitto is not listening")
	}
}

// probe waits until the broker answers. The log message that it is running comes a moment before it
// can be terminated.
func (m *mosquitto) probe() error {
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	connect := frames.Connect{Version: frames.V311, ClientID: "probe", CleanSession: true}
	hello, err := connect.Append(nil, frames.V311)
	if err != nil {
		return err
	}
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 4)) // a CONNACK with any return code
	return err
}

// restart starts the process again, on the same port.
func (m *mosquitto) restart() {
	m.t.Helper()
	if err := m.start(); err != nil {
		m.t.Fatal(err)
	}
}

// kill kills the process, which loses the state in its memory.
func (m *mosquitto) kill() {
	m.cmd.Process.Kill()
	<-m.gone
}

// terminate stops the process with SIGTERM.
func (m *mosquitto) terminate() {
	m.signal(syscall.SIGTERM)
	<-m.gone
}

func (m *mosquitto) signal(s os.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

// end kills the process at the end of the test, and logs its output if the test failed.
func (m *mosquitto) end() {
	m.kill()
	if m.t.Failed() {
		m.t.Log("output of mosquitto:\n" + strings.Join(m.log, "\n"))
	}
}
