package integration

import (
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

var shareMessages = flag.Int("share", 4_000, "number of messages in the tests of shared subscriptions")

const (
	shareFilter  = "$share/mill/grain/+"
	shareMembers = 4
)

// A group has the members of one shared subscription, and counts arrivals by message and by member.
type group struct {
	t       *testing.T
	url     string
	qos     mqtt.QoS
	kept    bool
	members [shareMembers]*sharer

	mu    sync.Mutex
	times map[int]int // number of arrivals by message number
	moved chan struct{}
}

// A sharer is a member of a group.
type sharer struct {
	id     string
	wire   *wire
	store  mqtt.Store
	client *mqtt.Client
	got    int           // number of messages; guarded by group.mu
	lives  int           // number of messages before it dies; negative: it does not die
	dead   chan struct{} // closed when it dies
}

// newGroup connects all members. The first member acknowledges as many messages as lives says,
// receives one more and dies.
func newGroup(t *testing.T, b *broker, q mqtt.QoS, kept bool, lives int) *group {
	t.Helper()
	g := &group{t: t, url: b.url, qos: q, kept: kept, times: make(map[int]int), moved: make(chan struct{}, 1)}
	for i := range g.members {
		m := &sharer{id: fmt.Sprintf("member %d", i), store: mqtt.NewMemoryStore(), lives: -1, dead: make(chan struct{})}
		if i == 0 {
			m.lives = lives
		}
		g.members[i] = m
		g.join(m)
	}
	return g
}

// join connects a member for the first time or again. A kept session is resumed.
func (g *group) join(m *sharer) {
	g.t.Helper()
	m.wire = new(wire)
	o := mqtt.Options{ClientID: m.id, KeepSession: g.kept, Reconnect: soon(), DialContext: m.wire.DialContext}
	if g.kept {
		o.Store = m.store
	}
	m.client = dial(g.t, g.url, o)
	sub := subscribe(g.t, m.client, mqtt.Filter{Topic: shareFilter, QoS: g.qos})
	go func() {
		for d := range sub.Deliveries() {
			if m.lives == 0 {
				m.lives = -1
				m.wire.setDown(true)
				m.wire.cut()
				close(m.dead)
				return
			}
			m.lives--
			g.note(m, d)
			d.Ack()
		}
	}()
}

func (g *group) note(m *sharer, d mqtt.Delivery) {
	i, err := strconv.Atoi(string(d.Payload))
	if err != nil {
		g.t.Errorf("got %s", show(d.Message))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m.got++
	g.times[i]++
	select {
	case g.moved <- struct{}{}:
	default:
	}
}

// arrives waits until n different messages have arrived.
func (g *group) arrives(n int) {
	g.t.Helper()
	timeout := time.After(4 * patience)
	for {
		g.mu.Lock()
		got := len(g.times)
		g.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-g.moved:
		case <-timeout:
			g.t.Fatalf("%d messages of %d have arrived", got, n)
		}
	}
}

// check logs the number of messages of each member, and verifies that each QoS 2 message arrived
// once.
func (g *group) check(sent int) (got [shareMembers]int) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	again := 0
	for i, times := range g.times {
		if times > 1 {
			again++
			if g.qos == mqtt.ExactlyOnce {
				g.t.Errorf("QoS 2: %d came %d times", i, times)
			}
		}
	}
	for i, m := range g.members {
		got[i] = m.got
	}
	g.t.Logf("sent %d; arrived %d, of which more than once %d; by member %d", sent, len(g.times), again, got)
	return got
}

// withGroups runs test at QoS 1 and 2. The first member of the group dies after it has acknowledged
// as many messages as lives says.
func withGroups(t *testing.T, kept bool, lives int, test func(t *testing.T, g *group, send func(n int))) {
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return
	}
	t.Parallel()
	for _, q := range []mqtt.QoS{1, 2} {
		t.Run(fmt.Sprintf("QoS %d", q), func(t *testing.T) {
			b := startMosquitto(t, setup{})
			g := newGroup(t, b, q, kept, lives)
			p := dial(t, b.url, mqtt.Options{ClientID: "publisher", KeepSession: true, Window: 1000})
			sent := 0
			test(t, g, func(n int) {
				for range n {
					p.Publishes() <- mqtt.Publishing{Message: text("grain/rye", strconv.Itoa(sent), q)}
					sent++
				}
				if err := p.Flush(within(t)); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// Each message goes to one member. mosquitto distributes the messages to all members in turn, even
// to absent members with a kept session. If a member dies, its messages wait for it, and no other
// member gets them. After its return every message arrives, and a QoS 2 message arrives once.
func TestTheShareOfAMemberThatDiesWaitsForItsReturn(t *testing.T) {
	n := *shareMessages / shareMembers * shareMembers
	withGroups(t, true, n/16, func(t *testing.T, g *group, send func(int)) {
		send(n)
		dead := g.members[0]
		<-dead.dead
		g.arrives(n - n/shareMembers + n/16)
		dead.client.Close() // its wire is cut, so the broker receives no DISCONNECT
		g.join(dead)
		g.arrives(n)
		for i, got := range g.check(n) {
			if want := n / shareMembers; got < want || i > 0 && got > want {
				t.Errorf("member %d got %d, want %d", i, got, want)
			}
		}
	})
}

// Without a kept session, a member that dies leaves the group at once, and the other members get
// all further messages. Messages in flight to the dead member are lost with its session, although
// the broker has acknowledged them. A worker should therefore keep its session.
func TestTheShareOfAMemberWithoutASessionGoesToTheOthers(t *testing.T) {
	n := *shareMessages
	withGroups(t, false, n/16, func(t *testing.T, g *group, send func(int)) {
		send(n)
		<-g.members[0].dead
		before := g.check(n)
		send(n)
		g.has(n, 2*n)
		after := g.check(2 * n)
		if after[0] != n/16 {
			t.Errorf("the dead member got %d", after[0])
		}
		for i, got := range after[1:] {
			if least := n / shareMembers; got-before[i+1] < least {
				t.Errorf("member %d got %d of the second half, want at least %d", i+1, got-before[i+1], least)
			}
		}
	})
}

// has waits until all messages from number first up to end have arrived.
func (g *group) has(first, end int) {
	g.t.Helper()
	timeout := time.After(4 * patience)
	for i := first; i < end; {
		g.mu.Lock()
		for i < end && g.times[i] > 0 {
			i++
		}
		g.mu.Unlock()
		if i == end {
			return
		}
		select {
		case <-g.moved:
		case <-timeout:
			g.t.Fatalf("%d has not arrived", i)
		}
	}
}
