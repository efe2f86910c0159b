package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
)

const user, password = "miller", "grain+flour"

// A testProxy is a proxy that relays all bytes after its handshake.
type testProxy struct {
	addr string

	mu    sync.Mutex
	asked []string // host:port of each requested tunnel
}

// startProxy starts a proxy. The function handshake reads the request of a client and returns the
// address at the other end of the tunnel.
func startProxy(t *testing.T, handshake func(*bufio.ReadWriter) (addr string, err error)) *testProxy {
	t.Helper()
	p := new(testProxy)
	p.addr = serve(t, func(conn net.Conn) {
		rw := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
		addr, err := handshake(rw)
		rw.Flush()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.asked = append(p.asked, addr)
		p.mu.Unlock()
		relay(&tunnel{Conn: conn, in: rw.Reader}, addr)
	})
	return p
}

func (p *testProxy) tunnels() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// serve accepts connections until the end of the test, and then closes the open connections.
func serve(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			served.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		served.Wait()
	})
	return l.Addr().String()
}

// relay copies bytes between a client and addr, in both directions, until one side closes.
func relay(client io.ReadWriteCloser, addr string) {
	target, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(client, target)
		client.Close()
	})
	io.Copy(target, client)
	target.Close()
	back.Wait()
}

// socks5 is the server side of the SOCKS5 handshake (RFC 1928) with the login of RFC 1929.
func socks5(rw *bufio.ReadWriter) (string, error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		io.ReadFull(rw, b) // missing bytes are 0, which fails the checks below
		return b
	}
	answer := func(b ...byte) {
		rw.Write(b)
		rw.Flush()
	}
	methods := read(int(read(2)[1]))
	if bytes.IndexByte(methods, 2) < 0 {
		answer(5, 0xff)
		return "", errors.New("the client offers no login")
	}
	answer(5, 2)
	gotUser := read(int(read(2)[1]))
	gotPassword := read(int(read(1)[0]))
	if string(gotUser) != user || string(gotPassword) != password {
		answer(1, 1)
		return "", errors.New("wrong password")
	}
	answer(1, 0)
	var host string
	switch head := read(4); head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	default:
		return "", fmt.Errorf("an address of type %d", head[3])
	}
	port := binary.BigEndian.Uint16(read(2))
	answer(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// httpConnect is the server side of the HTTP method CONNECT.
func httpConnect(rw *bufio.ReadWriter) (string, error) {
	r, err := http.ReadRequest(rw.Reader)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
	if u, p, _ := r.BasicAuth(); r.Method != http.MethodConnect || u != user || p != password {
		rw.WriteString("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return "", errors.New("refused")
	}
	rw.WriteString("HTTP/1.1 200 OK\r\n\r\n")
	return r.Host, nil
}
