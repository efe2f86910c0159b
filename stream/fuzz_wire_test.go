package stream_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A watched connection records that the client has closed it, or its own side of it.
type watched struct {
	*streamtest.PipeConn
	closed, half atomic.Bool
}

func (c *watched) CloseWrite() error {
	c.half.Store(true)
	return c.PipeConn.CloseWrite()
}

func (c *watched) Close() error {
	c.closed.Store(true)
	return c.PipeConn.Close()
}

// A fuzzWire is the broker's end of one connection. It checks that the packets of the client agree
// with the packets that the client has received.
type fuzzWire struct {
	t      *testing.T
	v      frames.Version
	window int
	log    *ledger

	client *watched
	end    *streamtest.PipeConn
	in     *frames.Reader
	hello  *frames.Connect
	up     bool // CONNACK was sent
	over   bool // the script has ended the connection
	bye    bool // DISCONNECT has arrived

	// Packets of the client: publications that await an ack, by identifier; the number of the
	// newest publication; and requests that await an answer.
	flight map[uint16]int
	newest int
	asked  []frames.Packet
	pings  int

	// The topic aliases of both directions, at MQTT 5. The client's begin with the CONNACK.
	fromClient *frames.Aliases
	toClient   map[uint16]string
	early      int // acks sent before their PUBLISH has arrived

	// The publications with a PUBREC of this connection that does not refuse, by identifier: the
	// number plus 1.
	receipts map[uint16]int

	// The PUBRECs and PUBRELs that the client has not answered yet, by identifier.
	pubrecs, pubrels map[uint16]int

	// QoS 1 and 2 messages to the client in the order sent, and the possible numbers of messages
	// that the acks so far cover. Several numbers are possible when the client need not ack every
	// message.
	arrivals []arrival
	acked    []int
}

// An arrival is a QoS 1 or 2 PUBLISH to the client.
type arrival struct {
	qos    frames.QoS
	id     uint16
	number int
	free   bool // the broker has sent PUBREL, so the client need not send PUBREC
	unsure bool // the client may regard it as a duplicate of an earlier message
}

// newFuzzWire returns a new connection. The field client is the client's end of the connection.
func newFuzzWire(t *testing.T, v frames.Version, window int, log *ledger) *fuzzWire {
	here, there := streamtest.Pipe(-1)
	w := &fuzzWire{
		t: t, v: v, window: window, log: log,
		client: &watched{PipeConn: here}, end: there, in: frames.NewReader(there, frames.MaxPacket),
		flight: make(map[uint16]int), newest: -1,
		pubrecs: make(map[uint16]int), pubrels: make(map[uint16]int), receipts: make(map[uint16]int),
		acked: []int{0}, toClient: make(map[uint16]string),
	}
	w.in.SetVersion(v)
	return w
}

// alive reports whether packets still reach the client.
func (w *fuzzWire) alive() bool { return w != nil && !w.over && !w.client.closed.Load() }

// pump checks all packets that the client has written.
func (w *fuzzWire) pump() {
	for w.client.Unread() > 0 && !w.over {
		if err := w.in.Fill(); err != nil {
			return
		}
		for {
			f, ok, err := w.in.Next()
			if err != nil {
				w.t.Fatalf("the client sent a malformed packet: %v", err)
			}
			if !ok {
				break
			}
			w.in.Keep()
			p, err := parseFuzzed(f, w.v, w.fromClient)
			if err != nil {
				w.t.Fatalf("the client violated the protocol: %v", err)
			}
			w.take(p)
		}
	}
}

// take checks one packet of the client.
func (w *fuzzWire) take(p frames.Packet) {
	if hello, ok := p.(frames.Connect); ok != (w.hello == nil) {
		w.t.Fatalf("%v in place of CONNECT, or a second CONNECT", p.Type())
	} else if ok {
		w.hello = &hello
		return
	}
	if testing.Verbose() {
		w.t.Logf("  got %+v", p)
	}
	if w.bye || !w.up {
		w.t.Fatalf("%v after DISCONNECT (%v) or before CONNACK (%v)", p.Type(), w.bye, !w.up)
	}
	switch p := p.(type) {
	case frames.Publish:
		w.publish(p)
	case frames.Ack:
		switch p.Kind {
		case pubrel:
			w.released(p)
		case pubcomp:
			if w.pubrels[p.ID]--; w.pubrels[p.ID] < 0 {
				w.t.Fatalf("PUBCOMP %d for no PUBREL", p.ID)
			}
			if w.pubrels[p.ID] == 0 {
				delete(w.pubrels, p.ID)
				delete(w.log.unsure, p.ID)
			}
		case puback:
			w.match(frames.AtLeastOnce, p.ID)
		case pubrec:
			w.match(frames.ExactlyOnce, p.ID)
		default:
			w.t.Fatalf("%v sent by the client", p.Kind)
		}
	case frames.Subscribe, frames.Unsubscribe:
		w.asked = append(w.asked, p)
	case frames.Pingreq:
		w.pings++
	case frames.Disconnect:
		w.bye = true
	default:
		w.t.Fatalf("%v sent by the client", p.Type())
	}
}

// publish checks the identifier and the DUP flag of a PUBLISH, its place in the order, and the
// window.
func (w *fuzzWire) publish(p frames.Publish) {
	if p.Topic != "out" {
		w.t.Fatalf("a publication to %q", p.Topic)
	}
	n, err := strconv.Atoi(string(p.Payload))
	if err != nil || n >= len(w.log.out) {
		w.t.Fatalf("a publication that the session did not accept: %q", p.Payload)
	}
	// New and retransmitted publications arrive in order of acceptance. No publication arrives
	// twice on a connection.
	if n <= w.newest {
		w.t.Fatalf("publication %d after %d", n, w.newest)
	}
	w.newest = n
	pub := &w.log.out[n]
	if pub.released {
		w.t.Fatalf("PUBLISH of %d after its PUBREL", n)
	}
	if p.QoS != pub.qos {
		w.t.Fatalf("publication %d at QoS %d", n, p.QoS)
	}
	if pub.known && (!p.DUP || p.ID != pub.id) {
		w.t.Fatalf("publication %d retransmitted with identifier %d, DUP %v; its identifier is %d", n, p.ID, p.DUP, pub.id)
	}
	if pub.known && p.QoS == frames.AtMostOnce {
		w.t.Fatalf("QoS 0 publication %d retransmitted", n)
	}
	pub.seen, pub.known, pub.id = true, true, p.ID
	if p.QoS == frames.AtMostOnce {
		return
	}
	w.fly(p.ID, n)
	w.log.current[p.ID] = n
}

func (w *fuzzWire) fly(id uint16, n int) {
	if other, ok := w.flight[id]; ok {
		w.t.Fatalf("identifier %d for publication %d, while publication %d has it", id, n, other)
	}
	w.flight[id] = n
	if len(w.flight) > w.window+w.early {
		w.t.Fatalf("%d in flight with window %d: %v", len(w.flight), w.window, w.flight)
	}
}

// released checks a PUBREL. It must answer a PUBREC or be a retransmission.
func (w *fuzzWire) released(a frames.Ack) {
	n, ok := w.log.current[a.ID]
	if w.pubrecs[a.ID] > 0 {
		w.pubrecs[a.ID]--
	} else {
		if !w.log.phantoms[a.ID] && (!ok || !w.log.out[n].received) {
			w.t.Fatalf("PUBREL %d for no PUBREC", a.ID)
		}
		if ok && w.log.out[n].received {
			w.fly(a.ID, n)
		} else {
			w.asked = append(w.asked, a) // the client will not send the PUBLISH of this exchange anymore
		}
	}
	if ok && w.log.out[n].received {
		w.log.out[n].released = true
	}
}

// match finds the messages that an ack may cover. The client sends acks in order of arrival. It
// sends no ack for a message that its consumer has not acknowledged or for which the broker has
// sent PUBREL.
func (w *fuzzWire) match(q frames.QoS, id uint16) {
	var next []int
	for _, from := range w.acked {
		for i := from; i < len(w.arrivals); i++ {
			a := &w.arrivals[i]
			if a.qos == q && a.id == id && (a.unsure || w.log.maySettle(a.number)) {
				if len(next) == 0 || next[len(next)-1] < i+1 {
					next = append(next, i+1)
				}
			}
			if !a.free {
				break
			}
		}
	}
	if len(next) == 0 {
		w.t.Fatalf("ack of QoS %d message %d out of order, or before its consumer acknowledged it: %+v, at %v", q, id, w.arrivals, w.acked)
	}
	w.acked = next
}

// unacked returns the messages whose acks have not arrived.
func (w *fuzzWire) unacked() (rest []arrival) {
	for _, a := range w.arrivals[w.acked[len(w.acked)-1]:] {
		if !a.free {
			rest = append(rest, a)
		}
	}
	return rest
}

// note records a packet for the client.
func (w *fuzzWire) note(p frames.Packet) {
	if testing.Verbose() {
		w.t.Logf("  send %+v", p)
	}
	switch p := p.(type) {
	case frames.Publish:
		if p.QoS > frames.AtMostOnce {
			w.arrivals = append(w.arrivals, w.log.arrive(p))
		}
	case frames.Ack:
		if p.Code >= frames.UnspecifiedError && w.refused(p) {
			return
		}
		w.log.acks[ackKey{p.Kind, p.ID}]++
		switch p.Kind {
		case pubrec:
			w.pubrecs[p.ID]++
			if n, ok := w.flight[p.ID]; ok {
				w.receipts[p.ID] = n + 1
			}
		case puback, pubcomp:
			if _, ok := w.flight[p.ID]; !ok {
				w.early++
			}
			delete(w.flight, p.ID)
		case pubrel:
			w.pubrels[p.ID]++
			delete(w.log.held, p.ID)
			for i := range w.arrivals {
				if a := &w.arrivals[i]; a.qos == frames.ExactlyOnce && a.id == p.ID {
					a.free = true
				}
			}
		}
	}
}

// sent records a packet that was sent to the client.
func (w *fuzzWire) sent(p frames.Packet) {
	a, ok := p.(frames.Ack)
	if !ok || a.Kind != pubrec || a.Code >= frames.UnspecifiedError {
		return
	}
	if n, ok := w.log.current[a.ID]; ok && w.log.out[n].qos == frames.ExactlyOnce {
		w.log.out[n].received = true
	} else if w.log.stalled {
		w.log.phantoms[a.ID] = true
	}
}
