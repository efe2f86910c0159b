package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
)

const nullRole = "distant broker"

// A distantBroker is a broker without state that only acknowledges. It runs in a separate process,
// so that the test can kill it and does not measure its memory.
type distantBroker struct {
	t       *testing.T
	addr    string
	process *process
}

func startDistantBroker(t *testing.T) *distantBroker {
	t.Helper()
	b := &distantBroker{t: t, addr: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	b.start()
	return b
}

// start starts the broker, or restarts it on the same port.
func (b *distantBroker) start() {
	b.t.Helper()
	p, err := launch(b.t, child{Role: nullRole, URL: b.addr}, 1, func(line string) { b.t.Log("broker:", line) })
	if err != nil {
		b.t.Fatal(err)
	}
	select {
	case <-p.reached:
	case <-p.ended:
		b.t.Fatal("the broker has ended: ", p.err)
	}
	b.process = p
}

// serve is the main function of a distant broker. It exits when its parent has exited.
func (c *child) serve() error {
	l, err := net.Listen("tcp", c.URL)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // the parent has exited
	}()
	say("listens")
	a := answers{packetBytes(frames.Connack{}), packetBytes(frames.Pingresp{})}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			a.converse(conn)
		}()
	}
}

// answers has encoded packets that are the same for every client.
type answers struct{ connack, pingresp []byte }

func packetBytes(p frames.Packet) []byte {
	b, err := p.Append(nil, mqtt.V311)
	if err != nil {
		panic(err) // unreachable, because these packets are valid
	}
	return b
}

// converse answers a client until the connection ends.
func (a answers) converse(conn net.Conn) {
	in := frames.NewReader(conn, frames.MaxPacket)
	for {
		f, err := frames.ReadFrame(in)
		if err != nil {
			return
		}
		var answer []byte
		switch p, err := frames.Parse(f, mqtt.V311); p := p.(type) {
		case frames.Connect:
			answer = a.connack
		case frames.Pingreq:
			answer = a.pingresp
		case frames.Subscribe:
			codes := make([]frames.ReasonCode, len(p.Filters))
			answer = packetBytes(frames.Suback{ID: p.ID, Codes: codes})
		case frames.Publish:
			if p.QoS == frames.AtLeastOnce {
				answer = packetBytes(frames.Ack{Kind: frames.TypePuback, ID: p.ID})
			}
		default:
			if err != nil {
				return
			}
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}
