package stream_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// N3: half an ack does not acknowledge a message. The publish fails with the reason for the lost
// connection, and the session reconnects.
func TestHalfAnAckAcknowledgesNothing(t *testing.T) {
	half := func(t *testing.T, c *streamtest.Conn, p frames.Packet) {
		t.Helper()
		c.SendBytes(encoded(t, frames.V311, p)[:3])
	}
	steps := map[string]struct {
		q    frames.QoS
		play func(t *testing.T, c *streamtest.Conn, id uint16)
	}{
		"inside PUBACK": {1, func(t *testing.T, c *streamtest.Conn, id uint16) { half(t, c, ack(puback, id)) }},
		"before PUBREC": {2, func(*testing.T, *streamtest.Conn, uint16) {}},
		"inside PUBREC": {2, func(t *testing.T, c *streamtest.Conn, id uint16) { half(t, c, ack(pubrec, id)) }},
		"before PUBCOMP": {2, func(_ *testing.T, c *streamtest.Conn, id uint16) {
			c.Send(ack(pubrec, id))
			c.Expect(ack(pubrel, id))
		}},
		"inside PUBCOMP": {2, func(t *testing.T, c *streamtest.Conn, id uint16) {
			c.Send(ack(pubrec, id))
			c.Expect(ack(pubrel, id))
			half(t, c, ack(pubcomp, id))
		}},
		"inside PUBREL": {1, func(t *testing.T, c *streamtest.Conn, _ uint16) { half(t, c, ack(pubrel, 9)) }},
		"inside PINGRESP": {1, func(t *testing.T, c *streamtest.Conn, _ uint16) {
			c.Expect(frames.Pingreq{})
			c.SendBytes(encoded(t, frames.V311, frames.Pingresp{})[:1])
		}},
	}
	for name, step := range steps {
		for how, end := range map[string]func(*streamtest.Conn){"end ": (*streamtest.Conn).Drop, "reset ": (*streamtest.Conn).Abort} {
			t.Run(how+name, func(t *testing.T) {
				inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s, c := connected(t, b, faultOptions(v))
					published := goPublish(s, message("t", "p", step.q))
					step.play(t, c, streamtest.Next[frames.Publish](c).ID)
					synctest.Wait()
					end(c)
					ended := time.Now()
					err := outcome(t, published)
					wantElapsed(t, ended, 0)
					wantError(t, err, stream.ErrUnconfirmed)
					for _, err := range []error{err, offline(t, s).Err} {
						var op *net.OpError
						if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !(errors.As(err, &op) && errors.Is(op, syscall.ECONNRESET)) {
							t.Errorf("error is %v, want the end or the reset of the connection", err)
						}
					}
					if s.Err() != nil {
						t.Fatalf("the session has ended: %v", s.Err())
					}
					returns(t, b, s, nil, ended)
				})
			})
		}
	}
}
