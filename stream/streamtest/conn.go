package streamtest

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Conn is the broker's end of one connection. Only the goroutine that runs the test may call its
// methods, since a failed step calls tb.Fatalf, at its own line of the script.
type Conn struct {
	tb       testing.TB
	broker   *Broker
	ordinal  int
	timeout  time.Duration
	autoPing bool

	client, end *PipeConn
	socket      *socket  // with TCP: between the client and its end of the pipe
	rw          net.Conn // end, or the connection given to Wrap
	in          *frames.Reader
	version     frames.Version
	connected   bool                      // CONNECT has arrived
	wanted      *frames.ConnectProperties // of CONNECT
	announced   *frames.ConnackProperties // of CONNACK
	aliases     *frames.Aliases           // that the client may set; nil before a CONNACK of MQTT 5
	trace       trace
}

func newConn(b *Broker, ordinal int, client, end *PipeConn) *Conn {
	return &Conn{
		tb:       b.tb,
		broker:   b,
		ordinal:  ordinal,
		timeout:  b.o.timeout,
		autoPing: b.o.autoPing,
		client:   client,
		end:      end,
		rw:       end,
		in:       frames.NewReader(end, frames.MaxPacket),
		version:  frames.V311,
		trace:    trace{start: time.Now()},
	}
}

// Next returns the next packet, which must be a T. The caller owns the packet and its memory. A
// PUBLISH that came with a topic alias in place of its topic has the topic and the alias.
//
//	p := streamtest.Next[frames.Publish](c)
func Next[T frames.Packet](c *Conn) T {
	c.tb.Helper()
	_, got, err := c.receive(time.Now().Add(c.timeout))
	p, ok := got.(T)
	if err != nil || !ok {
		var want T
		c.failed(typeName(want), got, err)
	}
	return p
}

// ExpectType returns the next packet, which must be of type t.
func (c *Conn) ExpectType(t frames.Type) frames.Packet {
	c.tb.Helper()
	_, got, err := c.receive(time.Now().Add(c.timeout))
	if err != nil || got.Type() != t {
		c.failed(t.String(), got, err)
	}
	return got
}

// Expect receives packets. They must equal the given packets byte for byte, in the given order. So
// a PUBLISH with a topic alias in place of its topic is expected with an empty topic.
func (c *Conn) Expect(packets ...frames.Packet) {
	c.tb.Helper()
	for _, want := range packets {
		f, got, err := c.receive(time.Now().Add(c.timeout))
		if err != nil || got.Type() != want.Type() {
			c.failed(describe(want), got, err)
			return
		}
		v := c.version
		if connect, ok := want.(frames.Connect); ok {
			connect.Version = cmp.Or(connect.Version, v)
			want, v = connect, connect.Version
		}
		wire, err := want.Append(nil, v)
		if err != nil {
			c.tb.Fatalf("streamtest: the script expects a packet that cannot be encoded: %s: %v", describe(want), err)
			return
		}
		if wire[0] != f.Header || len(wire) != f.Size() || !bytes.HasSuffix(wire, f.Body) {
			c.tb.Fatalf("%s: unexpected %v:%s%s", c.where(), got.Type(), diff(want, asSent(f, got)), &c.trace)
			return
		}
	}
}

// ExpectConnect returns the next packet, which must be a CONNECT. The CONNECT sets the protocol
// version of the connection.
func (c *Conn) ExpectConnect() frames.Connect {
	c.tb.Helper()
	return Next[frames.Connect](c)
}

// ExpectDisconnect expects DISCONNECT with any reason code, and then the end of the connection
// [MQTT-3.14.4-1].
func (c *Conn) ExpectDisconnect() {
	c.tb.Helper()
	Next[frames.Disconnect](c)
	c.ExpectClosed()
}

// ExpectDisconnectCode expects DISCONNECT with a reason code, and then the end of the connection.
// It accepts any reason string and other properties. Before MQTT 5 the code is always Success.
func (c *Conn) ExpectDisconnectCode(code frames.ReasonCode) {
	c.tb.Helper()
	_, got, err := c.receive(time.Now().Add(c.timeout))
	if d, ok := got.(frames.Disconnect); err != nil || !ok || d.Code != code {
		c.failed(describe(frames.Disconnect{Code: code}), got, err)
		return
	}
	c.ExpectClosed()
}

// ExpectClosed expects the client to close the connection without sending another packet.
func (c *Conn) ExpectClosed() {
	c.tb.Helper()
	if _, got, err := c.receive(time.Now().Add(c.timeout)); !errors.Is(err, io.EOF) {
		c.failed("the end of the connection", got, err)
	}
}

// ExpectQuiet waits for d. It fails if the client sends a byte or closes the connection during that
// time.
func (c *Conn) ExpectQuiet(d time.Duration) {
	c.tb.Helper()
	c.quiet("nothing for "+d.String(), time.Now().Add(d))
}

// ExpectNone fails if bytes have already arrived, or if the connection is closed. It does not wait,
// so call it only when the client is known to be idle, for example after synctest.Wait in a bubble.
func (c *Conn) ExpectNone() {
	c.tb.Helper()
	c.quiet("nothing", time.Time{})
}

func (c *Conn) quiet(want string, until time.Time) {
	c.tb.Helper()
	_, got, err := c.receive(until)
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.in.Buffered() > 0 {
		c.failed(want, got, err)
	}
}

// Rest returns the packets that arrive until the client closes the connection.
func (c *Conn) Rest() []frames.Packet {
	c.tb.Helper()
	var rest []frames.Packet
	for {
		_, got, err := c.receive(time.Now().Add(c.timeout))
		if errors.Is(err, io.EOF) {
			return rest
		}
		if err != nil {
			c.failed("the end of the connection", nil, err)
			return rest
		}
		rest = append(rest, got)
	}
}

// receive returns the next packet with its frame, or the error that occurred instead. If until is
// the zero time, receive uses only bytes that have already arrived.
func (c *Conn) receive(until time.Time) (frames.Frame, frames.Packet, error) {
	for {
		f, ok, err := c.in.Next()
		if err != nil {
			return f, nil, err
		}
		if !ok {
			if err := c.fill(until); err != nil {
				return f, nil, err
			}
			continue
		}
		c.in.Keep() // the packet belongs to the script
		p, err := c.parse(f)
		if err != nil {
			return f, nil, err
		}
		c.trace.add("got", asSent(f, p))
		if c.autoPing && p.Type() == frames.TypePingreq {
			c.Send(frames.Pingresp{})
			continue
		}
		return f, p, nil
	}
}

// parse parses a packet. A CONNECT sets the version.
func (c *Conn) parse(f frames.Frame) (frames.Packet, error) {
	if f.Type() == frames.TypePublish {
		p, err := frames.ParsePublish(f, c.version, nil, c.aliases)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	p, err := frames.Parse(f, c.version)
	if connect, ok := p.(frames.Connect); ok {
		c.version, c.connected, c.wanted = connect.Version, true, connect.Properties
		c.in.SetVersion(c.version)
	}
	return p, err
}

// asSent returns p without a topic that a topic alias stood for.
func asSent(f frames.Frame, p frames.Packet) frames.Packet {
	publish, ok := p.(frames.Publish)
	if ok && publish.Alias != 0 && f.Body[0] == 0 && f.Body[1] == 0 {
		publish.Topic = ""
		return publish
	}
	return p
}

func (c *Conn) fill(until time.Time) error {
	if until.IsZero() {
		if c.end.in.quiet() {
			return os.ErrDeadlineExceeded
		}
		until = time.Now().Add(c.timeout) // under Wrap, a Read may need more bytes than have arrived
	}
	if err := c.rw.SetReadDeadline(until); err != nil {
		return err
	}
	return c.in.Fill()
}
