package integration

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt"
)

// names is a DNS server. It either knows no name at all or returns the same addresses for every
// name.
type names struct {
	addr  string
	hosts [][4]byte
	known atomic.Bool
	asked atomic.Int32 // number of queries for IPv4 addresses
}

func startNames(t *testing.T, hosts ...[4]byte) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{addr: conn.LocalAddr().String(), hosts: hosts}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := n.answer(buf[:size]); reply != nil {
				conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return n
}

// answer returns the reply to a query with one question (RFC 1035, section 4).
func (n *names) answer(query []byte) []byte {
	const header, typeA = 12, 1
	end := header
	for end < len(query) && query[end] != 0 { // skips the labels of the name
		end += 1 + int(query[end])
	}
	end += 1 + 4 // the root label, the type and the class
	if end > len(query) {
		return nil
	}
	reply := append([]byte(nil), query[:end]...)
	flags, answers := uint16(0x8180), uint16(0)
	isA := binary.BigEndian.Uint16(query[end-4:]) == typeA
	if isA {
		n.asked.Add(1)
	}
	switch {
	case !n.known.Load():
		flags |= 3 // response code 3: no such name
	case isA:
		answers = uint16(len(n.hosts))
		for _, host := range n.hosts {
			reply = append(reply, 0xC0, header, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4)
			reply = append(reply, host[:]...)
		}
	}
	binary.BigEndian.PutUint16(reply[2:], flags)
	binary.BigEndian.PutUint16(reply[6:], answers)
	clear(reply[8:header])
	return reply
}

// resolver returns a resolver that sends every query to n.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, n.addr)
	}}
}

// N2: if nobody listens at the first address of a name, the same connection attempt tries the next
// address.
func TestAllAddressesOfANameAreTried(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		n := startNames(t, [4]byte{127, 0, 0, 2}, [4]byte{127, 0, 0, 1})
		n.known.Store(true)
		_, port, err := net.SplitHostPort(b.url[len("mqtt://"):])
		if err != nil {
			t.Fatal(err)
		}
		var tried []string
		dialer := net.Dialer{Resolver: n.resolver(), Control: func(_, address string, _ syscall.RawConn) error {
			tried = append(tried, address)
			return nil
		}}
		dial(t, "mqtt://mill.example:"+port, mqtt.Options{Version: v, ClientID: "named", NoReconnect: true, DialContext: dialer.DialContext})
		if want := []string{"127.0.0.2:" + port, "127.0.0.1:" + port}; !slices.Equal(tried, want) {
			t.Errorf("tried %q, want %q", tried, want)
		}
	})
}

// N1: the error for an unknown name says that the name is unknown, and every attempt looks up the
// name again.
func TestANameThatIsNotKnownIsLookedUpAnew(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		n := startNames(t, [4]byte{127, 0, 0, 1})
		_, port, err := net.SplitHostPort(b.url[len("mqtt://"):])
		if err != nil {
			t.Fatal(err)
		}
		w := new(wire)
		w.dialer.Resolver = n.resolver()
		c, err := mqtt.Open("mqtt://mill.example:"+port, withLog(t, mqtt.Options{Version: v, ClientID: "named", Reconnect: soon(), DialContext: w.DialContext}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		states := c.States(within(t))
		var dns *net.DNSError
		if s := until(t, states, func(s mqtt.State) bool { return s.Attempt > 0 }); !errors.As(s.Err, &dns) || !dns.IsNotFound {
			t.Errorf("got %v, want a *net.DNSError with IsNotFound", s.Err)
		}
		n.known.Store(true)
		until(t, states, func(s mqtt.State) bool { return s.Online })
		before := n.asked.Load()
		w.setDown(true) // so that the client stays offline until the test has seen it
		w.cut()
		until(t, states, func(s mqtt.State) bool { return !s.Online })
		w.setDown(false)
		until(t, states, func(s mqtt.State) bool { return s.Online })
		if n.asked.Load() == before {
			t.Error("the name was not looked up again")
		}
	})
}
