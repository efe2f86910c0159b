package streamtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A socket is a TCP connection on the loopback interface. It lies between the client and the
// client's end of a pipe, so that all steps of a script work as without it.
//
// Invariant: after the script has closed its end of the pipe, bytes of the client are read and
// dropped until the client closes too. Otherwise TCP would reset the connection, and the client
// might lose bytes that it has not read.
type socket struct {
	client, end *net.TCPConn
	pipe        *PipeConn // the client's end
}

// kernelBuffer is the size of each buffer in the kernel for a bounded direction. Left alone, the
// kernel makes them several MiB large. A buffer smaller than a few segments of the loopback
// interface, which have 64 KiB, makes TCP wait for timers.
const kernelBuffer = 256 << 10

// closeLimit bounds how long Broker.Close waits until a client has taken the last bytes.
const closeLimit = time.Second

// dialSocket connects two sockets.
func dialSocket(ctx context.Context, o *settings) (*socket, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	s := &socket{client: conn.(*net.TCPConn)}
	for s.end == nil {
		conn, err := l.Accept()
		if err != nil {
			return nil, errors.Join(err, s.client.Close())
		}
		if conn.RemoteAddr().String() != s.client.LocalAddr().String() { // another process
			_ = conn.Close()
			continue
		}
		s.end = conn.(*net.TCPConn)
	}
	if o.buffer >= 0 {
		_, _ = s.client.SetWriteBuffer(kernelBuffer), s.end.SetReadBuffer(kernelBuffer)
	}
	if o.sendBuffer > 0 {
		_, _ = s.client.SetReadBuffer(kernelBuffer), s.end.SetWriteBuffer(kernelBuffer)
	}
	return s, nil
}

// close closes both ends of the socket, because Dial fails. A nil socket has no ends.
func (s *socket) close() {
	if s != nil {
		_, _ = s.client.Close(), s.end.Close()
	}
}

// run carries bytes in both directions until both have ended.
func (s *socket) run() {
	var up sync.WaitGroup
	up.Go(s.fromClient)
	s.toClient()
	up.Wait()
	_ = s.end.Close()
}

func (s *socket) fromClient() {
	p := make([]byte, 16<<10)
	for {
		n, err := s.end.Read(p)
		if n > 0 {
			_, _ = s.pipe.Write(p[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = s.pipe.CloseWrite()
			return
		case errors.Is(err, os.ErrDeadlineExceeded): // stop
			s.pipe.out.closeWriter()
			return
		case err != nil: // a client that closes with unread bytes resets the connection
			_ = s.pipe.Close()
			return
		}
	}
}

func (s *socket) toClient() {
	p := make([]byte, 16<<10)
	for {
		n, err := s.pipe.Read(p)
		if n > 0 {
			if _, err := s.end.Write(p[:n]); err != nil {
				s.pipe.in.closeReader() // the client is gone: the script's writes fail
				return
			}
		}
		switch {
		case errors.Is(err, syscall.ECONNRESET): // Abort
			_ = s.end.SetLinger(0)
			_ = s.end.Close()
			return
		case err != nil:
			_ = s.end.CloseWrite()
			return
		}
	}
}

// stop makes run return soon. The script's end of the pipe must be closed.
func (s *socket) stop() {
	_ = s.end.SetReadDeadline(time.Now())
	_ = s.end.SetWriteDeadline(time.Now().Add(closeLimit))
}
