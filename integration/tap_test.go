package integration

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// scratch: records packets
type tapLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *tapLog) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, time.Now().Format("05.000000 ")+s)
}

type tapConn struct {
	net.Conn
	log     *tapLog
	in, out bytes.Buffer
}

func (c *tapConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Write(p[:n])
	c.drain("<-", &c.in)
	if err != nil {
		c.log.add("<- " + err.Error())
	}
	return n, err
}

func (c *tapConn) Write(p []byte) (int, error) {
	c.out.Write(p)
	c.drain("->", &c.out)
	n, err := c.Conn.Write(p)
	if err != nil {
		c.log.add(fmt.Sprintf("-> wrote %d of %d: %v", n, len(p), err))
	}
	return n, err
}

func (c *tapConn) drain(dir string, b *bytes.Buffer) {
	for {
		raw := b.Bytes()
		if len(raw) < 2 {
			return
		}
		n, shift, k := 0, 0, 1
		for {
			if k >= len(raw) {
				return
			}
			n |= int(raw[k]&0x7f) << shift
			shift += 7
			k++
			if raw[k-1] < 0x80 {
				break
			}
		}
		if len(raw) < k+n {
			return
		}
		body := raw[k : k+n]
		s := fmt.Sprintf("%s %v %02x", dir, frames.Type(raw[0]>>4), raw[0])
		if t := frames.Type(raw[0] >> 4); t == frames.TypePublish {
			tl := int(body[0])<<8 | int(body[1])
			rest := body[2+tl:]
			id := 0
			if raw[0]&6 != 0 {
				id = int(rest[0])<<8 | int(rest[1])
				rest = rest[2:]
			}
			s += fmt.Sprintf(" id=%d %s %q dup=%v", id, body[2:2+tl], rest, raw[0]&8 != 0)
		} else if len(body) == 2 {
			s += fmt.Sprintf(" id=%d", int(body[0])<<8|int(body[1]))
		} else {
			s += fmt.Sprintf(" %x", body)
		}
		c.log.add(s)
		b.Next(k + n)
	}
}
