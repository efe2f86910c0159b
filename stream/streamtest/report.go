package streamtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// failed ends the test, because a step expected want and got another packet or an error.
func (c *Conn) failed(want string, got frames.Packet, err error) {
	c.tb.Helper()
	var came string
	var bad *frames.ProtocolError
	switch {
	case got != nil:
		came = describe(got)
	case errors.Is(err, os.ErrDeadlineExceeded):
		came = "nothing"
		if n := c.in.Buffered(); n > 0 {
			came = fmt.Sprintf("%d bytes of a packet", n)
		}
	case errors.Is(err, io.EOF):
		came = "the end: the client closed the connection"
	case errors.Is(err, io.ErrUnexpectedEOF):
		came = "the end inside a packet: the client closed the connection"
	case errors.As(err, &bad):
		came = "an invalid packet: " + err.Error()
	default:
		came = err.Error()
	}
	c.tb.Fatalf("%s: wanted %s, got %s%s", c.where(), want, came, &c.trace)
}

// where formats the number and the age of the connection.
func (c *Conn) where() string {
	return fmt.Sprintf("streamtest: connection %d at +%v", c.ordinal, time.Since(c.trace.start))
}

// traceLength is the number of packets that a failure shows.
const traceLength = 8

// trace has the last packets of a connection. A failed step shows them.
type trace struct {
	start time.Time
	n     int
	last  [traceLength]traced
}

type traced struct {
	at   time.Duration
	verb string
	p    frames.Packet
}

func (t *trace) add(verb string, p frames.Packet) {
	t.last[t.n%traceLength] = traced{time.Since(t.start), verb, p}
	t.n++
}

func (t *trace) String() string {
	var b strings.Builder
	for i := max(0, t.n-traceLength); i < t.n; i++ {
		if b.Len() == 0 {
			b.WriteString("\nthe last packets of this connection:")
		}
		e := t.last[i%traceLength]
		fmt.Fprintf(&b, "\n\t+%v %s %s", e.at, e.verb, describe(e.p))
	}
	return b.String()
}

// typeName returns the name of the packet type that Next wants. The types Ack and Packet have names
// of their own, because each stands for several packet types.
func typeName(p frames.Packet) string {
	switch p := p.(type) {
	case nil:
		return "a packet"
	case frames.Ack:
		return "an acknowledgment"
	default:
		return p.Type().String()
	}
}
