package stream_test

import (
	"context"
	"crypto/tls"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// recordsOnly reports whether a commit holds only the record of the session. A connection of MQTT 5
// begins with such a commit. The slow Stores let it pass, so that scripts fit all versions.
func recordsOnly(changes []flow.Change) bool {
	return len(changes) == 1 && changes[0].Kind == flow.Opened
}

// A slowStore calls hold in the middle of each commit of messages or identifiers.
type slowStore struct {
	flow.Store
	hold func()
}

func (s *slowStore) Commit(changes []flow.Change) error {
	if !recordsOnly(changes) {
		s.hold()
	}
	return s.Store.Commit(changes)
}

// slowCommits runs a script over TCP, TLS and WebSocket with a session whose commits each wait for
// a value from the channel. The session is subscribed to all topics at QoS 2.
func slowCommits(t *testing.T, script func(t *testing.T, b *streamtest.Broker, x *slowSession)) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				script(t, b, newSlowSession(t, b, scheme))
			})
		})
	}
}

// A slowSession is a session with a slow Store, and its connection.
type slowSession struct {
	*stream.Session
	conn   *streamtest.Conn
	server *webSocket // under conn, if used
	scheme string
	ca     *authority
	in     <-chan stream.Delivery
	commit chan struct{} // lets one commit go on
	acks   chan stream.Receipt
	log    logBook
	t      *testing.T
}

func newSlowSession(t *testing.T, b *streamtest.Broker, scheme string) *slowSession {
	x := &slowSession{scheme: scheme, ca: newAuthority(t), commit: make(chan struct{}), acks: make(chan stream.Receipt, 10), t: t}
	o := &stream.Options{
		ClientID: "k", KeepSession: true, KeepAlive: 5 * time.Second, Window: 10, Ack: x.acks, Logger: x.log.logger(),
		Store: &slowStore{flow.NewMemoryStore(), func() { <-x.commit }},
	}
	if x.secured() {
		o.TLS = &tls.Config{RootCAs: x.ca.pool}
	}
	s, err := stream.Open(scheme+"://broker", with(b, o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(x.commit)
		s.Close()
	})
	x.Session = s
	x.accept(b, false)
	x.in = subscribed(t, s, x.conn, "#", exactly).Deliveries()
	return x
}

func (x *slowSession) secured() bool { return x.scheme == "mqtts" || x.scheme == "wss" }

// accept accepts a connection.
func (x *slowSession) accept(b *streamtest.Broker, present bool) {
	x.t.Helper()
	x.conn = b.Accept()
	if x.secured() {
		x.conn.Wrap(tls.Server(x.conn.Raw(), &tls.Config{Certificates: []tls.Certificate{x.ca.issue(x.t, nil)}}))
	}
	if x.scheme == "ws" || x.scheme == "wss" {
		x.server = upgradeOver(x.t, x.conn, selected)
	}
	x.conn.Handshake(present)
	up(x.t, x.Session)
}

// begin publishes a message at QoS 1, whose commit then is under way.
func (x *slowSession) begin(topic string) {
	x.t.Helper()
	x.Publishes() <- stream.Publishing{Message: message(topic, "", atLeast)}
	synctest.Wait()
}

// ack sends a message to the session, which acknowledges it.
func (x *slowSession) ack(q frames.QoS, id uint16) {
	x.t.Helper()
	x.conn.Send(publish("in", "", q, id, false))
	takeFrom(x.t, x.in).Ack()
}

// U3: during a commit that takes longer than KeepAlive, PINGREQ and PUBACK are sent. A message
// waits for its commit, and so does PUBREC.
func TestPingreqAndPubackOvertakeASlowCommit(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("out")
		start := time.Now()
		x.ack(exactly, 1)
		for id := uint16(2); id < 6; id++ {
			x.ack(atLeast, id)
			x.conn.Expect(ack(puback, id))
		}
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("PUBACK took %v", d)
		}
		start = time.Now()
		for range 3 {
			x.conn.Expect(frames.Pingreq{})
			if d := time.Since(start); d > 4500*time.Millisecond {
				t.Errorf("PINGREQ %v after the last packet", d)
			}
			x.conn.Send(frames.Pingresp{})
			start = time.Now()
			x.ack(atLeast, 7)
			x.conn.Expect(ack(puback, 7))
		}
		x.conn.ExpectQuiet(time.Second)
		x.commit <- struct{}{}
		x.conn.Expect(publish("out", "", atLeast, 1, false))
		x.conn.ExpectQuiet(time.Second)
		x.commit <- struct{}{}
		x.conn.Expect(ack(pubrec, 1))
		if n := x.Stats().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// A PUBACK in the batch under commit is sent before a PUBACK in the next batch [MQTT-4.6.0-2].
func TestPubacksKeepTheirOrderAcrossASlowCommit(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("one")
		x.Publishes() <- stream.Publishing{Message: message("two", "", atLeast)}
		x.ack(atLeast, 1)
		x.conn.ExpectQuiet(50 * time.Millisecond)
		x.commit <- struct{}{} // of the first message; the next batch has the second one and PUBACK 1
		x.conn.Expect(publish("one", "", atLeast, 1, false))
		x.ack(atLeast, 2)
		x.ack(atLeast, 3)
		x.conn.Expect(ack(puback, 1), ack(puback, 2), ack(puback, 3))
		x.conn.ExpectQuiet(time.Second)
		x.commit <- struct{}{}
		x.conn.Expect(publish("two", "", atLeast, 2, false))
	})
}

// Packets of QoS 2 overtake a commit that has no change that they depend on, and wait for one that
// has. The order of each type stays.
func TestPacketsOfQoS2WaitOnlyForTheirOwnChanges(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("slow")
		x.conn.Send(ack(pubrel, 99), ack(pubrec, 98)) // of exchanges that the session does not know
		x.conn.Expect(pubcompUnknown(99), pubrelUnknown(98))
		x.commit <- struct{}{}
		x.conn.Expect(publish("slow", "", atLeast, 1, false))

		x.ack(exactly, 1)
		x.commit <- struct{}{}
		x.conn.Expect(ack(pubrec, 1))
		x.begin("slow")
		x.conn.Send(publish("in", "", exactly, 1, true))
		x.conn.Expect(ack(pubrec, 1)) // its change is in the Store
		x.ack(exactly, 2)
		x.conn.Send(publish("in", "", exactly, 1, true))
		x.conn.ExpectQuiet(time.Second) // PUBREC 1 does not overtake PUBREC 2 [MQTT-4.6.0-3]
		x.conn.Send(ack(pubrel, 1), ack(pubrel, 1))
		x.conn.ExpectQuiet(time.Second) // no PUBCOMP, since the Store still has the identifier
		x.commit <- struct{}{}
		x.conn.Expect(publish("slow", "", atLeast, 2, false))
		x.conn.ExpectQuiet(time.Second)
		x.commit <- struct{}{}
		x.conn.Expect(ack(pubrec, 2), ack(pubrec, 1), ack(pubcomp, 1), pubcompUnknown(1))
	})
}

// SUBSCRIBE overtakes a slow commit, so the broker is not accused of not answering it.
func TestSubscribeOvertakesASlowCommit(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("slow")
		call := callSubscribe(t.Context(), t, x.Session, filterOf("a", atLeast))
		x.conn.Grant(streamtest.Next[frames.Subscribe](x.conn))
		synctest.Wait()
		sub := call.granted()
		done := inBackground(func() error { return sub.Unsubscribe(context.Background()) })
		x.conn.Unsuback(streamtest.Next[frames.Unsubscribe](x.conn))
		if err := takeFrom(t, done); err != nil {
			t.Error(err)
		}
	})
}

// A connection that is lost during a commit is given up when the commit has ended. The message is
// sent on the next connection.
func TestConnectionLostDuringASlowCommit(t *testing.T) {
	slowCommits(t, func(t *testing.T, b *streamtest.Broker, x *slowSession) {
		x.begin("out")
		x.ack(atLeast, 1)
		x.conn.Expect(ack(puback, 1))
		x.conn.Stall()
		x.conn.Send(publish("in", "", atLeast, 2, false)) // its PUBACK is being written for ever
		takeFrom(t, x.in).Ack()
		elapse(time.Second)
		x.conn.Raw().Close()
		elapse(time.Second)
		x.commit <- struct{}{}
		if st := offline(t, x.Session); st.Err == nil {
			t.Error("no reason")
		}
		x.accept(b, true)
		x.conn.Grant(streamtest.Next[frames.Subscribe](x.conn))
		x.conn.Expect(publish("out", "", atLeast, 1, true))
		x.conn.Send(ack(puback, 1))
		if r := takeFrom(t, x.acks); r.Err != nil {
			t.Error(r.Err)
		}
	})
}

// A broker cannot acknowledge a message that waits for its commit, and that it has not got.
func TestAckOfAMessageBehindASlowCommitIsIgnored(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("out")
		x.conn.Send(ack(puback, 1))
		elapse(time.Second)
		select {
		case r := <-x.acks:
			t.Errorf("Receipt before the PUBLISH: %v", r.Err)
		default:
		}
		x.commit <- struct{}{}
		x.conn.Expect(publish("out", "", atLeast, 1, false))
		x.conn.Send(ack(puback, 1))
		if r := takeFrom(t, x.acks); r.Err != nil {
			t.Error(r.Err)
		}
	})
}

// A broker that is dead is noticed during a slow commit, whether or not the line takes the PINGREQ.
func TestADeadBrokerIsNoticedDuringASlowCommit(t *testing.T) {
	for _, stalls := range []bool{false, true} {
		slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
			x.begin("out")
			start := time.Now()
			if stalls {
				x.conn.Stall()
			} else {
				x.conn.Expect(frames.Pingreq{}, frames.Pingreq{})
			}
			x.conn.ExpectClosed()
			if d := time.Since(start); d < 9*time.Second || d > 10*time.Second {
				t.Errorf("closed after %v", d)
			}
			x.commit <- struct{}{}
			if st := offline(t, x.Session); st.Err == nil {
				t.Error("no reason")
			}
		})
	}
}

// On a socket too, PINGREQ overtakes a commit.
func TestPingreqOvertakesACommitOnASocket(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	release := make(chan struct{})
	store := &slowStore{flow.NewMemoryStore(), func() { <-release }}
	s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Store: store, KeepAlive: time.Second})
	done := inBackground(func() error { return s.Publish(t.Context(), message("a", "", atLeast)) })
	for range 2 {
		c.Expect(frames.Pingreq{})
		c.Send(frames.Pingresp{})
	}
	close(release)
	for {
		if p, ok := streamtest.Next[frames.Packet](c).(frames.Publish); ok {
			c.Send(ack(puback, p.ID))
			break
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Close during a commit waits for it, and for the last packets. Packets that were sent early are
// not sent again.
func TestCloseDuringASlowCommit(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("out")
		x.ack(atLeast, 1)
		x.conn.Expect(ack(puback, 1))
		x.conn.Send(publish("in", "", atLeast, 2, false))
		d := takeFrom(t, x.in)
		x.conn.Stall() // the second PUBACK is being written when Close is called
		d.Ack()
		synctest.Wait()
		down := callClose(t, x.Session)
		elapse(500 * time.Millisecond)
		x.conn.Resume()
		x.conn.Expect(ack(puback, 2))
		x.conn.ExpectQuiet(time.Minute)
		x.commit <- struct{}{}
		x.conn.Expect(publish("out", "", atLeast, 1, false))
		streamtest.Next[frames.Disconnect](x.conn)
		x.conn.Raw().Close()
		if err := down.after(time.Minute + 500*time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}

// While Close waits for a commit, messages and pings come in. A WebSocket answers with pongs, which
// do not begin the last second of the connection: the last packets follow the commit.
func TestCloseDuringASlowCommitWhileMessagesComeIn(t *testing.T) {
	for _, pings := range []bool{false, true} { // a message stops reading, so that the session sends pongs by itself
		slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
			x.begin("out")
			down := callClose(t, x.Session)
			elapse(time.Second)
			switch {
			case !pings:
				x.conn.Send(publish("in", "", atLeast, 1, false))
			case x.server != nil:
				x.server.frame(wsPing, true, nil)
			}
			x.conn.ExpectQuiet(time.Minute)
			x.commit <- struct{}{}
			x.conn.Expect(publish("out", "", atLeast, 1, false))
			streamtest.Next[frames.Disconnect](x.conn)
			if pongs := x.server != nil && slices.Contains(x.server.opcodes, wsPong); pongs != (x.server != nil) {
				t.Errorf("pongs were sent: %t", pongs)
			}
			x.conn.Raw().Close()
			if err := down.after(time.Minute + time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// Close ends although the broker does not read a packet that overtakes the commit.
func TestCloseDuringAnEarlyWriteThatIsStuck(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("out")
		x.conn.Stall()
		x.ack(atLeast, 1)
		elapse(time.Second)
		down := callClose(t, x.Session)
		elapse(2 * time.Second)
		x.commit <- struct{}{}
		if err := down.after(2 * time.Second); err != nil {
			t.Error(err)
		}
	})
}

// U3: a commit that outlasts KeepAlive and PingTimeout is logged and shown in Stats as a slow
// commit. The broker, which answers each PINGREQ, is not accused.
func TestASlowCommitIsNotTakenForADeadBroker(t *testing.T) {
	slowCommits(t, func(t *testing.T, _ *streamtest.Broker, x *slowSession) {
		x.begin("out")
		start := time.Now()
		for time.Since(start) < 58*time.Second {
			x.conn.Expect(frames.Pingreq{})
			x.conn.Send(frames.Pingresp{})
		}
		if st := x.Stats(); st.StoreWaiting != time.Since(start) || !st.Online || st.Connections != 1 {
			t.Errorf("StoreWaiting is %v, Online %t, %d connections", st.StoreWaiting, st.Online, st.Connections)
		}
		if n := x.log.count("commit of the Store takes long"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, x.log.text.String())
		}
		x.commit <- struct{}{}
		x.conn.Expect(publish("out", "", atLeast, 1, false))
		elapse(2 * time.Second)
		if n := x.log.count("does not acknowledge a publication"); n != 0 {
			t.Errorf("the broker is accused:\n%s", x.log.text.String())
		}
		x.conn.Send(ack(puback, 1))
	})
}
