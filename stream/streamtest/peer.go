package streamtest

import (
	"net"
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// defaultWindow is the number of messages that a Responder has in flight to a client.
const defaultWindow = 100

// The states of the packet identifier of a message to the client. The state names the
// acknowledgment that the message awaits.
const (
	idFree byte = iota
	idPuback
	idPubrec
	idPubcomp
)

// peer is one client of a Responder.
type peer struct {
	r      *Responder
	conn   net.Conn
	pipe   *PipeConn     // conn as a PipeConn, if its writes never wait; otherwise nil
	kick   chan struct{} // if pipe is nil: wakes the writing goroutine, capacity 1; closed by finish
	writer sync.WaitGroup

	// Owned by the goroutine that serves the connection.
	in      *frames.Reader
	version frames.Version // 0 before CONNECT
	topics  frames.Topics
	aliases *frames.Aliases // that the client may set
	held    []uint64        // a bit is set between PUBLISH at QoS 2 and PUBREL; allocated on first use

	// Guarded by mu, since Responder.Publish uses these fields too.
	mu       sync.Mutex
	room     sync.Cond // signaled when out or queue gets shorter, or when the client is gone
	gone     bool
	subs     subscriptions
	limits   limits
	window   int    // QoS 1 and 2 messages in flight to the client
	largest  int    // PUBLISH that the client takes, in bytes; 0: any
	out      []byte // pending bytes
	spare    []byte // the buffer written last, for reuse
	taken    int    // bytes that drain is writing
	writing  bool   // a goroutine is in drain
	ids      []byte // state of each identifier; allocated for the first message at QoS 1 or 2
	lastID   uint16
	inFlight int
	queue    []frames.Message // messages that wait until the window has room
}

func newPeer(r *Responder, conn net.Conn, in *frames.Reader) *peer {
	p := &peer{r: r, conn: conn, in: in}
	p.room.L = &p.mu
	if pc, ok := conn.(*PipeConn); ok && pc.out.limit == 0 {
		p.pipe = pc
		return p
	}
	p.kick = make(chan struct{}, 1)
	p.writer.Go(func() {
		for range p.kick {
			p.drain()
		}
	})
	return p
}

// begin sets the version and the terms of the connection, from the CONNECT and from the CONNACK
// that answers it. The properties of both may be nil.
func (p *peer) begin(v frames.Version, client *frames.ConnectProperties, broker *frames.ConnackProperties) {
	p.version, p.window = v, defaultWindow
	p.in.SetVersion(v)
	if p.r.Window > 0 {
		p.window = min(p.r.Window, 1<<16-1)
	}
	if v < frames.V5 {
		return
	}
	if client != nil {
		if client.ReceiveMaximum != 0 {
			p.window = min(p.window, int(client.ReceiveMaximum)) // [MQTT-3.3.4-9]
		}
		p.largest = int(min(client.MaximumPacket, frames.MaxPacket))
	}
	if broker != nil {
		p.limits.announced = broker
		p.aliases = frames.NewAliases(broker.TopicAliasMaximum)
	}
}

// run serves the connection until its end: it reads packets, and writes the answers after each
// read. It returns nil unless the client violated the protocol.
func (p *peer) run() error {
	for {
		f, ok, err := p.in.Next()
		if err != nil {
			return ended(err)
		}
		if !ok {
			p.flushAll()
			if err := p.in.Fill(); err != nil {
				return ended(err)
			}
			continue
		}
		p.r.received[f.Type()].Add(1)
		bye, err := p.handle(f)
		if err != nil || bye {
			p.flushAll()
			return err
		}
	}
}

// flushAll writes the pending answers, and with Loopback also the messages routed to other clients.
func (p *peer) flushAll() {
	if !p.r.Loopback {
		p.flush()
		return
	}
	for _, q := range p.r.clients() {
		q.flush()
	}
}

// flush writes the pending bytes. If a write could wait, the writer goroutine does it.
func (p *peer) flush() {
	if p.pipe != nil {
		p.drain()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return // finish may have closed kick
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// drain writes until no bytes are pending. If another goroutine is already in drain, drain leaves
// the bytes to that goroutine. So bytes go out in order, and no lock is held during a write.
func (p *peer) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing {
		return
	}
	p.writing = true
	for len(p.out) > 0 {
		b := p.out
		p.out, p.taken = p.spare[:0], len(b)
		p.limits.written()
		p.mu.Unlock()
		_, err := p.conn.Write(b)
		p.mu.Lock()
		if p.spare, p.taken = b, 0; cap(b) > aheadBytes {
			p.spare = nil // do not keep a large buffer after a flood
		}
		if err != nil {
			p.out = nil // the reader sees the error too, and ends the connection
		}
		p.room.Broadcast()
	}
	p.writing = false
}

// await waits while the client is far behind. It returns early if the client is gone.
func (p *peer) await() {
	for behind := true; behind; {
		if p.pipe != nil {
			p.pipe.out.await(aheadBytes)
		}
		p.mu.Lock()
		behind = !p.gone && (len(p.out)+p.taken >= aheadBytes || len(p.queue) > aheadMessages)
		if behind {
			p.room.Wait() // the condition is checked again, because drained bytes may have filled the pipe
		}
		p.mu.Unlock()
	}
}

// finish stops the writer goroutine and wakes waiting publishers. The connection is already closed.
func (p *peer) finish() {
	p.mu.Lock()
	p.gone = true
	p.room.Broadcast()
	p.mu.Unlock()
	if p.kick != nil {
		close(p.kick)
		p.writer.Wait()
	}
}

// send appends packets to the pending bytes. The caller holds mu.
func send[P frames.Packet](p *peer, packet P) error {
	b, err := packet.Append(p.out, p.version)
	if err == nil {
		p.out = b
		p.r.sent[packet.Type()&15].Add(1)
	}
	return err
}
