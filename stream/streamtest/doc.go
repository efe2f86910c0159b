// Package streamtest is a broker for tests. It speaks MQTT 3.1, 3.1.1 and 5 over in-memory
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
// one. Each step runs on the test's goroutine, the only goroutine that may end a test. A failed
// step calls Fatalf at its own line of the script, with the wanted packet, the received packet and
// the packets before them.
//
// A step that expects a packet waits for it, by default an hour of fake time in a bubble and 30 s
// outside; see [Timeout]. A step that sends does not wait, because bytes that the client does not
// read stay in memory; with [SendBuffer] it waits like a broker whose socket is full. Bytes that
// the client sends stay in a buffer, by default of 64 KiB, until a step reads them; see [Buffer].
// When the buffer is full, the client's writes wait as on a socket. So a script that does nothing
// is a frozen broker. [Conn.Stall] blocks the client's next write at once. [Rate] and
// [Conn.SetRate] make a slow line. The script answers every packet itself. With [AutoPing] it need
// not answer PINGREQ. Packets are compared byte for byte. The test owns the packets that a step
// returns.
//
// # Consumers
//
// [Conn.Deliver] tests a consumer: it sends messages and waits until the consumer has acknowledged
// them. [Conn.Grant] answers the SUBSCRIBE before.
//
//	c := b.Handshake(false)
//	c.Grant(streamtest.Next[frames.Subscribe](c))
//	c.Deliver(frames.Message{Topic: "level", Payload: []byte("4.2"), QoS: frames.AtLeastOnce})
//
// # Versions
//
// The CONNECT of a client sets the version of its connection, and with it the encoding of all later
// packets. So most scripts serve every version. On MQTT 5 a script sends reason codes and
// properties in the packets of package frames, and it may announce limits:
//
//	c.ExpectConnect()
//	c.Send(frames.Connack{Properties: &frames.ConnackProperties{ReceiveMaximum: 20}})
//	c.Complete(streamtest.Next[frames.Publish](c))
//	c.ExpectDisconnectCode(frames.DisconnectWithWill)
//
// # Bubbles
//
// Steps wait on channels, conditions and timers. So a synctest bubble can tell when all goroutines
// wait, and then advances its clock. Times in a bubble are exact: when Next returns, time.Now is
// the instant at which the client sent the packet, or at which it has passed a slow line. A Broker
// used in a bubble must be made inside that bubble, with the T of the bubble. The package works
// outside a bubble too.
//
// # The connection
//
// [Pipe] makes a pair of connections that behave like TCP. They have deadlines, and they tell a
// close from a reset. They count calls of Read and Write, so that a test can assert that a batch
// took one Write. [Conn.Wrap] adds a layer over the broker's end, such as the server's side of TLS.
//
// With the option [TCP] a client gets a real socket, so that a test also covers code that uses the
// socket directly. Such a test cannot run in a bubble.
//
// # Brokers that just work
//
// [Responder] needs no script. It acknowledges each packet at once and can route messages to
// subscriptions, on MQTT 3.1, 3.1.1 and 5. Use it for load, for benchmarks, and for tests that only
// need a healthy broker:
//
//	b := streamtest.New(t)
//	b.Respond(&streamtest.Responder{Loopback: true})
//
// A test can begin with a script, and then hand its connection to a Responder with [Conn.Respond].
package streamtest
