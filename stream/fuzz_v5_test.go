package stream_test

import (
	"flag"
	"math"
	"runtime/metrics"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
)

// setupV5 is the bit of a fuzz input's setup that chooses MQTT 5. The bit 1, which chooses 3.1
// below it, allows the broker topic aliases there.
const setupV5 uint16 = 256

// seedLevels returns the values of the bit setupV5 of the seeds: that of the present run of all
// tests, and both with -fuzz, where there is only one run.
func seedLevels() []uint16 {
	switch {
	case flag.Lookup("test.fuzz").Value.String() != "":
		return []uint16{0, setupV5}
	case version >= frames.V5:
		return []uint16{setupV5}
	}
	return []uint16{0}
}

// choose sets the version of the session.
func (a *arena) choose(setup uint16) {
	switch {
	case setup&setupV5 != 0:
		a.o.Version = frames.V5
		a.o.V5.ReceiveMaximum = math.MaxUint16 // the scripts send more than any other
		if setup&1 != 0 {
			a.o.V5.TopicAliases = arenaIDs
		}
	case setup&1 != 0:
		a.o.Version = frames.V31
	}
}

// parseFuzzed parses a packet of either side.
func parseFuzzed(f frames.Frame, v frames.Version, aliases *frames.Aliases) (frames.Packet, error) {
	if f.Type() == frames.TypePublish {
		return frames.ParsePublish(f, v, nil, aliases)
	}
	return frames.Parse(f, v)
}

// accept records the properties of the CONNACK.
func (w *fuzzWire) accept(p *frames.ConnackProperties) {
	if p.ReceiveMaximum != 0 {
		w.window = min(w.window, int(p.ReceiveMaximum))
	}
	w.fromClient = frames.NewAliases(p.TopicAliasMaximum)
}

// alias gives a message a topic alias. If the alias stands for the topic already, it replaces it.
func (w *fuzzWire) alias(p *frames.Publish, alias uint16) {
	if w.v < frames.V5 || alias == 0 {
		return
	}
	p.Alias = alias
	if w.toClient[alias] == p.Topic {
		p.Topic = ""
	} else {
		w.toClient[alias] = p.Topic
	}
}

// refused records an ack that refuses a publication, which ends the exchange. It reports false for
// a PUBREL or a PUBCOMP, whose code does not refuse.
func (w *fuzzWire) refused(a frames.Ack) bool {
	switch a.Kind {
	case pubrec: // for an identifier that the client does not know, PUBREL is the answer
		w.pubrecs[a.ID]++
	case puback:
	default:
		return false
	}
	n, ok := w.flight[a.ID]
	switch {
	case !ok:
		w.early++
	case a.Kind == pubrec && (w.log.out[n].released || w.receipts[a.ID] == n+1):
		return true // too late: PUBCOMP ends the exchange, for the PUBREC before
	}
	delete(w.flight, a.ID)
	return true
}

// ackWith returns an ack for the publication that arg selects. One of its bits selects a reason
// code of MQTT 5.
func (a *arena) ackWith(kind frames.Type, arg byte) frames.Ack {
	p := ack(kind, a.id(arg))
	if arg&32 != 0 && a.o.Version >= frames.V5 {
		p.Code = frames.NotAuthorized
		if kind == pubcomp {
			p.Code = frames.PacketIdentifierNotFound
		}
	}
	return p
}

// answerBye closes a connection that the client has ended. At MQTT 5 the client waits for that
// after DISCONNECT [MQTT-3.14.4-1], and after it has closed its side because a stalled write keeps
// it from sending DISCONNECT.
func (a *arena) answerBye() {
	w := a.wire
	ended := w.bye || w.client.half.Load()
	if !ended || w.over || w.v < frames.V5 {
		return
	}
	w.over = true
	w.end.Close()
	a.log.lost(w, a.o.KeepSession)
	a.batch = nil
	synctest.Wait()
}

// disconnect sends DISCONNECT and ends the connection. Before MQTT 5 a broker must not send it.
func (a *arena) disconnect(arg byte) {
	codes := []frames.ReasonCode{
		frames.Success, frames.UnspecifiedError, frames.ServerShuttingDown, frames.SessionTakenOver, frames.ServerMoved,
	}
	p := frames.Disconnect{Code: codes[int(arg>>1)%len(codes)]}
	if p.Code == frames.ServerMoved {
		p.ServerReference = "other"
	}
	a.flush(0)
	a.send(p)
	a.drop(arg&1 != 0)
}

// connackProperties returns the properties of CONNACK that arg selects.
func connackProperties(arg byte) *frames.ConnackProperties {
	if arg < 2 {
		return nil
	}
	p := &frames.ConnackProperties{TopicAliasMaximum: uint16(arg >> 1 & 1)}
	if arg&4 != 0 {
		p.ReceiveMaximum = 1
	}
	if arg&8 != 0 {
		q := frames.AtLeastOnce
		p.MaximumQoS = &q
	}
	if arg&16 != 0 {
		p.MaximumPacket = 24 // a PUBLISH fits, a SUBSCRIBE perhaps not
	}
	if arg&32 != 0 {
		k := uint16(arg >> 6)
		p.ServerKeepAlive = &k
	}
	return p
}

// allocations returns the number of bytes that the process has allocated.
func allocations() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// checkAllocations checks that a broker's bytes make the client allocate memory in proportion to
// their number, whatever lengths they claim.
func checkAllocations(t *testing.T, before uint64, n int) {
	if used := allocations() - before; used > uint64(2<<20+1<<10*n) {
		t.Errorf("%d bytes allocated for %d bytes of the broker", used, n)
	}
}

// packetBodiesV5 are scripts with the packets and fields that only MQTT 5 has.
var packetBodiesV5 = [][]byte{
	// PUBACK and PUBREC that refuse, also for unknown identifiers; PUBCOMP 0x92.
	{stepPublish, 1, stepPuback, 160, stepPublish, 2, stepPubrec, 160, stepPubrec, 160, stepPubrec, 128, stepPublish, 1, stepAnswer, 0},
	{stepPublish, 2, stepPubrec, 128, stepPubrec, 160, stepPubcomp, 160, stepPuback, 36, stepPubrec, 36, stepPubcomp, 36},
	// A PUBREC that refuses comes too late, after one that does not.
	{stepPublish, 2, stepAnswer, 0, stepPubrec, 160, stepAnswer, 0},
	{stepPublish, 2, stepStall, 0, stepPubrec, 128, stepPubrec, 160, stepResume, 0, stepPublish, 2, stepPubrec, 160},
	{stepPublish, 2, stepPublish, 2, stepPubrec, 128, stepDrop, 0, stepConnect, 1, stepPubcomp, 160, stepAnswer, 0},
	// DISCONNECT of the broker, between other packets.
	{stepPublish, 1, stepMessage1, 1, stepDisconnect, 0, stepConnect, 1, stepDisconnect, 3, stepConnect, 1, stepDisconnect, 6, stepConnect, 0, stepDisconnect, 9, stepConnect, 1, stepAnswer, 0},
	{stepCollect, 0, stepMessage2, 1, stepPublish, 2, stepDisconnect, 4, stepConnect, 1, stepTake, 0, stepAck, 0, stepMessage2, 129, stepAnswer, 0},
	// A fault while the client cannot write, so it cannot send DISCONNECT.
	{stepStall, 0, stepPubrec, 0, stepSuback, 0},
	// AUTH that nobody asked for.
	{stepAuth, 0, stepConnect, 1, stepAuth, 1, stepConnect, 1, stepPublish, 1, stepAuth, 2, stepConnect, 0, stepAnswer, 0},
	// Topic aliases: set, used, set anew, and used on the next connection.
	{stepMessage0, 32, stepMessage1, 32, stepMessage1, 96, stepMessage2, 33, stepMessage2, 97, stepTake, 0, stepDrop, 0, stepConnect, 1, stepMessage0, 32, stepTake, 0},
	// Limits in CONNACK: aliases, Receive Maximum, Maximum QoS, Maximum Packet Size, Server Keep
	// Alive.
	{stepDrop, 0, stepConnect, 3, stepPublish, 1, stepPublish, 0, stepPublish, 2, stepAnswer, 0, stepAnswer, 0},
	{stepPublish, 2, stepPublish, 2, stepPublish, 1, stepDrop, 0, stepConnect, 5, stepAnswer, 0, stepAnswer, 0, stepAnswer, 0},
	{stepPublish, 2, stepPublish, 1, stepDrop, 0, stepConnect, 9, stepPublish, 2, stepAnswer, 0},
	{stepPublish, 2, stepDrop, 0, stepConnect, 17, stepSubscribe, 0, stepPublish, 1, stepAnswer, 0},
	{stepDrop, 0, stepConnect, 33, stepElapse, 200, stepDrop, 1, stepConnect, 97, stepElapse, 20, stepAnswer, 0},
}
