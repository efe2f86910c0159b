package streamtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Error(err) // not Fatal: write also runs outside the test's goroutine
	}
}

// read does one Read.
func read(t *testing.T, c net.Conn) string {
	t.Helper()
	p := make([]byte, 1<<10)
	n, err := c.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(p[:n])
}

func TestPipeWritesAreReadInOneGo(t *testing.T) {
	a, b := Pipe(0)
	defer a.Close()
	defer b.Close()
	write(t, a, "one ")
	write(t, a, "two")
	if got := read(t, b); got != "one two" {
		t.Errorf("read %q", got)
	}
}

func TestPipeCutEndsARead(t *testing.T) {
	a, b := Pipe(0)
	defer a.Close()
	defer b.Close()
	a.Cut() // a cut before the first byte has no effect
	write(t, a, "one")
	a.Cut()
	a.Cut()
	write(t, a, "two")
	a.Cut()
	write(t, a, "three")
	for _, want := range []string{"one", "two", "three"} {
		if got := read(t, b); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}

func TestPipeCloseLetsTheOtherEndReadTheRest(t *testing.T) {
	a, b := Pipe(0)
	write(t, a, "rest")
	for range 2 { // Close is idempotent
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, b); got != "rest" {
		t.Errorf("read %q", got)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last byte: %v, want io.EOF itself", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write to a closed end: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read from the end that closed: %v", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write to the end that closed: %v", err)
	}
	_ = b.Close()
}

func TestPipeCloseWriteLeavesTheOtherDirection(t *testing.T) {
	a, b := Pipe(0)
	defer a.Close()
	defer b.Close()
	_ = a.CloseWrite()
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v", err)
	}
	write(t, b, "answer")
	if got := read(t, a); got != "answer" {
		t.Errorf("read %q", got)
	}
}

func TestPipeAbortLosesBufferedBytes(t *testing.T) {
	a, b := Pipe(0)
	defer b.Close()
	write(t, a, "lost")
	a.Abort()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read from the end that aborted: %v", err)
	}
}

func TestPipeEndWakesCallsThatWait(t *testing.T) {
	tests := []struct {
		name  string
		end   func(here, there *PipeConn)
		read  error
		write error
	}{
		{"closed here", func(here, _ *PipeConn) { _ = here.Close() }, net.ErrClosed, net.ErrClosed},
		{"closed there", func(_, there *PipeConn) { _ = there.Close() }, io.EOF, syscall.EPIPE},
		{"aborted there", func(_, there *PipeConn) { there.Abort() }, syscall.ECONNRESET, syscall.ECONNRESET},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := Pipe(4)
				reads, writes := make(chan error, 1), make(chan error, 2)
				go func() {
					_, err := here.Read(make([]byte, 1))
					reads <- err
				}()
				for range 2 { // the first Write has written a part, the second waits for its turn
					go func() {
						_, err := here.Write(make([]byte, 5))
						writes <- err
					}()
				}
				synctest.Wait()
				tt.end(here, there)
				if err := <-reads; !errors.Is(err, tt.read) {
					t.Errorf("Read: %v, want %v", err, tt.read)
				}
				for range 2 {
					if err := <-writes; !errors.Is(err, tt.write) {
						t.Errorf("Write: %v, want %v", err, tt.write)
					}
				}
				_, _ = here.Close(), there.Close()
			})
		})
	}
}

func TestPipeWriteWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(4)
		defer a.Close()
		defer b.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			write(t, a, "123456")
		}()
		synctest.Wait()
		if n := a.Unread(); n != 4 {
			t.Fatalf("%d bytes in a buffer of 4", n)
		}
		if got := read(t, b); got != "1234" {
			t.Errorf("read %q", got)
		}
		<-done
		if got := read(t, b); got != "56" {
			t.Errorf("read %q", got)
		}
	})
}

func TestPipeStallBlocksTheNextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(0)
		defer a.Close()
		defer b.Close()
		write(t, a, "before")
		b.Stall()
		written := false
		go func() {
			write(t, a, "after")
			written = true
		}()
		synctest.Wait()
		if got := read(t, b); got != "before" || written {
			t.Fatalf("read %q, stalled write returned: %v", got, written)
		}
		b.Resume()
		if got := read(t, b); got != "after" {
			t.Errorf("read %q", got)
		}
	})
}

func TestPipeConcurrentWritesDoNotMix(t *testing.T) {
	a, b := Pipe(7)
	defer b.Close()
	const writers, size = 20, 50
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { _, _ = a.Write(bytes.Repeat([]byte{byte(i)}, size)) })
	}
	go func() {
		wg.Wait()
		_ = a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || len(got) != writers*size {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for i := 0; i < len(got); i += size {
		if block := got[i : i+size]; bytes.Count(block, block[:1]) != size {
			t.Fatalf("mixed: %v", block)
		}
	}
}

func TestPipeCountsCallsAndBytes(t *testing.T) {
	a, b := Pipe(0)
	defer a.Close()
	defer b.Close()
	write(t, a, "12345")
	write(t, a, "678")
	read(t, b)
	write(t, a, "9")
	if a.Writes() != 3 || a.Bytes() != 9 || a.Unread() != 1 || b.Reads() != 1 || b.Writes() != 0 || a.Reads() != 0 {
		t.Errorf("%d writes of %d bytes, %d unread, %d reads; back: %d writes, %d reads",
			a.Writes(), a.Bytes(), a.Unread(), b.Reads(), b.Writes(), a.Reads())
	}
}

func BenchmarkPipe(b *testing.B) {
	w, r := Pipe(0)
	defer r.Close()
	go func() {
		p := make([]byte, 64)
		for range b.N {
			_, _ = w.Write(p)
		}
		_ = w.Close()
	}()
	b.ReportAllocs()
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10))
}
