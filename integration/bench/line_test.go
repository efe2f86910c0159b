package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

// A script is a connection that returns its input in pieces and records the output.
type script struct {
	net.Conn
	pieces [][]byte
	out    bytes.Buffer
	writes int
}

func (c *script) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *script) Write(p []byte) (int, error) {
	c.writes++
	return c.out.Write(p)
}

// serveScript runs a null broker on a connection that delivers the pieces.
func serveScript(t *testing.T, s scenario, pieces ...[]byte) (*script, *broker) {
	t.Helper()
	c := &script{pieces: slices.Clone(pieces)}
	b := &broker{s: &s, all: make(chan struct{})}
	if err := newLine(b, c).serve(); err != nil {
		t.Fatal(err)
	}
	return c, b
}

// packets returns the packets of a client that connects, subscribes and publishes at each QoS, and
// the expected answers.
func packets(payload int) (in, out []byte) {
	in = append(in, typeConnect, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'x')
	in = append(in, typeSubscribe, 11, 0, 9, 0, 1, 'a', 1, 0, 2, 'b', '#', 2)
	in = append(in, typePingreq, 0)
	out = append(out, typeConnack, 2, 0, 0, typeSuback, 4, 0, 9, 1, 2, typePingresp, 0)
	for q := range byte(3) {
		p := newPublication(q, make([]byte, payload), false)
		in = p.append(in, 0x0102)
	}
	in = appendAck(in, typePubrel, 0x0102)
	out = appendAck(out, typePuback, 0x0102)
	out = appendAck(out, typePubrec, 0x0102)
	out = appendAck(out, typePubcomp, 0x0102)
	return append(in, typeDisconnect, 0), out
}

func TestTheNullBrokerAnswersHoweverItsReadsAreCut(t *testing.T) {
	for _, payload := range []int{0, 64, 200, brokerRead + 10} {
		in, want := packets(payload)
		s := scenario{Kind: publish, Messages: 3}
		whole, b := serveScript(t, s, in)
		if !bytes.Equal(whole.out.Bytes(), want) {
			t.Fatalf("payload %d: % x, want % x", payload, whole.out.Bytes(), want)
		}
		if b.completed.Load() != 3 {
			t.Errorf("payload %d: %d publications counted, want 3", payload, b.completed.Load())
		}
		select {
		case <-b.done():
		default:
			t.Errorf("payload %d: the scenario is not over", payload)
		}
		if payload < brokerRead && whole.writes != 1 {
			t.Errorf("payload %d: %d writes for one read, want 1", payload, whole.writes)
		}
		for range 20 {
			var pieces [][]byte
			for rest := in; len(rest) > 0; {
				n := 1 + rand.IntN(min(len(rest), 1+payload))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			if cut, _ := serveScript(t, s, pieces...); !bytes.Equal(cut.out.Bytes(), want) {
				t.Fatalf("payload %d in %d pieces: % x, want % x", payload, len(pieces), cut.out.Bytes(), want)
			}
		}
	}
}

func TestTheNullBrokerSpeaksVersion5(t *testing.T) {
	in := []byte{typeConnect, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 1, 'x'}
	in = append(in, typeSubscribe, 9, 0, 9, 2, 11, 1, 0, 1, 'a', 1) // with the property subscription identifier
	want := []byte{typeConnack, 3, 0, 0, 0, typeSuback, 4, 0, 9, 0, 1}
	if c, _ := serveScript(t, scenario{}, in); !bytes.Equal(c.out.Bytes(), want) {
		t.Errorf("% x, want % x", c.out.Bytes(), want)
	}
}

func TestAnEchoComesBackWhenTheExchangeAllowsIt(t *testing.T) {
	for q := range byte(3) {
		p := newPublication(q, []byte("ping"), false)
		message := p.append(nil, 7)
		in, want := bytes.Clone(message), []byte(nil)
		switch q {
		case 0:
			want = message
		case 1:
			want = append(appendAck(nil, typePuback, 7), message...)
		case 2: // the receiver of PUBREL owns the message
			in = appendAck(in, typePubrel, 7)
			want = append(appendAck(appendAck(nil, typePubrec, 7), typePubcomp, 7), message...)
		}
		if c, _ := serveScript(t, scenario{Kind: echo, Messages: 9}, in); !bytes.Equal(c.out.Bytes(), want) {
			t.Errorf("QoS %d: % x, want % x", q, c.out.Bytes(), want)
		}
	}
}

func TestASubscriberGetsANewMessageForEachOneItIsDoneWith(t *testing.T) {
	s := scenario{Kind: receive, QoS: 2, Payload: 3, Window: 2}
	in := []byte{typeConnect, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'x'}
	in = appendAck(appendAck(in, typePubrec, 2), typePubcomp, 2)
	p := newPublication(2, make([]byte, 3), false)
	want := p.append(appendAck([]byte{typeConnack, 2, 0, 0}, typePubrel, 2), 2)
	if c, b := serveScript(t, s, in); !bytes.Equal(c.out.Bytes(), want) || b.messages() != 1 {
		t.Errorf("% x, %d sent, want % x", c.out.Bytes(), b.messages(), want)
	}
}

func TestHeldAcksComeForTheOldestAndAllAtTheEnd(t *testing.T) {
	s := scenario{Kind: publish, QoS: 1, Hold: 2, Messages: 5, Clients: 1}
	p := newPublication(1, nil, false)
	var pieces [][]byte
	for id := range uint16(5) {
		pieces = append(pieces, p.append(nil, id+1))
	}
	for n, acks := range []int{0, 0, 1, 2, 5} {
		c, b := serveScript(t, s, pieces[:n+1]...)
		if got := c.out.Len() / 4; got != acks || b.completed.Load() != int64(acks) {
			t.Errorf("after %d publications there are %d acks, want %d", n+1, got, acks)
		}
		if acks > 0 && !bytes.HasPrefix(c.out.Bytes(), []byte{typePuback, 2, 0, 1}) {
			t.Errorf("the first ack is % x", c.out.Bytes()[:4])
		}
	}
}

func TestAnInvalidClientPacketEndsTheRun(t *testing.T) {
	for name, in := range map[string][]byte{
		"a length of five bytes":   {typePublish, 0xff, 0xff, 0xff, 0xff, 1},
		"a SUBACK":                 {typeSuback, 0},
		"an ack without its end":   {typePuback, 1, 0},
		"a topic beyond its end":   {typePublish | 2, 3, 0, 9, 'a'},
		"a filter without its QoS": {typeSubscribe, 5, 0, 1, 0, 1, 'a'},
	} {
		b := &broker{s: &scenario{}, all: make(chan struct{})}
		if newLine(b, &script{pieces: [][]byte{in}}).serve() == nil {
			t.Errorf("%s is no error", name)
		}
	}
}
