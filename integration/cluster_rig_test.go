package integration

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	nats "github.com/nats-io/nats-server/v2/server"
)

// A cluster is three NATS servers with JetStream in the test process. When a server starts again,
// it uses the same ports for its route and its MQTT listener.
type cluster struct {
	t       *testing.T
	nodes   [3]*node
	outages map[*mqtt.Client]*outages
}

type node struct {
	options nats.Options
	server  *nats.Server
	url     string // URL of its MQTT listener
}

// mqttStreams lists the streams in which NATS keeps MQTT state. Each stream has a replica on every
// node.
var mqttStreams = []string{"$MQTT_msgs", "$MQTT_sess", "$MQTT_rmsgs", "$MQTT_out", "$MQTT_qos2in"}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []*url.URL
	for i := range c.nodes {
		route, listener := freePort(t), freePort(t)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", route)})
		c.nodes[i] = &node{url: fmt.Sprintf("mqtt://127.0.0.1:%d", listener), options: nats.Options{
			ServerName: fmt.Sprintf("node-%d", i), Host: "127.0.0.1", Port: nats.RANDOM_PORT, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(),
			Cluster: nats.ClusterOpts{Name: "mill", Host: "127.0.0.1", Port: route},
			// NATS redelivers an unacknowledged message after AckWait.
			MQTT: nats.MQTTOpts{Host: "127.0.0.1", Port: listener, AckWait: 2 * time.Second, StreamReplicas: len(c.nodes)},
		}}
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.stop()
		}
	})
	for i, n := range c.nodes {
		n.options.Routes = routes
		c.start(i)
	}
	c.await("a leader and its peers", func() bool {
		for _, n := range c.nodes {
			if n.server.JetStreamIsLeader() {
				return len(n.server.JetStreamClusterPeers()) == len(c.nodes)
			}
		}
		return false
	})
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	n := c.nodes[i]
	o := n.options // a copy, because the server modifies its options
	server, err := nats.NewServer(&o)
	if err != nil {
		c.t.Fatal(err)
	}
	server.Start()
	n.server = server
	if !server.ReadyForConnections(patience) {
		c.t.Fatalf("node %d is not ready", i)
	}
}

func (n *node) stop() {
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
	}
}

// caughtUp waits until a restarted node has replicated everything it missed.
func (c *cluster) caughtUp(i int) {
	c.t.Helper()
	s := c.nodes[i].server
	c.await(fmt.Sprintf("node %d with a current replica", i), func() bool {
		for _, stream := range mqttStreams {
			if !s.JetStreamIsStreamCurrent(nats.DEFAULT_GLOBAL_ACCOUNT, stream) {
				return false
			}
		}
		return s.JetStreamIsCurrent()
	})
}

// await polls a condition, because a server does not signal that its cluster has agreed.
func (c *cluster) await(what string, holds func() bool) {
	c.t.Helper()
	timeout := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-timeout:
			c.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// at returns the number of the node whose MQTT listener has this URL.
func (c *cluster) at(url string) int {
	for i, n := range c.nodes {
		if n.url == url {
			return i
		}
	}
	c.t.Fatalf("no node has the URL %s", url)
	return -1
}
