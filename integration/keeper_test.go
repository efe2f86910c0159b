package integration

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A keeper is a broker in the test process whose sessions survive every failure. It can cut
// connections at any packet and can be away itself. It records a packet before it answers, like a
// broker that syncs its disk. It checks the packets of clients by the numbers of crashMessage.
type keeper struct {
	t        *testing.T
	listener net.Listener

	mu       sync.Mutex
	away     bool // it closes every connection, but keeps its port so that no other broker can take the port
	sessions map[string]*kept
	links    map[*link]bool
	random   *rand.Rand
	cutEvery int                                   // mean number of packets before a random cut; 0: never
	routed   func(frames.Message)                  // called for each publication that is routed, if set
	acked    func(client string, m frames.Message) // called for each PUBACK and first PUBREC, if set
	served   sync.WaitGroup
}

// kept is a session as the broker keeps it.
type kept struct {
	id      string
	link    *link // nil: offline
	filters []subscribed

	expiry uint32    // seconds that the session outlives its connection
	left   time.Time // when its last connection ended

	held map[uint16]bool // identifiers of the client's QoS 2 publications before PUBREL
	out  []*outgoing     // messages to the client whose exchange is not complete, in order
	next uint16

	// For the checks: the identifier of each publication, and the last publication with each
	// identifier.
	identifiers map[int]uint16
	numbers     map[uint16]int
	released    map[int]bool
}

// outgoing is a message to a client.
type outgoing struct {
	message frames.Message
	id      uint16 // 0: not yet sent
	rel     bool   // PUBREC has arrived
}

// A link is one connection.
type link struct {
	k       *keeper
	conn    net.Conn
	version frames.Version
	session *kept

	out  []byte        // under keeper.mu
	wake chan struct{} // cap 1; wakes the writer; closed when the connection has ended

	window   int // messages that the client takes at a time
	inFlight int
	aliases  *frames.Aliases   // of the client
	mine     map[string]uint16 // topic aliases of the keeper, at most the next field
	most     int
	acks     map[frames.Type][]uint16 // identifiers of messages sent on this connection that wait for PUBACK or PUBREC, in order
	recs     map[uint16]bool          // identifiers with a PUBREC sent on this connection but without PUBREL
	newest   int                      // highest number of a publication sent or retransmitted on this connection
}

const keeperWindow = 200

func startKeeper(t *testing.T, seed uint64, cutEvery int) (*keeper, *broker) {
	t.Helper()
	k := &keeper{t: t, sessions: make(map[string]*kept), links: make(map[*link]bool),
		random: rand.New(rand.NewPCG(seed, 0)), cutEvery: cutEvery}
	var err error
	if k.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	k.served.Go(func() {
		for {
			conn, err := k.listener.Accept()
			if err != nil {
				return
			}
			k.served.Go(func() { k.serve(conn) })
		}
	})
	t.Cleanup(func() {
		k.listener.Close()
		k.kill()
		k.served.Wait()
	})
	return k, &broker{name: "keeper", url: "mqtt://" + k.listener.Addr().String()}
}

// kill closes all connections and refuses new ones until restart.
func (k *keeper) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = true
	for l := range k.links {
		l.conn.Close()
	}
}

func (k *keeper) restart() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = false
}

func (k *keeper) serve(conn net.Conn) {
	defer conn.Close()
	l := &link{k: k, conn: conn, wake: make(chan struct{}, 1), recs: make(map[uint16]bool), newest: -1,
		window: keeperWindow, acks: make(map[frames.Type][]uint16)}
	k.mu.Lock()
	if k.away {
		k.mu.Unlock()
		return
	}
	k.links[l] = true
	k.mu.Unlock()
	k.served.Go(l.write)
	in := frames.NewReader(conn, 0)
	for {
		f, err := frames.ReadFrame(in)
		if err != nil {
			break
		}
		if bye, err := l.frame(f); err != nil || bye {
			if err != nil && !errors.Is(err, io.EOF) {
				k.t.Error(err)
			}
			break
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.links, l)
	if l.session != nil && l.session.link == l {
		l.session.leave()
	}
	close(l.wake)
}

// write writes l.out. Each link has a goroutine for it, so that a slow client does not delay other
// clients.
func (l *link) write() {
	for range l.wake {
		l.k.mu.Lock()
		b := l.out
		l.out = nil
		l.k.mu.Unlock()
		if _, err := l.conn.Write(b); err != nil {
			l.conn.Close()
		}
	}
}

func (l *link) send(p frames.Packet) {
	b, err := p.Append(l.out, l.version)
	if err != nil {
		l.k.t.Error(err)
		return
	}
	l.out = b
	if l.k.links[l] {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// frame handles one packet. An error describes the client's violation; io.EOF means that the keeper
// cuts the connection.
func (l *link) frame(f frames.Frame) (bye bool, err error) {
	l.k.mu.Lock()
	defer l.k.mu.Unlock()
	if !l.k.links[l] || l.session != nil && l.session.link != l {
		return true, nil // another connection has taken over the session
	}
	cut := l.k.cutEvery > 0 && l.session != nil && l.k.random.IntN(l.k.cutEvery) == 0
	if cut && l.k.random.IntN(2) == 0 {
		return true, io.EOF // cut: the packet is lost
	}
	packet, err := l.parse(f)
	if err != nil {
		return true, err
	}
	switch p := packet.(type) {
	case frames.Connect:
		err = l.connect(p)
	case frames.Subscribe:
		codes := make([]frames.ReasonCode, len(p.Filters))
		for i, f := range p.Filters {
			codes[i] = frames.ReasonCode(f.QoS)
		}
		l.session.drop(topicsOf(p.Filters)) // a new subscription replaces an earlier one [MQTT-3.8.4-3]
		for _, f := range p.Filters {
			l.session.filters = append(l.session.filters, subscribed{f, p.Identifier})
		}
		l.send(frames.Suback{ID: p.ID, Codes: codes})
	case frames.Unsubscribe:
		u := frames.Unsuback{ID: p.ID}
		if l.version >= frames.V5 {
			u.Codes = l.session.unsubscribes(p.Topics)
		}
		l.session.drop(p.Topics)
		l.send(u)
	case frames.Publish:
		err = l.publish(p)
	case frames.Ack:
		err = l.ack(p)
	case frames.Pingreq:
		l.send(frames.Pingresp{})
	case frames.Disconnect:
		if p.SessionExpiry != nil {
			l.session.expiry = *p.SessionExpiry
		}
		return true, nil
	default:
		err = fmt.Errorf("%v from a client", p.Type())
	}
	if err == nil && cut { // cut: the packet is processed, but the answer is lost
		return true, io.EOF
	}
	return false, err
}

func (l *link) connect(p frames.Connect) error {
	l.version = p.Version
	c, id := l.limits(p)
	s := l.k.sessions[id]
	if s != nil && s.link != nil {
		s.link.conn.Close()
		s.leave()
	}
	if c.SessionPresent = s != nil && !p.CleanSession && !s.expired(); !c.SessionPresent {
		s = &kept{id: id, held: make(map[uint16]bool), identifiers: make(map[int]uint16),
			numbers: make(map[uint16]int), released: make(map[int]bool)}
		l.k.sessions[id] = s
	}
	s.link, l.session, s.expiry = l, s, expiryOf(p)
	l.send(c)
	for _, o := range s.out {
		switch {
		case o.id == 0:
		case o.rel:
			l.inFlight++
			l.send(frames.Ack{Kind: frames.TypePubrel, ID: o.id})
		default:
			l.inFlight++
			l.expectAck(o)
			l.publication(frames.Publish{Message: o.message, ID: o.id, DUP: true})
		}
	}
	s.advance()
	return nil
}

// expectAck records that a message awaits its ack.
func (l *link) expectAck(o *outgoing) {
	kind := frames.TypePuback
	if o.message.QoS == frames.ExactlyOnce {
		kind = frames.TypePubrec
	}
	l.acks[kind] = append(l.acks[kind], o.id)
}

// advance sends waiting messages while the window has room.
func (s *kept) advance() {
	l := s.link
	if l == nil {
		return
	}
	for _, o := range s.out {
		if o.id != 0 {
			continue
		}
		if l.inFlight >= l.window {
			return
		}
		if s.next++; s.next == 0 {
			s.next = 1
		}
		o.id = s.next
		l.inFlight++
		l.expectAck(o)
		l.publication(frames.Publish{Message: o.message, ID: o.id})
	}
}

func (l *link) publish(p frames.Publish) error {
	if err := l.watch(p); err != nil {
		return err
	}
	s := l.session
	code := frames.Success
	if p.QoS != frames.ExactlyOnce || !s.held[p.ID] {
		if reached := l.k.route(s, p.Message); !reached && l.version >= frames.V5 {
			code = frames.NoMatchingSubscribers
		}
	}
	switch p.QoS {
	case frames.AtMostOnce:
		return nil
	case frames.AtLeastOnce:
		l.send(frames.Ack{Kind: frames.TypePuback, ID: p.ID, AckReason: frames.AckReason{Code: code}})
		return nil
	}
	s.held[p.ID], l.recs[p.ID] = true, true
	if len(l.recs) > keeperMaximum && l.version >= frames.V5 {
		return fmt.Errorf("%s: %d QoS 2 publications at a time, want at most %d", s.id, len(l.recs), keeperMaximum)
	}
	l.send(frames.Ack{Kind: frames.TypePubrec, ID: p.ID, AckReason: frames.AckReason{Code: code}})
	return nil
}

// route passes a message on, and reports whether a session gets it.
func (k *keeper) route(from *kept, m frames.Message) (reached bool) {
	m = m.Clone()
	m.Retain = false // [MQTT-3.3.1-9]
	if k.routed != nil {
		k.routed(m)
	}
	for _, s := range k.sessions {
		if m, ok := s.wants(from, m); ok {
			s.deliver(m)
			reached = true
		}
	}
	return reached
}

// deliver sends a message, or keeps it for the session. QoS 0 messages are not kept.
func (s *kept) deliver(m frames.Message) {
	switch {
	case m.QoS > frames.AtMostOnce:
		s.out = append(s.out, &outgoing{message: m})
		s.advance()
	case s.link != nil:
		s.link.publication(frames.Publish{Message: m})
	}
}

// drop removes the subscriptions to topic filters.
func (s *kept) drop(topics []string) {
	s.filters = slices.DeleteFunc(s.filters, func(f subscribed) bool { return slices.Contains(topics, f.Topic) })
}

func topicsOf(filters []frames.Filter) (topics []string) {
	for _, f := range filters {
		topics = append(topics, f.Topic)
	}
	return topics
}

func (l *link) ack(a frames.Ack) error {
	s := l.session
	if a.Kind == frames.TypePubrel {
		if err := l.watchRelease(a.ID); err != nil {
			return err
		}
		delete(s.held, a.ID)
		delete(l.recs, a.ID)
		l.send(frames.Ack{Kind: frames.TypePubcomp, ID: a.ID})
		return nil
	}
	if a.Kind != frames.TypePubcomp {
		// [MQTT-4.6.0-2] [MQTT-4.6.0-3] A client sends PUBACK packets in order, and PUBREC packets,
		// and only for messages of this connection.
		if len(l.acks[a.Kind]) == 0 || l.acks[a.Kind][0] != a.ID {
			return fmt.Errorf("%s: %v for %d, want the first of %d", s.id, a.Kind, a.ID, l.acks[a.Kind])
		}
		l.acks[a.Kind] = l.acks[a.Kind][1:]
	}
	for i, o := range s.out {
		if o.id != a.ID {
			continue
		}
		want := frames.TypePuback
		if o.message.QoS == frames.ExactlyOnce {
			if want = frames.TypePubrec; o.rel {
				want = frames.TypePubcomp
			}
		}
		if a.Kind == want && !o.rel && l.k.acked != nil {
			l.k.acked(s.id, o.message)
		}
		switch {
		case a.Kind != want:
			return fmt.Errorf("%s: %v for %d in place of %v", s.id, a.Kind, a.ID, want)
		case a.Kind == frames.TypePubrec && a.Code < 0x80: // otherwise the client rejects the message
			o.rel = true
			l.send(frames.Ack{Kind: frames.TypePubrel, ID: a.ID})
		default:
			s.out = append(s.out[:i], s.out[i+1:]...)
			l.inFlight--
			s.advance()
		}
		return nil
	}
	return fmt.Errorf("%s: %v for %d, which is not in flight", s.id, a.Kind, a.ID)
}
