package integration

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// A client with an endpoint for each node survives the loss of one node at a time. Every message
// that the cluster acknowledged at QoS 1 arrives at least once. NATS speaks 3.1.1 only.
func TestAClusterThatLosesANodeLosesNoMessage(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	publisher, subscriber := c.dial("publisher"), c.dial("subscriber")
	sub := subscribe(t, subscriber, mqtt.Filter{Topic: "cluster/load", QoS: mqtt.AtLeastOnce})
	seen := make(chan int)
	go func() {
		for d := range sub.Deliveries() {
			i, err := strconv.Atoi(string(d.Payload))
			if err != nil {
				t.Errorf("got %s", show(d.Message))
			}
			select {
			case seen <- i:
			case <-t.Context().Done():
				return
			}
			d.Ack()
		}
	}()

	var sent atomic.Int64
	var publishing sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		publishing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := int(sent.Add(1)) - 1
				if err := publisher.Publish(t.Context(), text("cluster/load", strconv.Itoa(i), 1)); err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
			}
		})
	}
	arrived := make(map[int]int)
	var newest time.Time
	var silence time.Duration // the longest time between new messages
	take := func(n int) {
		t.Helper()
		for n += len(arrived); len(arrived) < n; {
			i := next(t, seen)
			if arrived[i]++; arrived[i] > 1 {
				continue
			}
			now := time.Now()
			silence, newest = max(silence, now.Sub(newest)), now
		}
	}

	take(500)
	var down int
	for round := range 2 {
		down = c.at(endpoint(t, publisher))
		newest, silence = time.Now(), 0
		c.nodes[down].stop()
		take(500)
		t.Logf("node %d was stopped: no new message for at most %v", down, silence.Round(time.Millisecond))
		if round == 0 {
			c.start(down)
			c.caughtUp(down)
			take(500)
		}
	}
	close(stop)
	publishing.Wait()
	take(int(sent.Load()) - len(arrived))
	again := 0
	for _, times := range arrived {
		if times > 1 {
			again++
		}
	}
	t.Logf("%d accepted, all arrived, %d of them more than once", sent.Load(), again)
	if n := publisher.Stats().Connections; n < 3 {
		t.Errorf("%d connections of the publisher, want at least 3: its node was stopped twice", n)
	}
	for name, client := range map[string]*mqtt.Client{"publisher": publisher, "subscriber": subscriber} {
		t.Logf("%s: without a connection for %v; at the end at %s", name, c.outages[client].list(), endpoint(t, client))
		if at := endpoint(t, client); at == c.nodes[down].url {
			t.Errorf("the %s is connected to a stopped node: %s", name, at)
		}
	}
}

func (c *cluster) dial(id string) *mqtt.Client {
	c.t.Helper()
	client := dial(c.t, c.nodes[0].url, mqtt.Options{ClientID: id, KeepSession: true, Window: 20,
		SharedSession: true, Fallbacks: []string{c.nodes[1].url, c.nodes[2].url}, Reconnect: soon(), ConnectTimeout: 5 * time.Second})
	o := new(outages)
	states := client.States(c.t.Context())
	go o.watch(states)
	if c.outages == nil {
		c.outages = make(map[*mqtt.Client]*outages)
	}
	c.outages[client] = o
	return client
}

// endpoint returns the endpoint of a client's current or last connection.
func endpoint(t *testing.T, c *mqtt.Client) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return next(t, c.States(ctx)).Endpoint
}

// outages records the times when a client had no connection.
type outages struct {
	mu   sync.Mutex
	ends []string
}

func (o *outages) watch(states <-chan mqtt.State) {
	var since time.Time
	var why error
	for s := range states {
		switch {
		case !s.Online && since.IsZero():
			since, why = s.Since, s.Err
		case s.Online && !since.IsZero():
			o.mu.Lock()
			o.ends = append(o.ends, fmt.Sprintf("%v (%v)", s.Since.Sub(since).Round(time.Millisecond), why))
			o.mu.Unlock()
			since = time.Time{}
		}
	}
}

func (o *outages) list() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ends
}
