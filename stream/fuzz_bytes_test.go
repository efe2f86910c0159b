package stream_test

import (
	"bytes"
	"io"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// FuzzSessionSurvivesAnyBytes sends a stream of bytes to a session while it publishes, subscribes
// and acknowledges. The bytes of cuts are the lengths of the segments of the stream. The bit
// noConnack of setup leaves out CONNACK; newArena gives the meaning of the other bits.
func FuzzSessionSurvivesAnyBytes(f *testing.F) {
	cuts := []byte{255, 1, 7, 200, 30}
	for i, data := range byteSeeds(f) {
		for _, setup := range []uint16{8, 1 | 16, 2 | 4, 3 | 32} {
			for _, level := range seedLevels() {
				f.Add(data, cuts[i%len(cuts):], setup|level)
			}
		}
	}
	connack := []byte("\x20\x02\x00\x00")
	for _, level := range seedLevels() {
		f.Add(connack, cuts, noConnack|level)
		f.Add([]byte("\x20\x02\x01\x05\x30"), cuts, noConnack|2|level)
		f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), cuts, noConnack|1|level)
		f.Add([]byte("\x15\x03\x03\x00\x02\x02\x28"), cuts, noConnack|level)
		f.Add(append(connack, connack...), cuts, noConnack|level)
		if level == setupV5 {
			addSeedsV5(f, cuts)
		}
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, setup uint16) {
		if len(data) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) { playBytes(t, data, cuts, setup) })
	})
}

// noConnack is the bit of setup that leaves out CONNACK.
const noConnack = 128

func playBytes(t *testing.T, data, cuts []byte, setup uint16) {
	defer checkAllocations(t, allocations(), len(data))
	a := newArena(t, setup)
	defer a.stop()
	defer a.s.Close() // after a failure
	synctest.Wait()
	c := a.dialed[0]
	if setup&noConnack == 0 {
		_, _ = c.end.Write(a.encode(frames.Connack{}))
		a.subscribe("s/+")
		synctest.Wait()
	}
	var held []stream.Delivery
	calls := make(chan error, 1)
	a.running.Go(func() { calls <- a.s.Publish(a.ctx, message("out", "call", exactly)) })
	accepted := 0
	rest := data
	for turn := 0; len(rest) > 0; turn++ {
		n := len(rest)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[turn%len(cuts)]))
		}
		_, _ = c.end.Write(rest[:n])
		c.end.Cut()
		rest = rest[n:]
		if turn < 64 {
			p := stream.Publishing{Message: message("out", strconv.Itoa(accepted), frames.QoS(turn%3)), Tag: accepted}
			if accepts(a.s, p) {
				accepted++
			}
			held = settleSome(a, held)
		}
	}
	synctest.Wait()
	held = settleSome(a, held)
	synctest.Wait()
	if st := a.s.Stats(); st.InboxBytes > 4*(arenaReceive+1)+len(data)*(1+128) {
		t.Fatalf("%d bytes in the inboxes, more than the limit", st.InboxBytes)
	}
	a.stop()
	start := time.Now()
	if err := a.s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Fatalf("Close took %v", d)
	}
	a.running.Wait()
	for _, d := range held {
		d.Ack() // after the session has ended
	}
	written, _ := io.ReadAll(c.end)
	checkBytes(t, a, data, written, accepted, <-calls)
}

// settleSome receives all deliveries that are ready. It acknowledges all of them except the oldest.
func settleSome(a *arena, held []stream.Delivery) []stream.Delivery {
	take := func(in <-chan stream.Delivery) {
		for {
			synctest.Wait()
			select {
			case d, ok := <-in:
				if !ok {
					return
				}
				held = append(held, d)
			default:
				return
			}
		}
	}
	take(a.s.Deliveries())
	for len(a.ready) > 0 {
		a.subs = append(a.subs, <-a.ready)
	}
	for _, sub := range a.subs {
		take(sub.Deliveries())
	}
	for len(held) > 1 {
		held[len(held)-1].Ack()
		held = held[:len(held)-1]
	}
	return held
}

// checkBytes compares the numbers of accepted and completed publications with the packets that both
// sides sent.
func checkBytes(t *testing.T, a *arena, data, written []byte, accepted int, call error) {
	in := packetCounts(data, a.o.Version)
	out := packetCounts(written, a.o.Version)
	seen := make([]int, accepted)
	var well [3]int
	for len(a.receipts) > 0 {
		r := <-a.receipts
		seen[r.Tag.(int)]++
		if r.Err == nil {
			well[r.QoS]++
		}
	}
	if call == nil {
		well[frames.ExactlyOnce]++
	}
	for n, got := range seen {
		if got != 1 {
			t.Fatalf("%d Receipts for publication %d", got, n)
		}
	}
	if well[1] > in[puback] || well[2] > in[pubrec] || well[2] > in[pubcomp] || well[0] > out[frames.TypePublish] {
		t.Fatalf("completed by QoS: %v; received %v, sent %v", well, in, out)
	}
	// The client cannot send more packets of a type than the packets received and the publications
	// accepted allow.
	if out[puback]+out[pubrec] > in[frames.TypePublish] || out[pubcomp] != min(out[pubcomp], in[pubrel]) ||
		out[pubrel] > in[pubrec] || out[frames.TypePublish] > accepted+1 {
		t.Fatalf("sent %v, received %v, accepted %d", out, in, accepted+1)
	}
}

// packetCounts counts the packets of a stream by type, up to its first malformed packet.
func packetCounts(stream []byte, v frames.Version) (n [16]int) {
	r := frames.NewReader(bytes.NewReader(stream), 1<<20)
	r.SetVersion(v)
	aliases := frames.NewAliases(16) // the most that either side allows
	for {
		f, ok, err := r.Next()
		if err == nil && !ok {
			err = r.Fill()
			if err == nil {
				continue
			}
		}
		if err != nil {
			return n
		}
		if _, err := parseFuzzed(f, v, aliases); err != nil {
			return n
		}
		n[f.Type()]++
	}
}

// byteSeeds returns streams of bytes of healthy and of faulty brokers.
func byteSeeds(f *testing.F) (seeds [][]byte) {
	add := func(packets ...frames.Packet) {
		var b []byte
		for _, p := range packets {
			var err error
			if b, err = p.Append(b, frames.V311); err != nil {
				f.Fatal(err)
			}
		}
		seeds = append(seeds, b)
	}
	granted := frames.Suback{ID: 1, Codes: []frames.ReasonCode{2}}
	add(granted, publish("s/1", "x", atMost, 0, false), frames.Pingresp{}, publish("u", "", atMost, 0, false))
	add(granted, publish("s/1", "x", atLeast, 1, false), publish("s/1", "x", atLeast, 1, true), publish("u", "y", atLeast, 2, false))
	add(granted, publish("s/1", "x", exactly, 1, false), publish("s/1", "x", exactly, 1, true), ack(pubrel, 1), ack(pubrel, 1))
	for id := uint16(1); id < 5; id++ {
		add(ack(puback, id))
		add(ack(pubrec, id), ack(pubrec, id), ack(pubcomp, id))
		add(ack(pubcomp, id))
	}
	add(ack(pubrec, 2), ack(pubcomp, 2), ack(puback, 3), ack(pubrec, 4), ack(pubcomp, 4), ack(puback, 5))
	add(frames.Suback{ID: 1, Codes: []frames.ReasonCode{frames.UnspecifiedError}}, frames.Unsuback{ID: 3})
	add(frames.Suback{ID: 1, Codes: []frames.ReasonCode{1, 1}})
	add(frames.Suback{ID: 9, Codes: []frames.ReasonCode{3}})
	add(frames.Connack{})
	add(frames.Connect{Version: frames.V311, CleanSession: true}, frames.Pingreq{}, frames.Disconnect{})
	for _, s := range []string{
		"\x00\x00", "\xf0\x00", "\xc0\x00", "\xe0\x00", "\xd0\x01x", "\xd1\x00", // unknown types and empty packets
		"\x36\x05\x00\x01t\x00\x01", "\x38\x04\x00\x01tx", "\x32\x05\x00\x01t\x00\x00", "\x30\x04\x00\x09tx", "\x32\x04\x00\x01t\x00",
		"\x30\x03\x00\x01#", "\x30\x03\x00\x01\x00", "\x30\x02\x00\x00", "\x30\x04\x00\x02\xc0\x80", "\x30\x05\x00\x03\xef\xbb\xbf",
		"\x40\x01\x00", "\x40\x03\x00\x01\x00", "\x41\x02\x00\x01", "\x40\x02\x00\x00", "\x60\x02\x00\x01", "\x6a\x02\x00\x01",
		"\x90\x02\x00\x01", "\x90\x03\x00\x00\x00", "\x90\x03\x00\x01\x03", "\xb0\x02\x00\x07",
		"\x30\x80\x80\x80\x80\x01", "\x30\xff\xff\xff\x7f", "\x30\x83\x00\x00\x01t",
	} {
		seeds = append(seeds, []byte(s))
	}
	return seeds
}
