package streamtest

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Send sends packets in one write, so that they reach the client in one segment. Send does not
// wait, because unread bytes stay in memory; but see [SendBuffer]. Bytes for a client that is gone
// are lost, as on a network. Send encodes invalid content too, as given.
func (c *Conn) Send(packets ...frames.Packet) {
	c.tb.Helper()
	c.SendBytes(c.encode(packets))
}

// SendBytes sends bytes as given. They may be any bytes, not only packets.
func (c *Conn) SendBytes(b []byte) {
	c.tb.Helper()
	if c.end.out.limit > 0 {
		_ = c.end.SetWriteDeadline(time.Now().Add(c.timeout))
		defer c.end.SetWriteDeadline(time.Time{})
	}
	if _, err := c.rw.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		c.tb.Fatalf("%s: wanted to send %d bytes, but the client does not read; %d bytes are unread%s",
			c.where(), len(b), c.Unread(), &c.trace)
	}
}

// SendSplit sends packets in segments of n bytes. No Read of the client returns more than one
// segment, even if several have arrived.
func (c *Conn) SendSplit(n int, packets ...frames.Packet) {
	c.tb.Helper()
	c.SendBytesSplit(n, c.encode(packets))
}

// SendBytesSplit sends bytes as SendBytes does, but in segments of n bytes.
func (c *Conn) SendBytesSplit(n int, b []byte) {
	c.tb.Helper()
	for len(b) > 0 {
		k := min(max(n, 1), len(b))
		c.SendBytes(b[:k])
		c.end.Cut()
		b = b[k:]
	}
}

func (c *Conn) encode(packets []frames.Packet) []byte {
	c.tb.Helper()
	var b []byte
	for _, p := range packets {
		var err error
		if b, err = p.Append(b, c.version); err != nil {
			c.tb.Fatalf("streamtest: the script sends a packet that cannot be encoded: %s: %v", describe(p), err)
		}
		c.trace.add("sent", p)
		c.announce(p)
	}
	return b
}

// announce allows the client the topic aliases of a CONNACK.
func (c *Conn) announce(p frames.Packet) {
	if connack, ok := p.(frames.Connack); ok && c.version >= frames.V5 {
		c.aliases, c.announced = nil, connack.Properties
		if connack.Properties != nil {
			c.aliases = frames.NewAliases(connack.Properties.TopicAliasMaximum)
		}
	}
}

// Handshake receives CONNECT and accepts it, without properties. To announce some on MQTT 5, use
// ExpectConnect, and Send with a [frames.Connack].
func (c *Conn) Handshake(sessionPresent bool) frames.Connect {
	c.tb.Helper()
	p := c.ExpectConnect()
	c.Connack(sessionPresent, frames.Success)
	return p
}

// Connack answers a CONNECT.
func (c *Conn) Connack(sessionPresent bool, code frames.ReasonCode) {
	c.tb.Helper()
	c.Send(frames.Connack{SessionPresent: sessionPresent, Code: code})
}

// Grant answers a SUBSCRIBE with the requested QoS of each filter.
func (c *Conn) Grant(p frames.Subscribe) {
	c.tb.Helper()
	codes := make([]frames.ReasonCode, len(p.Filters))
	for i, f := range p.Filters {
		codes[i] = frames.ReasonCode(f.QoS)
	}
	c.Send(frames.Suback{ID: p.ID, Codes: codes})
}

// Unsuback answers an UNSUBSCRIBE. On MQTT 5 each filter gets the code Success.
func (c *Conn) Unsuback(p frames.Unsubscribe) {
	c.tb.Helper()
	c.Send(frames.Unsuback{ID: p.ID, Codes: make([]frames.ReasonCode, len(p.Topics))})
}

// Complete completes the exchange for a client's PUBLISH as its receiver. At QoS 1 it sends PUBACK.
// At QoS 2 it sends PUBREC, expects PUBREL and sends PUBCOMP.
func (c *Conn) Complete(p frames.Publish) {
	c.tb.Helper()
	switch p.QoS {
	case frames.AtLeastOnce:
		c.Send(frames.Ack{Kind: frames.TypePuback, ID: p.ID})
	case frames.ExactlyOnce:
		c.Send(frames.Ack{Kind: frames.TypePubrec, ID: p.ID})
		c.Expect(frames.Ack{Kind: frames.TypePubrel, ID: p.ID})
		c.Send(frames.Ack{Kind: frames.TypePubcomp, ID: p.ID})
	}
}

// Drop closes the connection: the client reads the bytes sent so far and then io.EOF.
func (c *Conn) Drop() { _ = c.rw.Close() }

// Abort resets the connection: bytes that the client has not read are lost.
func (c *Conn) Abort() { c.end.Abort() }

// Stall blocks the client's writes at once, as if its buffer were full. The script can still read
// the bytes that the client wrote before Stall.
func (c *Conn) Stall() { c.end.Stall() }

// Resume ends a Stall.
func (c *Conn) Resume() { c.end.Resume() }

// SetRate limits the bytes per second that travel from the client and to the client, from now on.
// Zero means no limit in that direction. [Rate] does so from the beginning of a connection.
func (c *Conn) SetRate(fromClient, toClient int) {
	c.client.SetRate(fromClient)
	c.end.SetRate(toClient)
}

// Writes returns the number of Write calls that the client made on this connection.
func (c *Conn) Writes() int { return c.client.Writes() }

// Reads returns the number of Read calls that the client made on this connection.
func (c *Conn) Reads() int { return c.client.Reads() }

// Bytes returns the number of bytes that the client wrote to this connection.
func (c *Conn) Bytes() int64 { return c.client.Bytes() }

// Unread returns the number of bytes sent to the client that it has not read.
func (c *Conn) Unread() int { return c.end.Unread() }

// Dialed returns the network and address that the client dialed.
func (c *Conn) Dialed() (network, addr string) {
	a := c.client.RemoteAddr()
	return a.Network(), a.String()
}

// Version returns the protocol version of the last CONNECT, or 3.1.1 before the first.
func (c *Conn) Version() frames.Version { return c.version }

// Raw returns the underlying connection, for steps that Conn has no method for. Conn may already
// have read bytes beyond its last packet; Raw does not return those bytes again.
func (c *Conn) Raw() net.Conn { return c.rw }

// Wrap makes the script go on over the connection over, a layer above Raw such as the server's side
// of TLS or a WebSocket.
func (c *Conn) Wrap(over net.Conn) {
	c.rw = over
	c.in = frames.NewReader(over, frames.MaxPacket)
	c.in.SetVersion(c.version)
}
