// Package streamtest is a broker for tests. It speaks MQTT 3.1 and 3.1.1 over in-memory
// connections, and follows the script of a test step by step:
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
// A script is a function from top to bottom: accept a connection, expect this packet, send that
// one. The package runs no goroutine for it. Each step runs on the test's goroutine, the only one
// that may end a test. So a failed step is a Fatalf at its own line, which shows the wanted packet,
// the received one, and the packets before it.
//
// A step that expects a packet waits for it: an hour of fake time in a bubble and 30 s outside,
// unless [Timeout] says otherwise. A step that sends never waits: bytes that the client does not
// read stay in memory. Bytes that the client sends stay in its buffer, 64 KiB unless [Buffer] says
// otherwise, until a step reads them; when it is full, the client's writes wait as on a socket. So
// a script that does nothing is a frozen broker, and [Conn.Stall] blocks the client's next write at
// once.
//
// The script answers every packet itself, PINGREQ included unless [AutoPing] is on. Packets are
// compared byte for byte. The test owns the packets that a step returns.
//
// # Bubbles
//
// All waits are on channels, conditions and timers, so that a synctest bubble can tell when
// everyone waits and advance its clock. Then times are exact: when Next returns, time.Now is the
// instant at which the packet was sent. A Broker used in a bubble must be made in it, with the T of
// the bubble. None of this needs a bubble.
//
// # The connection
//
// [Pipe] makes a pair of connections that behave like TCP, deadlines and the difference between
// close and reset included. It counts calls, so that a test can assert that a batch was one Write.
// [Conn.Wrap] adds a layer over the broker's end, such as the server's side of TLS.
//
// # Brokers that just work
//
// [Responder] has no script: it acknowledges each packet at once and can route messages to
// subscriptions. Use it for load, for benchmarks, and for tests where the broker plays no part of
// its own:
//
//	b := streamtest.New(t)
//	b.Respond(&streamtest.Responder{Loopback: true})
//
// A test can begin with a script and continue with [Conn.Respond].
package streamtest
