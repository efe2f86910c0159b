package stream_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A twin is a broker that keeps the state of one session. It handles one packet at a time, so that
// a test can cut the connection between any two packets.
type twin struct {
	t *testing.T

	// Packets from the client.
	got    []string          // received payloads, in order
	held   map[uint16]string // QoS 2 payloads between PUBLISH and PUBREL
	seen   map[string]uint16 // the identifiers of all payloads of QoS 1 and 2
	ended  map[string]bool   // payloads whose PUBREL has arrived
	window int               // the limit of the client's outstanding publications; 0: not checked
	open   map[uint16]bool   // the client's outstanding publications on this connection
	exact  bool              // no packet of the client was lost, so a PUBLISH has DUP if and only if it arrived before

	// Messages to the client.
	out []*outbound

	send   []frames.Packet // packets to send, in order
	events int             // number of packets so far, in both directions

	connections int
	settle      func() // lets the consumers ack the deliveries they hold

	results results           // Receipts of the client's publications
	stored  func(string) bool // reports whether the changes that a packet depends on were stored; nil: no store
}

type outbound struct {
	frames.Publish
	sent, released, done bool
}

func newTwin(t *testing.T, window int, out ...*outbound) *twin {
	x := &twin{t: t, window: window, settle: func() {}}
	x.lose()
	x.out = out
	return x
}

// lose makes the broker forget the session.
func (x *twin) lose() {
	x.held, x.seen, x.ended = make(map[uint16]string), make(map[string]uint16), make(map[string]bool)
	x.out = nil
}

// resume queues the packets that a broker sends at the beginning of a connection. They are its
// unacknowledged PUBLISH and PUBREL packets, in order.
func (x *twin) resume() {
	x.send = nil
	x.open = make(map[uint16]bool)
	for _, o := range x.out {
		switch {
		case o.done:
		case o.released:
			x.send = append(x.send, ack(pubrel, o.ID))
		default:
			o.DUP = o.sent
			o.sent = true
			x.send = append(x.send, o.Publish)
		}
	}
}

// take handles a packet of the client as a broker does.
func (x *twin) take(p frames.Packet) {
	switch p := p.(type) {
	case frames.Publish:
		x.publish(p)
	case frames.Ack:
		switch p.Kind {
		case pubrel:
			x.outstanding(p.ID)
			if payload, ok := x.held[p.ID]; ok {
				x.wantStored("%v %s", p.Kind, payload)
				x.ended[payload] = true
			}
			delete(x.held, p.ID)
			x.send = append(x.send, ack(pubcomp, p.ID))
		case pubrec:
			x.wantStored("%v %d", p.Kind, p.ID)
			x.find(p.ID).released = true
			x.send = append(x.send, ack(pubrel, p.ID))
		case pubcomp:
			x.wantStored("%v %d", p.Kind, p.ID)
			x.find(p.ID).done = true
		default:
			x.find(p.ID).done = true
		}
	default:
		x.t.Fatalf("the client sent %v", p)
	}
}

func (x *twin) publish(p frames.Publish) {
	payload := string(p.Payload)
	if p.QoS == frames.AtMostOnce {
		x.got = append(x.got, payload)
		return
	}
	x.wantStored("%v %d %s", frames.TypePublish, p.ID, payload)
	x.outstanding(p.ID)
	id, again := x.seen[payload]
	switch {
	case again && (id != p.ID || !p.DUP):
		x.t.Fatalf("retransmitted with identifier %d, DUP %v: %q, first sent with identifier %d", p.ID, p.DUP, payload, id)
	case !again && p.DUP && x.exact:
		x.t.Fatalf("DUP on %q, which was never sent", payload)
	case x.ended[payload]:
		x.t.Fatalf("PUBLISH of %q after its PUBREL", payload)
	}
	x.seen[payload] = p.ID
	if p.QoS == frames.AtLeastOnce {
		x.got = append(x.got, payload)
		x.send = append(x.send, ack(puback, p.ID))
		return
	}
	switch holds, ok := x.held[p.ID]; {
	case !ok:
		x.held[p.ID] = payload
		x.got = append(x.got, payload)
	case holds != payload:
		x.t.Fatalf("PUBLISH of %q with identifier %d, which still belongs to %q", payload, p.ID, holds)
	}
	x.send = append(x.send, ack(pubrec, p.ID))
}

// wantStored fails if the client's store has never held the changes that a packet depends on.
func (x *twin) wantStored(format string, args ...any) {
	if what := fmt.Sprintf(format, args...); x.stored != nil && !x.stored(what) {
		x.t.Fatalf("on the wire before it was stored: %s", what)
	}
}

// outstanding fails if the client exceeds its window. Retransmitted publications count too.
func (x *twin) outstanding(id uint16) {
	if x.open[id] = true; x.window > 0 && len(x.open) > x.window {
		x.t.Fatalf("%d publications are outstanding, in a window of %d", len(x.open), x.window)
	}
}

func (x *twin) find(id uint16) *outbound {
	i := slices.IndexFunc(x.out, func(o *outbound) bool { return o.ID == id })
	if i < 0 {
		x.t.Fatalf("ack for identifier %d, which is not in flight", id)
	}
	return x.out[i]
}

func (x *twin) settled() bool {
	return !slices.ContainsFunc(x.out, func(o *outbound) bool { return !o.done })
}

// A wire is the broker's end of a connection that may end at any time.
type wire struct {
	c *streamtest.Conn
	r *frames.Reader
}

// handshake accepts a client.
func (x *twin) handshake(c *streamtest.Conn, present bool, v frames.Version) *wire {
	if p := c.ExpectConnect(); p.Version != v {
		x.t.Fatalf("CONNECT of version %v, want %v", p.Version, v)
	}
	c.Connack(present, frames.Success)
	w := &wire{c: c, r: frames.NewReader(c.Raw(), frames.MaxPacket)}
	w.r.SetVersion(v)
	x.connections++
	return w
}

// next returns the next packet of the client, or the error that ended the connection.
func (w *wire) next(v frames.Version) (frames.Packet, error) {
	for {
		f, ok, err := w.r.Next()
		switch {
		case err != nil:
			return nil, err
		case ok:
			w.r.Keep()
			return frames.Parse(f, v)
		}
		if err := w.c.Raw().SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return nil, err
		}
		if err := w.r.Fill(); err != nil {
			return nil, err
		}
	}
}

// A stop is the reason why the twin stopped.
type stop byte

const (
	all    stop = iota // the twin has no more packets to send, and over returned true
	cut                // the packet after which the test cuts the connection has been handled
	hungUp             // the client has closed the connection
)

// run serves a connection until the function over returns true. It also stops after packet number
// limit; 0 means no limit.
func (x *twin) run(w *wire, v frames.Version, limit int, over func() bool) stop {
	x.resume()
	for {
		synctest.Wait()
		switch {
		case len(x.send) > 0:
			if a, ok := x.send[0].(frames.Ack); ok && (a.Kind == puback || a.Kind == pubcomp) {
				delete(x.open, a.ID)
			}
			w.c.Send(x.send[0])
			x.send = x.send[1:]
		case over():
			return all
		default:
			x.settle() // late consumers acknowledge now, because no packets arrive before they do
			p, err := w.next(v)
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
				return hungUp
			}
			if err != nil {
				x.t.Fatalf("%v; got %v, %d packets so far, the broker waits for %v", err, x.got, x.events, x.out)
			}
			x.take(p)
		}
		if x.events++; x.events == limit {
			return cut
		}
	}
}

// outbounds returns messages of a broker to the client, with consecutive identifiers.
func outbounds(qos []frames.QoS) []*outbound {
	out := make([]*outbound, len(qos))
	for i, q := range qos {
		out[i] = &outbound{Publish: publish("in", fmt.Sprint(i), q, uint16(100+i), false)}
	}
	return out
}

// checkArrivals checks that all messages arrived in order, and QoS 2 messages only once. If repeats
// is true, the broker forgot the session, so QoS 2 messages may arrive again. If losses is true,
// the client's session ended, so publications in flight may be missing.
func checkArrivals(t *testing.T, where string, got []string, want []frames.QoS, repeats, losses bool) {
	t.Helper()
	count := make(map[string]int)
	var first []string
	for _, g := range got {
		if count[g]++; count[g] == 1 {
			first = append(first, g)
		}
	}
	if !slices.IsSorted(first) {
		t.Errorf("%s: first arrivals out of order: %v", where, got)
	}
	for i, q := range want {
		n := count[fmt.Sprint(i)]
		if n == 0 && !losses {
			t.Errorf("%s: message %d did not arrive: %v", where, i, got)
		}
		if n > 1 && q == frames.ExactlyOnce && !repeats {
			t.Errorf("%s: QoS 2 message %d arrived %d times: %v", where, i, n, got)
		}
	}
}
