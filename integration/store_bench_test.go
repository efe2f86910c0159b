package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/logstore"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// nullBroker starts a broker that only acknowledges, over TCP.
func nullBroker(b *testing.B) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var r streamtest.Responder
	ended := make(chan error)
	go func() {
		var served []chan error
		for {
			conn, err := l.Accept()
			if err != nil {
				var all error
				for _, s := range served {
					all = errors.Join(all, <-s)
				}
				ended <- all
				return
			}
			s := make(chan error, 1)
			served = append(served, s)
			go func() { s <- r.Serve(conn) }()
		}
	}()
	b.Cleanup(func() {
		l.Close()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

var benchPayload = make([]byte, 64)

// A counting store counts its publications and commits.
type counting struct {
	flow.Store
	accepted, commits int
}

func (s *counting) Commit(changes []flow.Change) error {
	s.commits++
	for _, c := range changes {
		if c.Kind == flow.Accepted {
			s.accepted++
		}
	}
	return s.Store.Commit(changes)
}

// openLog returns a function that opens a logstore.
func openLog(o *logstore.Options) func(path string) (diskStore, error) {
	return func(path string) (diskStore, error) { return logstore.Open(path, o) }
}

// durableMillrace publishes n messages, at most window of them unacknowledged. Each message is
// stored before it is sent.
func durableMillrace(b *testing.B, open func(path string) (diskStore, error), addr string, window, n int) time.Duration {
	file, err := open(filepath.Join(b.TempDir(), "session"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	store := &counting{Store: file}
	c, err := mqtt.Dial(context.Background(), "mqtt://"+addr, &mqtt.Options{
		ClientID: "bench", KeepSession: true, Store: store, Window: window,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if c.Close(); store.accepted != n {
			b.Errorf("%d of %d publications went through the store", store.accepted, n)
		}
	}()
	in, slots := make(chan mqtt.Message, min(window, 256)), make(chan struct{}, window)
	m := mqtt.Message{Topic: "bench/topic", QoS: mqtt.AtLeastOnce, Payload: benchPayload}
	start := time.Now()
	go func() {
		defer close(in)
		for range n {
			slots <- struct{}{}
			in <- m
		}
	}()
	for r := range c.PublishFrom(context.Background(), in) {
		<-slots
		if r.Err != nil {
			b.Error(r.Err)
		}
	}
	took := time.Since(start)
	b.Logf("window %4d: %.1f messages a commit", window, float64(n)/float64(store.commits))
	return took
}

// durablePaho does the same with paho and its FileStore, which writes one file for each message and
// does not sync.
func durablePaho(b *testing.B, addr string, window, n int) time.Duration {
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("bench").
		SetCleanSession(false).SetStore(paho.NewFileStore(b.TempDir())))
	if t := c.Connect(); t.Wait() && t.Error() != nil {
		b.Fatal(t.Error())
	}
	defer c.Disconnect(250)
	tokens := make(chan paho.Token, window-1) // the loop below holds one more token
	start := time.Now()
	go func() {
		defer close(tokens)
		for range n {
			tokens <- c.Publish("bench/topic", 1, false, benchPayload)
		}
	}()
	for t := range tokens {
		if t.Wait(); t.Error() != nil {
			b.Error(t.Error())
		}
	}
	return time.Since(start)
}

// BenchmarkDurableQoS1 runs every contender once in each iteration and reports medians. Run it with
//
//	go test -run '^$' -bench DurableQoS1 -benchtime 5x -v
func BenchmarkDurableQoS1(b *testing.B) {
	addr := nullBroker(b)
	windows := []int{1, 16, 256, 4096}
	type contender struct {
		name     string
		messages []int // number for each window, for runs of about a second
		run      func(b *testing.B, addr string, window, n int) time.Duration
	}
	ours := func(open func(path string) (diskStore, error)) func(*testing.B, string, int, int) time.Duration {
		return func(b *testing.B, addr string, window, n int) time.Duration {
			return durableMillrace(b, open, addr, window, n)
		}
	}
	contenders := []contender{
		{"logstore", []int{2000, 20_000, 200_000, 200_000}, ours(openLog(nil))},
		{"unsynced", []int{8000, 80_000, 200_000, 200_000}, ours(openLog(&logstore.Options{NoSync: true}))},
		{"boltstore", []int{1000, 10_000, 100_000, 100_000}, ours(stores["boltstore"])},
		{"paho", []int{2000, 2000, 4000, 8000}, durablePaho},
	}
	rates := map[string][]float64{}
	key := func(name string, window int) string { return fmt.Sprintf("%s-%d", name, window) }
	for b.Loop() {
		for i, w := range windows {
			for _, c := range contenders {
				k, n := key(c.name, w), c.messages[i]
				rates[k] = append(rates[k], float64(n)/c.run(b, addr, w, n).Seconds())
			}
		}
	}
	median := func(name string, window int) float64 {
		all := slices.Sorted(slices.Values(rates[key(name, window)]))
		return all[len(all)/2]
	}
	best := 0.0
	for _, w := range windows {
		best = max(best, median("paho", w))
	}
	b.Logf("messages a second, and their ratio to the best of paho, %.0f:", best)
	for _, w := range windows {
		synced, unsynced, bolt, theirs := median("logstore", w), median("unsynced", w), median("boltstore", w), median("paho", w)
		b.Logf("window %4d: logstore %7.0f (%5.2f), without syncs %7.0f (%5.2f), boltstore %7.0f (%5.2f), paho %7.0f (%4.2f)",
			w, synced, synced/best, unsynced, unsynced/best, bolt, bolt/best, theirs, theirs/best)
		for _, c := range contenders {
			b.ReportMetric(median(c.name, w), key(c.name, w)+"-msgs/s")
		}
	}
}
