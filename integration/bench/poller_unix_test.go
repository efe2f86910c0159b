//go:build unix

package main

import (
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestAPollerGetsDataThatComesLateAndTheEnd(t *testing.T) {
	defer goleak.VerifyNone(t)
	defer func(n int) { polls = n }(polls)
	polls = 1
	reading := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		<-reading
		_, _ = conn.Write([]byte("late"))
		conn.Close()
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := newPoller(conn)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	close(reading)
	if n, err := p.read(b); err != nil || string(b[:n]) != "late" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if n, err := p.read(b); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
