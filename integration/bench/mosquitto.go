package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mosquittoPath returns the path of mosquitto, or "" if it is not installed.
var mosquittoPath = sync.OnceValue(func() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

// mosquittoVersion returns the version from the first line of the help text.
func mosquittoVersion() string {
	text, _ := exec.Command(mosquittoPath(), "-h").Output() // it exits with 3
	first, _, _ := strings.Cut(string(text), "\n")
	version, _ := strings.CutPrefix(first, "mosquitto version ")
	return known(strings.TrimSpace(version))
}

// A mosquitto is a broker process for one run. Once a second, mosquitto publishes the number of
// messages that it has received. The monitor subscribes to this number.
type mosquitto struct {
	dir     string
	cmd     *exec.Cmd
	monitor *raw
	all     chan struct{} // closed when all messages of the scenario have been received
	ended   chan struct{} // closed when the monitor has ended
}

const received = "$SYS/broker/publish/messages/received"

func newMosquitto(s *scenario) (_ *mosquitto, err error) {
	if mosquittoPath() == "" {
		return nil, errors.New("mosquitto is not installed")
	}
	m := &mosquitto{all: make(chan struct{}), ended: make(chan struct{})}
	if m.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err == nil {
		err = m.start(addr)
	}
	if err == nil {
		err = m.watch(s, addr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mosquitto: %w", err), m.stop())
	}
	s.URL = "tcp://" + addr
	return m, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (m *mosquitto) start(addr string) error {
	config := filepath.Join(m.dir, "conf")
	host, port, _ := net.SplitHostPort(addr)
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\nsys_interval 1\nlog_type none\n", port, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	m.cmd = exec.Command(mosquittoPath(), "-c", config)
	return m.cmd.Start()
}

// watch subscribes to the number of received messages as soon as the broker listens.
func (m *mosquitto) watch(s *scenario, addr string) error {
	var conn net.Conn
	var err error
	for range 100 {
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	m.monitor = newRaw(s, conn)
	if err := m.monitor.connect("monitor"); err != nil {
		return err
	}
	if err := m.monitor.subscribe(received); err != nil {
		return err
	}
	go func() {
		defer close(m.ended)
		for total := 0; total < s.Messages; {
			err := m.monitor.read(func(first byte, body []byte) (err error) {
				_, count, err := text(body)
				if first&0xf0 == typePublish && err == nil {
					total, err = strconv.Atoi(strings.TrimSpace(string(count)))
				}
				return err
			})
			if err != nil {
				return
			}
		}
		close(m.all)
	}()
	return nil
}

func (m *mosquitto) done() <-chan struct{} { return m.all }

func (m *mosquitto) flood() {}

func (m *mosquitto) messages() int64 { return 0 }

func (m *mosquitto) close() error {
	m.monitor.conn.Close()
	<-m.ended
	return m.stop()
}

func (m *mosquitto) stop() error {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // it has no data to save
		_ = m.cmd.Wait()
	}
	return os.RemoveAll(m.dir)
}
