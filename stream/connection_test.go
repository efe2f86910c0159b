package stream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A pipeBroker is the other end of a reader's connections: it answers each CONNECT with accept, or
// refuses the dial.
type pipeBroker struct {
	refuse error
	conns  chan net.Conn // the broker's end of each connection, after the handshake
}

func (b *pipeBroker) dial(context.Context, string, string) (net.Conn, error) {
	if b.refuse != nil {
		return nil, b.refuse
	}
	ours, theirs := net.Pipe()
	go func() {
		r := frames.NewReader(theirs, 1<<20)
		if _, err := frames.ReadFrame(r); err != nil {
			return
		}
		connack, _ := frames.Connack{}.Append(nil, frames.V311)
		theirs.Write(connack)
		b.conns <- theirs
	}()
	return ours, nil
}

// newTestConnection returns a connection that is about to dial b, and the channel for the first
// result.
func newTestConnection(t *testing.T, b *pipeBroker) (*connection, chan error) {
	t.Helper()
	endpoints, err := link.ParseEndpoints("mqtt://broker", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := link.NewDialer(link.Config{
		Connect: frames.Connect{Version: frames.V311, CleanSession: true}, DialContext: b.dial,
		MaxPacket: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}, endpoints)
	first := make(chan error, 1)
	policy := &backoff.Backoff{Min: time.Second, Max: time.Minute, Factor: 2}
	c := newConnection(newReader(d, 0, new(spareBuffers)), terms{version: frames.V311, keepAlive: time.Minute}, flow.NewBackoff(policy, nil), "mqtt://broker:1883", first)
	return &c, first
}

func (c *connection) shown() State { return <-c.states.States(context.Background()) }

func TestAConnectionGoesThroughItsPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &pipeBroker{conns: make(chan net.Conn, 1)}
		c, first := newTestConnection(t, b)
		if c.dial(time.Hour); c.phase != phaseWaiting {
			t.Fatal("dialed though no attempt was due")
		}
		if c.dialNow(); c.phase != phaseDialing || c.online() {
			t.Fatal("not dialing")
		}
		c.begin((<-c.reader.events).conn, 5, 4)
		c.announce()
		if err := <-first; c.phase != phaseUp || !c.online() || err != nil || !c.shown().Online {
			t.Fatalf("phase %d, first result %v, shown %+v", c.phase, err, c.shown())
		}
		c.fail(&frames.ProtocolError{Reason: "for the test"})
		reason := c.cause
		c.fail(errors.New("a later reason")) // the first counts
		if c.phase != phaseFailing || !c.online() || c.cause != reason || reason.Error() != "mqtt: protocol violation: for the test" || c.code() != frames.ProtocolViolation {
			t.Fatalf("phase %d, cause %v", c.phase, c.cause)
		}
		c.readerGone((<-c.reader.events).err)
		if c.phase != phaseFailed || c.cause != reason || c.pingAt(9, false) != 0 {
			t.Fatalf("phase %d, cause %v", c.phase, c.cause)
		}
		c.reset()
		c.announceLost(reason, time.Time{})
		if st := c.shown(); c.phase != phaseWaiting || c.conn != nil || c.cause != nil || st.Online || st.Err != reason {
			t.Fatalf("phase %d, shown %+v", c.phase, st)
		}
		c.reader.wait()
		(<-b.conns).Close()
	})
}

func TestAnAttemptThatFailsIsShownAndTriedAgainWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &pipeBroker{refuse: errors.New("no route"), conns: make(chan net.Conn, 1)}
		c, first := newTestConnection(t, b)
		for attempt := 1; attempt <= 2; attempt++ {
			c.dialNow()
			err := (<-c.reader.events).err
			c.attemptFailed(err, time.Time{})
			if st := c.shown(); c.phase != phaseWaiting || st.Attempt != attempt || !errors.Is(st.Err, b.refuse) {
				t.Fatalf("phase %d, shown %+v", c.phase, st)
			}
		}
		if err := <-first; !errors.Is(err, b.refuse) || len(first) != 0 {
			t.Fatalf("Dial hears %v, and once", err)
		}
		c.backoff.Schedule(0, false)
		if c.dial(c.due() - 1); c.phase != phaseWaiting {
			t.Fatal("dialed before the attempt was due")
		}
		if c.dial(c.due()); c.phase != phaseDialing || c.due() != 0 {
			t.Fatal("not dialed when due")
		}
		<-c.reader.events
		c.reader.wait()
	})
}

// Without a connection, fail does nothing.
func TestFailWithoutAConnectionChangesNothing(t *testing.T) {
	c, _ := newTestConnection(t, &pipeBroker{})
	if c.fail(errors.New("late")); c.phase != phaseWaiting || c.cause != nil {
		t.Errorf("phase %d, cause %v", c.phase, c.cause)
	}
}

// The reader passes on all packets of a read, and waits for nobody after stop.
func TestTheReaderPassesOnWholeReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &pipeBroker{conns: make(chan net.Conn, 1)}
		c, _ := newTestConnection(t, b)
		c.dialNow()
		c.begin((<-c.reader.events).conn, 0, 0)
		broker := <-b.conns
		var bytes []byte
		for id := range uint16(3) {
			bytes, _ = frames.Ack{Kind: frames.TypePuback, ID: id + 1}.Append(bytes, frames.V311)
		}
		broker.Write(bytes)
		if e := <-c.reader.events; len(e.packets) != 3 || e.packets[2].id != 3 || e.err != nil {
			t.Errorf("the event has %d packets and the error %v", len(e.packets), e.err)
		}
		broker.Write([]byte{0xf0, 0}) // no packet of the standard
		if e := <-c.reader.events; e.err == nil || frames.CodeOf(e.err) != frames.MalformedPacket {
			t.Errorf("the event has the error %v", e.err)
		}
		c.reader.running.Go(func() { c.reader.tell(event{}) }) // which nobody wants at the end
		c.conn.Abort()
		if !c.reader.wait() {
			t.Error("an event keeps the reader from ending")
		}
		broker.Close()
	})
}
