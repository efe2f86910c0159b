// Package streamtest is a broker for tests. It speaks MQTT 3.1 and 3.1.1 over connections in memory, and does what the
// test says, when the test says it:
//
//	func TestPublishIsSentAgainAfterTheConnectionBroke(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			b := streamtest.New(t)
//			go publish(b.Dial) // a client whose DialContext is b.Dial
//
//			c := b.Handshake(false)
//			p := streamtest.Next[frames.Publish](c)
//			c.Drop()
//
//			c = b.Handshake(true)
//			p.DUP = true
//			c.Expect(p)
//			c.Complete(p)
//			c.ExpectDisconnect()
//		})
//	}
//
// # Scripts
//
// A script is a function from top to bottom: accept a connection, expect this packet, send that one. There is no
// goroutine behind it. Each step runs on the goroutine of the test, which is also the only one that may end a test, so
// a step that goes wrong is a Fatalf at its own line, with what was wanted, what came, and the packets before it.
//
// A step that wants something waits for it, an hour of fake time in a bubble and 30 s outside unless [Timeout] says
// otherwise. A step that sends never waits: what the client does not read stays in memory. What the client sends stays
// in its buffer, 64 KiB unless [Buffer] says otherwise, until a step reads it; then the client's writes wait, as they
// would on a socket. So the broker freezes by the script doing nothing, and [Conn.Stall] blocks the client's next write
// at once.
//
// Nothing is answered that the script does not answer, PINGREQ included, unless [AutoPing] is on. Packets are compared
// byte for byte, and what a step returns belongs to the test.
//
// # Bubbles
//
// All waiting is on channels, conditions and timers, so that a synctest bubble can tell that everybody waits and move
// its clock. Then times are exact: after Next has returned, time.Now is the instant at which the packet was sent. A
// Broker used in a bubble must be made in it, with the T of the bubble. None of this needs a bubble.
//
// # The connection
//
// [Pipe] makes a pair of connections that behave like TCP, deadlines and the differences between closing and
// resetting included. It counts calls, so that a test can say that a batch was one Write. [Conn.Wrap] puts a layer
// over the broker's end, such as the server's side of TLS.
//
// # Brokers that just work
//
// [Responder] is the other kind: it acknowledges everything as it comes and can route messages to subscriptions. It
// is for load, for benchmarks, and for tests that need a broker only because there has to be one:
//
//	b := streamtest.New(t)
//	b.Respond(&streamtest.Responder{Loopback: true})
//
// A script can begin by hand and go on with [Conn.Respond].
package streamtest
