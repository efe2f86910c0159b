package integration

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// ejabberdLibraries returns the folder of Erlang's packages in which Debian installs ejabberd, or
// "" if ejabberd is not installed there.
var ejabberdLibraries = sync.OnceValue(func() string {
	found, _ := filepath.Glob("/usr/lib/*/ejabberd-*/ebin/mod_mqtt.beam")
	if _, err := exec.LookPath("erl"); err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(found[0])))
})

// ejabberd is the server that all tests share, because it takes seconds to start. The first test
// that needs it starts it.
var ejabberd struct {
	once   sync.Once
	broker *broker
	rooms  rooms
	err    error
	end    func()
}

// startEjabberd returns the shared ejabberd, which has the listeners TCP, TLS, ws and wss. A setup
// without a user gets a room: a virtual host.
func startEjabberd(t *testing.T, s setup) *broker {
	t.Helper()
	ejabberd.once.Do(func() { ejabberd.broker, ejabberd.end, ejabberd.err = runEjabberd() })
	if ejabberd.err != nil {
		t.Fatal(ejabberd.err)
	}
	if s.user != "" {
		return ejabberd.broker
	}
	return ejabberd.rooms.enter(t, ejabberd.broker, func(room string) string { return "miller@" + room })
}

// endEjabberd stops the shared ejabberd.
func endEjabberd() {
	if ejabberd.end != nil {
		ejabberd.end()
	}
}

// ejabberdProgram starts ejabberd, registers the user in each virtual host, prints the version and
// ends with its input, which happens even if the test process is killed.
const ejabberdProgram = `_ = ejabberd:start(),
[User, Password] = [list_to_binary(os:getenv(V)) || V <- ["MILLRACE_USER", "MILLRACE_PASSWORD"]],
[ok = ejabberd_auth:try_register(User, Host, Password) || Host <- ejabberd_option:hosts()],
io:format("~nruns ~s~n", [ejabberd_option:version()]),
io:get_line(""),
erlang:halt(0, [{flush, false}]).`

// runEjabberd starts ejabberd in a separate directory. It runs Erlang itself: the script of Debian
// changes the user. A node of Erlang without a name needs no epmd.
func runEjabberd() (_ *broker, end func(), err error) {
	dir, err := os.MkdirTemp("", "ejabberd")
	if err != nil {
		return nil, nil, err
	}
	stop := func() {}
	end = func() {
		stop()
		os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			end()
			end = nil
		}
	}()
	ports, err := freePorts(4)
	if err != nil {
		return nil, end, err
	}
	s := everything()
	both := filepath.Join(dir, "certificate")
	config := filepath.Join(dir, "ejabberd.yml")
	if err = errors.Join(os.WriteFile(both, append(s.cert.cert[:len(s.cert.cert):len(s.cert.cert)], s.cert.key...), 0o600),
		os.WriteFile(config, []byte(ejabberdConfig(both, ports)), 0o600)); err != nil {
		return nil, end, err
	}
	// Two schedulers are enough, and they wait without spinning.
	server := exec.Command("erl", "+S", "2", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
		"-noshell", "-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(dir, "mnesia")), "-eval", ejabberdProgram)
	user, _, _ := strings.Cut(s.user, "@")
	server.Dir = dir
	server.Env = append(os.Environ(), "HOME="+dir, "EJABBERD_CONFIG_PATH="+config, "EJABBERD_LOG_PATH="+filepath.Join(dir, "log"),
		"ERL_LIBS="+ejabberdLibraries(), "ERL_CRASH_DUMP_BYTES=0", "MILLRACE_USER="+user, "MILLRACE_PASSWORD="+s.password)
	stdin, err := server.StdinPipe()
	if err != nil {
		return nil, end, err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return nil, end, err
	}
	if err = server.Start(); err != nil {
		return nil, end, err
	}
	var log []string
	runs, gone := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(gone)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if version, ok := strings.CutPrefix(lines.Text(), "runs "); ok {
				runs <- version
			} else if len(log) < 200 {
				log = append(log, lines.Text())
			}
		}
		server.Wait()
	}()
	stop = func() {
		stdin.Close()
		server.Process.Kill()
		<-gone
	}
	b := &broker{
		name:   "ejabberd",
		url:    fmt.Sprintf("mqtt://127.0.0.1:%d", ports[0]),
		tlsURL: fmt.Sprintf("mqtts://127.0.0.1:%d", ports[1]),
		wsURL:  fmt.Sprintf("ws://127.0.0.1:%d/mqtt", ports[2]),
		wssURL: fmt.Sprintf("wss://127.0.0.1:%d/mqtt", ports[3]),
	}
	select {
	case b.version = <-runs:
		return b, end, nil
	case <-gone:
		return nil, end, errors.New("ejabberd has ended:\n" + strings.Join(log, "\n"))
	case <-time.After(4 * patience):
		return nil, end, errors.New("ejabberd did not start")
	}
}

// ejabberdConfig returns a configuration with MQTT as the only service.
func ejabberdConfig(certificate string, ports []int) string {
	config := fmt.Sprintf("loglevel: warning\nauth_method: internal\nhosts: [localhost, %s]\n", strings.Join(roomNames(), ", ")) +
		fmt.Sprintf("certfiles: [%q]\nmodules: {mod_mqtt: {}}\nlisten:\n", certificate)
	for i, port := range ports {
		kind := "module: mod_mqtt"
		if i >= 2 {
			kind = "module: ejabberd_http, request_handlers: {/mqtt: mod_mqtt}"
		}
		config += fmt.Sprintf("  - {port: %d, ip: \"127.0.0.1\", tls: %t, %s}\n", port, i%2 == 1, kind)
	}
	return config
}
