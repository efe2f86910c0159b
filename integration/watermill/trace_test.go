package watermillmqtt_test

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
)

// A trace records the bytes that clients receive.
type trace struct {
	mu    sync.Mutex
	conns []*bytes.Buffer // one for each connection
}

// A tapped connection records the bytes that are read from it.
type tapped struct {
	net.Conn
	trace *trace
	bytes *bytes.Buffer
}

func (tr *trace) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	c := &tapped{conn, tr, new(bytes.Buffer)}
	tr.conns = append(tr.conns, c.bytes)
	return c, nil
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.trace.mu.Lock()
	defer c.trace.mu.Unlock()
	c.bytes.Write(b[:n])
	return n, err
}

// arrived returns the UUIDs of the complete PUBLISH packets, in order of arrival.
func (tr *trace) arrived(t *testing.T) (uuids []string) {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, c := range tr.conns {
		r := frames.NewReader(bytes.NewReader(c.Bytes()), 1<<20)
		for {
			f, err := frames.ReadFrame(r)
			if err != nil {
				break // the end of the connection, perhaps inside a packet
			}
			p, err := frames.Parse(f, frames.V311)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := p.(frames.Publish); ok {
				uuids = append(uuids, uuid(t, p.Message))
			}
		}
	}
	return uuids
}

// uuid returns the UUID in the envelope that m carries.
func uuid(t *testing.T, m mqtt.Message) string {
	t.Helper()
	e, err := mqtt.JSON[struct{ UUID string }](m)
	if err != nil {
		t.Fatal(err)
	}
	return e.UUID
}

// publish publishes n messages with the given number of goroutines and returns their UUIDs when all
// of them are acknowledged.
func publish(t *testing.T, pub message.Publisher, topic string, n, goroutines int) (uuids []string) {
	t.Helper()
	for range n {
		uuids = append(uuids, watermill.NewUUID())
	}
	var running sync.WaitGroup
	for share := range slices.Chunk(uuids, n/goroutines) {
		running.Go(func() {
			for _, id := range share {
				if err := pub.Publish(topic, message.NewMessage(id, nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	return uuids
}

// receive acks messages until n different ones have come, or none has come for a while after
// settled was closed. It returns the UUIDs without those of second copies.
func receive(messages <-chan *message.Message, n int, settled <-chan struct{}) (uuids []string) {
	seen := make(map[string]bool)
	var quiet <-chan time.Time
	for len(uuids) < n {
		if settled == nil {
			quiet = time.After(3 * time.Second)
		}
		select {
		case m := <-messages:
			m.Ack()
			if !seen[m.UUID] {
				seen[m.UUID] = true
				uuids = append(uuids, m.UUID)
			}
		case <-settled:
			settled = nil
		case <-quiet:
			return uuids
		}
	}
	return uuids
}

// mochi sorts the messages that wait in a session by the second of their arrival, so those of one
// second come in no order. They are handed over in the order in which they come.
func TestMochiSendsASessionInNoOrder(t *testing.T) {
	tr := new(trace)
	s := &system{url: startMochi(t, orderTakeovers).url, qos: mqtt.AtLeastOnce, options: mqtt.Options{Version: mqtt.V311, DialContext: tr.dial}}
	pub, sub := s.create(t)
	if err := sub.(message.SubscribeInitializer).SubscribeInitialize("order"); err != nil {
		t.Fatal(err)
	}
	published := publish(t, pub, "order", 1000, 1)
	messages, err := sub.Subscribe(context.Background(), "order")
	if err != nil {
		t.Fatal(err)
	}
	received := receive(messages, len(published), nil)
	closeBoth(t, pub, sub)
	arrived := tr.arrived(t)
	t.Log("in the order of publication:", slices.Equal(arrived, published))
	if len(received) != len(published) || !slices.Equal(received, arrived) {
		t.Errorf("%d messages were published, %d arrived, and %d were handed over; in order of arrival: %v",
			len(published), len(arrived), len(received), slices.Equal(received, arrived))
	}
}

// Each message that mochi has acknowledged and that is not handed over is missing in the bytes that
// mochi has sent. mochi copies the messages of a session to the new connection, and drops those
// that it queues between the copy and the end of the old connection.
func TestMochiLosesMessagesThatItHasAcknowledged(t *testing.T) {
	const outages = 40
	tr := new(trace)
	b := startMochi(t)
	s := &system{url: b.url, qos: mqtt.AtLeastOnce, options: mqtt.Options{Version: mqtt.V311, DialContext: tr.dial}}
	pub, sub := s.create(t)
	messages, err := sub.Subscribe(context.Background(), "losses")
	if err != nil {
		t.Fatal(err)
	}
	const count = 10_000
	settled := make(chan struct{})
	var published []string
	go func() {
		defer close(settled)
		var outage sync.WaitGroup
		outage.Go(func() {
			for range outages {
				time.Sleep(20 * time.Millisecond)
				b.restart()
			}
		})
		published = publish(t, pub, "losses", count, 20)
		outage.Wait()
	}()
	received := receive(messages, count, settled)
	<-settled
	closeBoth(t, pub, sub)

	arrived := tr.arrived(t)
	t.Logf("%d of %d messages are missing", count-len(received), count)
	has := make(map[string]bool)
	for _, id := range received {
		has[id] = true
	}
	for _, id := range published {
		if !has[id] && slices.Contains(arrived, id) {
			t.Errorf("message %s has arrived and was not handed over", id)
		}
	}
}

func closeBoth(t *testing.T, pub message.Publisher, sub message.Subscriber) {
	t.Helper()
	if err := pub.Close(); err != nil {
		t.Error(err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}
