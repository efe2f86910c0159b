package stream_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// The steps of a fuzzed script. A step takes two bytes of the script: its code and its argument.
const (
	stepMessage0 byte = iota
	stepMessage1
	stepMessage2
	stepPuback
	stepPubrec
	stepPubrel
	stepPubcomp
	stepSuback
	stepUnsuback
	stepPingresp
	stepPublish
	stepCall
	stepTake
	stepAck
	stepSubscribe
	stepUnsubscribe
	stepDrop
	stepConnect
	stepElapse
	stepAnswer
	stepCollect
	stepFlush
	stepStall
	stepResume
	stepDisconnect
	stepAuth // before MQTT 5: no packet
	steps
)

// stepNames names the steps in the log of a failed script, with -v.
var stepNames = [steps]string{
	"message 0", "message 1", "message 2", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "PINGRESP",
	"publish", "call", "take", "ack", "subscribe", "unsubscribe",
	"drop", "connect", "elapse", "answer", "collect", "flush", "stall", "resume",
	"DISCONNECT", "AUTH",
}

// The ways in which a script ends. The first byte of a script selects one of them, and MQTT 5 with
// the bit scriptV5; the second byte is the setup.
const (
	endClose byte = iota
	endShutdown
	endHealthy         // a healthy broker and the consumers complete all exchanges, then Close is called
	endHealthyShutdown // a healthy broker and the consumers complete all exchanges during Shutdown
	ends

	scriptPresent byte = 16 // the broker has the session when the script begins
	scriptV5      byte = 32
)

// FuzzSessionSurvivesAnyPackets runs scripts of packets, calls and connection losses in any order.
func FuzzSessionSurvivesAnyPackets(f *testing.F) {
	for _, script := range packetSeeds() {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) { playScript(t, script) })
}

func playScript(t *testing.T, script []byte) {
	if len(script) < 4 || len(script) > 400 {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		setup := uint16(script[1])
		if script[0]&scriptV5 != 0 {
			setup |= setupV5
		}
		a := newArena(t, setup)
		defer a.stop()
		defer a.s.Close() // after a failure
		a.connect(script[0]&scriptPresent != 0, nil)
		a.settle()
		for steps := script[2:]; len(steps) >= 2; steps = steps[2:] {
			if testing.Verbose() {
				t.Logf("%s %d", stepNames[steps[0]%byte(len(stepNames))], steps[1])
			}
			a.step(steps[0], steps[1])
			a.settle()
		}
		a.end(script[0] % ends)
	})
}

// id returns a packet identifier for an ack. It is a small number, or the identifier of a
// publication in flight.
func (a *arena) id(arg byte) uint16 {
	if arg >= 128 && a.wire != nil {
		for n := len(a.log.out) - 1 - int(arg)%4; n >= 0; n-- {
			if p := &a.log.out[n]; p.id != 0 {
				return p.id
			}
		}
	}
	return 1 + uint16(arg)%arenaIDs
}

func (a *arena) step(op, arg byte) {
	topic := "u"
	if arg&64 != 0 {
		topic = "s/" + strconv.Itoa(int(arg>>4&1))
	}
	id := 1 + uint16(arg&15)%arenaIDs
	switch op % steps {
	case stepMessage0, stepMessage1, stepMessage2:
		a.message(frames.QoS(op%steps-stepMessage0), id, arg&128 != 0, topic, uint16(arg>>5&1)*id)
	case stepPuback:
		a.send(a.ackWith(puback, arg))
	case stepPubrec:
		a.send(a.ackWith(pubrec, arg))
	case stepPubrel:
		a.send(frames.Ack{Kind: pubrel, ID: id, DUP: arg&128 != 0})
	case stepPubcomp:
		a.send(a.ackWith(pubcomp, arg))
	case stepSuback:
		a.log.discard = a.log.discard || arg>>5&3 == 2 // messages claimed by a rejected Subscription
		a.send(frames.Suback{ID: a.id(arg), Codes: [][]frames.ReasonCode{{0}, {2}, {frames.UnspecifiedError}, {1, 1}}[arg>>5&3]})
	case stepUnsuback:
		a.send(frames.Unsuback{ID: a.id(arg), Codes: []frames.ReasonCode{0}})
	case stepPingresp:
		a.send(frames.Pingresp{})
	case stepPublish:
		a.publish(frames.QoS(arg % 3))
	case stepCall:
		a.call(frames.QoS(arg % 3))
	case stepTake:
		a.take()
	case stepAck:
		a.ack(int(arg))
	case stepSubscribe:
		a.subscribe([]string{"s/0", "s/1", "s/+", "u"}[arg%4])
	case stepUnsubscribe:
		a.unsubscribe(int(arg))
	case stepDrop:
		a.drop(arg&1 != 0)
	case stepConnect:
		a.connect(arg&1 != 0, connackProperties(arg))
	case stepElapse:
		elapse(time.Duration(arg) * 100 * time.Millisecond)
	case stepAnswer:
		a.answer()
	case stepCollect:
		if a.batch == nil {
			a.batch = []frames.Packet{}
		}
	case stepFlush:
		a.flush(int(arg % 4))
	case stepStall:
		if a.wire.alive() {
			a.wire.end.Stall()
			a.log.stalled = true
		}
	case stepResume:
		if a.wire.alive() {
			a.wire.end.Resume()
		}
	case stepDisconnect:
		a.disconnect(arg)
	case stepAuth:
		if a.o.Version >= frames.V5 {
			a.send(frames.Auth{Code: []frames.ReasonCode{0, frames.ContinueAuthentication, frames.ReAuthenticate}[arg%3], Method: "m"})
		}
	}
}

// end ends the session and checks its final state.
func (a *arena) end(how byte) {
	a.flush(0)
	if a.wire.alive() {
		a.wire.end.Resume()
	}
	a.settle()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a.ending = how == endShutdown || how == endHealthyShutdown
	switch how {
	case endShutdown:
		if err := a.s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			a.t.Fatal(err)
		}
	case endHealthy:
		a.recover(nil)
	case endHealthyShutdown:
		shutdown := callShutdown(context.Background(), a.t, a.s)
		a.recover(shutdown.done)
		if shutdown.err != nil {
			a.t.Fatalf("Shutdown returned %v", shutdown.err)
		}
	}
	orderly := a.wire.alive() && a.wire.up && how != endShutdown
	a.ending = true
	a.log.discard = true // messages claimed by a Subscribe that is cancelled now
	a.stop()
	if err := a.s.Close(); err != nil {
		a.t.Fatalf("Close returned %v", err)
	}
	a.running.Wait()
	a.settle()
	if orderly && !a.wire.bye {
		a.t.Fatal("Close sent no DISCONNECT")
	}
	for n := range a.log.out {
		if got := a.log.out[n].receipts; got != 1 {
			a.t.Fatalf("%d Receipts for publication %d", got, n)
		}
	}
	if err := a.s.Err(); err != nil {
		a.t.Fatalf("Err is %v", err)
	}
}

// recover answers as a healthy broker and receives as a consumer, until all exchanges are complete
// or the session has ended.
func (a *arena) recover(ended <-chan struct{}) {
	for turn := range 200 {
		if turn == 50 { // messages for a pending Subscription may keep the client from reading its SUBACK
			a.log.discard = true
			a.stop()
		}
		select {
		case <-ended:
			return
		default:
		}
		if !a.wire.alive() && ended == nil {
			a.connect(true, nil)
		}
		a.settle()
		a.take()
		for len(a.taken) > 0 {
			a.ack(0)
		}
		a.settle()
		if a.wire.alive() && len(a.wire.unacked()) == 0 {
			for id := uint16(1); id <= arenaIDs; id++ {
				if _, ok := a.log.held[id]; ok {
					a.send(ack(pubrel, id))
				}
			}
		}
		a.answer()
		a.settle()
		if ended == nil && a.recovered() {
			return
		}
		switch {
		case ended == nil:
		case !a.wire.alive():
			a.shutdownConnect(ended)
		case a.wire.bye:
			elapse(time.Second) // for which the client waits for the end of the connection
		}
	}
	a.t.Fatalf("not all publications complete: %+v; unacked %+v; publications %+v", a.s.Stats(), a.wire.unacked(), a.log.out)
}

// shutdownConnect waits for the next connection of the client, or for the end of the session.
func (a *arena) shutdownConnect(ended <-chan struct{}) {
	elapse(arenaPause)
	synctest.Wait()
	select {
	case <-ended:
	default:
		a.connect(true, nil)
	}
}

func (a *arena) recovered() bool {
	for n := range a.log.out {
		if a.log.out[n].receipts == 0 {
			return false
		}
	}
	st := a.s.Stats()
	return a.wire.alive() && len(a.wire.unacked()) == 0 && len(a.wire.pubrels) == 0 && len(a.wire.asked) == 0 &&
		st.InFlight == 0 && st.Queued == 0 && st.Unacked == 0 && st.Inbox == 0 && !st.Paused && st.Online
}

// packetSeeds returns healthy exchanges in both directions, and exchanges with a faulty broker.
func packetSeeds() [][]byte {
	bodies := [][]byte{
		{stepPublish, 0, stepPublish, 1, stepPuback, 0, stepPublish, 2, stepPubrec, 1, stepPubcomp, 1},
		{stepPublish, 2, stepPublish, 1, stepAnswer, 0, stepAnswer, 0, stepAnswer, 0},
		{stepMessage0, 0, stepMessage1, 1, stepMessage2, 2, stepTake, 0, stepAck, 2, stepAck, 1, stepAck, 0, stepPubrel, 2},
		{stepSubscribe, 0, stepAnswer, 0, stepMessage1, 64, stepMessage2, 65, stepTake, 0, stepAck, 1, stepAck, 0, stepPubrel, 1, stepUnsubscribe, 0, stepAnswer, 0},
		// A1, A2: acks for unknown identifiers, and duplicates.
		{stepPuback, 4, stepPubrec, 4, stepPubcomp, 4, stepPubrel, 4, stepPubrel, 4},
		{stepPublish, 1, stepPuback, 0, stepPuback, 0, stepPublish, 2, stepPubrec, 1, stepPubrec, 1, stepPubcomp, 1, stepPubcomp, 1},
		// A3: acks that do not fit the QoS or the state of the publication.
		{stepPublish, 2, stepPuback, 0, stepPublish, 1, stepPubrec, 1, stepConnect, 1, stepPublish, 2, stepPubcomp, 2},
		// A4, A5: duplicates.
		{stepMessage2, 1, stepMessage2, 129, stepTake, 0, stepAck, 0, stepMessage2, 129, stepPubrel, 1, stepMessage2, 1, stepTake, 0, stepAck, 0},
		{stepMessage1, 1, stepMessage1, 129, stepTake, 0, stepAck, 1, stepAck, 0},
		{stepMessage2, 1, stepPubrel, 1, stepMessage2, 1, stepTake, 0, stepAck, 1, stepAck, 0},
		// M12: SUBACKs that do not fit.
		{stepSubscribe, 0, stepSuback, 0x60, stepConnect, 0, stepAnswer, 0},
		{stepSubscribe, 0, stepSuback, 0x40, stepSuback, 0, stepUnsuback, 0, stepPingresp, 0},
		// K1 to K6: connections that end during an exchange.
		{stepPublish, 1, stepPublish, 2, stepDrop, 0, stepConnect, 1, stepAnswer, 0, stepDrop, 1, stepConnect, 1, stepAnswer, 0, stepAnswer, 0},
		{stepPublish, 2, stepPubrec, 0, stepDrop, 0, stepConnect, 1, stepPubcomp, 0, stepDrop, 0, stepConnect, 0},
		{stepMessage1, 1, stepMessage2, 2, stepTake, 0, stepDrop, 1, stepConnect, 1, stepAck, 0, stepMessage2, 130, stepAck, 0, stepMessage1, 129, stepTake, 0},
		{stepCall, 1, stepCall, 2, stepCall, 0, stepElapse, 20, stepAnswer, 0},
		{stepStall, 0, stepPublish, 0, stepPublish, 1, stepPublish, 2, stepMessage1, 1, stepTake, 0, stepAck, 0, stepElapse, 50, stepResume, 0, stepElapse, 200, stepConnect, 1},
		// A full inbox. Some segments carry several packets, others a part of one.
		{stepCollect, 0, stepMessage1, 1, stepMessage1, 2, stepMessage1, 3, stepMessage0, 0, stepMessage1, 4, stepMessage2, 0, stepPubrel, 0, stepMessage2, 0, stepMessage1, 1, stepMessage1, 1, stepMessage1, 1, stepMessage0, 64, stepFlush, 0, stepPublish, 1, stepTake, 0, stepAck, 0},
		{stepPublish, 2, stepCollect, 0, stepPubrec, 0, stepMessage2, 3, stepPubrel, 3, stepPubcomp, 0, stepFlush, 1, stepTake, 0, stepAck, 0},
	}
	bodies = append(bodies, bytes.Repeat([]byte{stepMessage1, 1, stepMessage0, 0}, 50))
	bodies = append(bodies, packetBodiesV5...)
	var scripts [][]byte
	for i, body := range bodies {
		for how := range ends {
			for _, setup := range []byte{8, 1, 2 | 4 | 16, 3, 2 | 32 | 64} {
				for _, level := range seedLevels() {
					scripts = append(scripts, append([]byte{how | byte(level>>8)*scriptV5, setup + byte(i%3)<<3}, body...))
				}
			}
		}
	}
	return scripts
}
