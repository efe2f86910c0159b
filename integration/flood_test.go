package integration

import (
	"fmt"
	"math"
	"net"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
)

const (
	floodMessages = 1_000_000
	floodChunk    = 500 // messages in one write
	floodReceive  = 16 << 20
	floodExtra    = 8 << 20 // bytes that a client may use beside ReceiveBytes
)

// E4. In a flood that nobody reads, the client drops the oldest messages and counts each of them.
// Its memory is bounded and the connection stays. The test measures the memory of the process, so
// it must not run in parallel with other tests.
func TestAFloodThatNobodyReadsIsBoundedAndCounted(t *testing.T) {
	for _, payload := range []int{64, 1024} {
		t.Run(fmt.Sprintf("payloads of %d bytes", payload), func(t *testing.T) { flood(t, payload) })
	}
}

func flood(t *testing.T, payload int) {
	src := newFloodSource(t, payload)
	c := dial(t, src.url, mqtt.Options{Version: mqtt.V311, ClientID: "flooded", KeepAlive: time.Second, ReceiveBytes: floodReceive, NoReconnect: true})
	sub := subscribe(t, c, mqtt.Filter{Topic: "flood/+", QoS: mqtt.AtLeastOnce})
	base := memoryInUse()
	sub.Deliveries()         // creates the channel, from which nobody receives yet
	var most, garbage uint64 // maximum of live memory above base; maximum of heap objects, live or dead
	sample := func() { most = max(most, memoryInUse()-base) }
	for n := 0; n < floodMessages; n += floodChunk {
		src.write(src.chunk)
		if n%(floodMessages/20) == 0 {
			sample()
		}
		garbage = max(garbage, heapObjects())
		if n == floodMessages/2 {
			src.ping() // the client is still alive in the middle of the flood
		}
	}
	src.ping()
	src.write(src.last)
	src.ping() // now the client has read everything
	sample()

	delivered := 0
	for d := range sub.Deliveries() {
		d.Ack()
		if d.Topic == "flood/end" {
			break
		}
		delivered++
	}
	st := c.Stats()
	if got := delivered + int(st.Dropped); got != floodMessages {
		t.Errorf("%d delivered and %d dropped: got %d in total, want %d", delivered, st.Dropped, got, floodMessages)
	}
	if !st.Online || st.Connections != 1 || delivered == 0 || st.Dropped == 0 {
		t.Errorf("%d delivered, stats %+v", delivered, st)
	}
	t.Logf("payloads of %d bytes: at most %.1f MiB in use with ReceiveBytes %d MiB, %.1f MiB with garbage; %d delivered, %d dropped, %d pings",
		payload, float64(most)/(1<<20), floodReceive>>20, float64(garbage)/(1<<20), delivered, st.Dropped, src.pings)
	if most > floodReceive+floodExtra {
		t.Errorf("%d bytes in use, limit %d", most, floodReceive+floodExtra)
	}
}

// memoryInUse returns the memory of heap and stacks after garbage collection. It takes the minimum
// of three collections, because messages that are dropped during a collection survive it.
func memoryInUse() uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc+m.StackInuse)
	}
	return least
}

// heapObjects returns the size in bytes of all heap objects, live or not yet collected.
func heapObjects() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// A floodSource is a minimal broker that sends the flood. It writes from one buffer, so that it
// allocates nothing meanwhile.
type floodSource struct {
	t     *testing.T
	url   string
	chunk []byte // floodChunk messages at QoS 0
	last  []byte // one message at QoS 1

	ready  chan net.Conn // cap 1; gets the connection after SUBACK
	asks   chan struct{} // gets one value for each PINGREQ
	conn   net.Conn
	pings  int
	answer []byte
}

func newFloodSource(t *testing.T, payload int) *floodSource {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &floodSource{
		t: t, url: "mqtt://" + l.Addr().String(),
		ready: make(chan net.Conn, 1), asks: make(chan struct{}, 1000), answer: encode(t, frames.Pingresp{}),
	}
	m := frames.Publish{Message: mqtt.Message{Topic: "flood/all", Payload: make([]byte, payload)}}
	for range floodChunk {
		f.chunk = append(f.chunk, encode(t, m)...)
	}
	f.last = encode(t, frames.Publish{Message: text("flood/end", "", mqtt.AtLeastOnce), ID: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve(l)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done // the client is already closed
	})
	return f
}

func (f *floodSource) serve(l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	connack := encode(f.t, frames.Connack{})
	r := frames.NewReader(conn, frames.MaxPacket)
	for {
		p, err := frames.ReadFrame(r)
		if err != nil {
			return
		}
		switch p.Type() {
		case frames.TypeConnect:
			conn.Write(connack)
		case frames.TypeSubscribe:
			s, err := frames.ParseSubscribe(p, mqtt.V311)
			if err != nil {
				f.t.Error(err)
				return
			}
			conn.Write(encode(f.t, frames.Suback{ID: s.ID, Codes: []frames.ReasonCode{1}}))
			f.ready <- conn
		case frames.TypePingreq:
			f.asks <- struct{}{}
		}
	}
}

// write answers the pending pings, and then writes b.
func (f *floodSource) write(b []byte) {
	if f.conn == nil {
		f.conn = next(f.t, f.ready)
	}
	for len(f.asks) > 0 {
		<-f.asks
		f.pong()
	}
	if _, err := f.conn.Write(b); err != nil {
		f.t.Fatalf("the client closed the connection: %v", err)
	}
}

// ping waits for the next PINGREQ and answers it.
func (f *floodSource) ping() {
	next(f.t, f.asks)
	f.pong()
}

func (f *floodSource) pong() {
	f.pings++
	if _, err := f.conn.Write(f.answer); err != nil {
		f.t.Fatalf("the client closed the connection: %v", err)
	}
}

func encode(t *testing.T, p frames.Packet) []byte {
	b, err := p.Append(nil, mqtt.V311)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
