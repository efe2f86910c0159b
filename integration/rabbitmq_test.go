package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rabbitMQPath returns the path of the script that runs RabbitMQ, or "" if RabbitMQ is not
// installed. It does not use the script on the PATH, which may be a wrapper that requires another
// user.
var rabbitMQPath = sync.OnceValue(func() string {
	for _, name := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server", "/usr/sbin/rabbitmq-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

// rabbitMQKnows5 reports whether the installed version is 4 or later, as the folder of the script
// tells. Versions 3.12 and earlier know no MQTT 5; 3.13 is taken for one of them.
var rabbitMQKnows5 = sync.OnceValue(func() bool {
	path, err := filepath.EvalSymlinks(rabbitMQPath())
	if err != nil {
		return false
	}
	_, version, _ := strings.Cut(path, "rabbitmq_server-")
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 4
})

// rabbitMQ is the server that all tests share, because it takes ten seconds to start. The first
// test that needs it starts it.
var rabbitMQ struct {
	once   sync.Once
	broker *broker
	rooms  rooms
	err    error
	end    func()
}

// startRabbitMQ returns the shared RabbitMQ, which has every listener (see the function
// everything). A setup without a user gets a room: a virtual host.
func startRabbitMQ(t *testing.T, s setup) *broker {
	t.Helper()
	rabbitMQ.once.Do(func() { rabbitMQ.broker, rabbitMQ.end, rabbitMQ.err = runRabbitMQ() })
	if rabbitMQ.err != nil {
		t.Fatal(rabbitMQ.err)
	}
	if s.user != "" {
		return rabbitMQ.broker
	}
	return rabbitMQ.rooms.enter(t, rabbitMQ.broker, func(room string) string { return room + ":" + everything().user })
}

// rabbitMQDefinitions returns the user and the virtual hosts of RabbitMQ. Only a RabbitMQ that
// knows MQTT 5 has rooms.
func rabbitMQDefinitions() (string, error) {
	type object map[string]any
	s := everything()
	hosts := []string{"/"}
	if rabbitMQKnows5() {
		hosts = append(hosts, roomNames()...)
	}
	var names, permissions []object
	for _, h := range hosts {
		names = append(names, object{"name": h})
		permissions = append(permissions, object{"user": s.user, "vhost": h, "configure": ".*", "read": ".*", "write": ".*"})
	}
	user := object{"name": s.user, "password": s.password, "tags": ""}
	text, err := json.Marshal(object{"users": []object{user}, "vhosts": names, "permissions": permissions})
	return string(text), err
}

// endRabbitMQ stops the shared RabbitMQ.
func endRabbitMQ() {
	if rabbitMQ.end != nil {
		rabbitMQ.end()
	}
}

// runRabbitMQ starts RabbitMQ in a separate directory and with a separate epmd (the port mapper of
// Erlang), because an epmd that RabbitMQ starts would keep running.
func runRabbitMQ() (_ *broker, end func(), err error) {
	dir, err := os.MkdirTemp("", "rabbitmq")
	if err != nil {
		return nil, nil, err
	}
	stop := func() {}
	end = func() {
		stop()
		os.RemoveAll(dir) // removes all state, so no process needs an orderly shutdown
	}
	defer func() {
		if err != nil {
			end()
			end = nil
		}
	}()
	ports, err := freePorts(6)
	if err != nil {
		return nil, end, err
	}
	s := everything()
	definitions, err := rabbitMQDefinitions()
	if err != nil {
		return nil, end, err
	}
	write := func(name, content string) (path string) {
		path = filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	secured := func(prefix string) string {
		return fmt.Sprintf("%[1]scertfile = %[2]s\n%[1]skeyfile = %[3]s\n%[1]scacertfile = %[2]s\n",
			prefix, write("cert", string(s.cert.cert)), write("key", string(s.cert.key)))
	}
	config := "listeners.tcp = none\nlog.console = true\nlog.file = false\nloopback_users = none\nmqtt.allow_anonymous = false\n" +
		fmt.Sprintf("load_definitions = %s\n", write("definitions.json", definitions)) +
		fmt.Sprintf("mqtt.listeners.tcp.1 = 127.0.0.1:%d\nmqtt.listeners.ssl.1 = 127.0.0.1:%d\n", ports[0], ports[1]) +
		secured("ssl_options.") +
		fmt.Sprintf("web_mqtt.tcp.ip = 127.0.0.1\nweb_mqtt.tcp.port = %d\n", ports[2]) +
		fmt.Sprintf("web_mqtt.ssl.ip = 127.0.0.1\nweb_mqtt.ssl.port = %d\n", ports[3]) +
		secured("web_mqtt.ssl.")
	env := append(os.Environ(),
		"HOME="+dir, // the directory for the Erlang cookie
		fmt.Sprintf("ERL_EPMD_PORT=%d", ports[4]),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[5]),
		"RABBITMQ_NODENAME=millrace@localhost",
		"RABBITMQ_CONFIG_FILE="+write("rabbitmq.conf", config),
		"RABBITMQ_CONF_ENV_FILE="+write("env.conf", ""),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+write("plugins", "[rabbitmq_mqtt,rabbitmq_web_mqtt]."),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
		"RUNNING_UNDER_SYSTEMD=true", // makes the script become the server, instead of waiting for it
		// Two schedulers are enough, and they wait without spinning.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2 +sbwt none +sbwtdcpu none +sbwtdio none",
	)
	if err != nil {
		return nil, end, err
	}

	// The shell kills both when its input ends, which happens even if this process is killed.
	const script = `epmd -port $ERL_EPMD_PORT -address 127.0.0.1 >/dev/null 2>&1 & epmd=$!
"$0" & server=$!
exec >/dev/null
read _
kill -9 $server $epmd
wait`
	server := exec.Command("sh", "-c", script, rabbitMQPath())
	server.Env, server.Dir = env, dir
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
	b := &broker{
		name:   "RabbitMQ",
		url:    fmt.Sprintf("mqtt://127.0.0.1:%d", ports[0]),
		tlsURL: fmt.Sprintf("mqtts://127.0.0.1:%d", ports[1]),
		wsURL:  fmt.Sprintf("ws://127.0.0.1:%d/ws", ports[2]),
		wssURL: fmt.Sprintf("wss://127.0.0.1:%d/ws", ports[3]),
	}
	var log []string
	runs, ended, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		starting := true
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			_, version, found := strings.Cut(lines.Text(), "Starting RabbitMQ ")
			if found {
				b.version, _, _ = strings.Cut(version, " ")
			}
			if starting {
				log = append(log, lines.Text())
			}
			if starting && strings.Contains(lines.Text(), "Server startup complete") {
				starting = false
				close(runs)
			}
		}
		close(ended)
		server.Wait()
	}()
	stop = func() {
		stdin.Close()
		<-gone
	}
	select {
	case <-runs:
		return b, end, nil
	case <-ended:
		return nil, end, errors.New("RabbitMQ has ended:\n" + strings.Join(log, "\n"))
	case <-time.After(4 * patience):
		return nil, end, errors.New("RabbitMQ did not start")
	}
}
