package frames

import (
	"errors"
	"strings"
	"testing"
)

// M15, M16, C6: Next returns the error at the first byte that shows the fault, before the frame is
// complete.
func TestReaderRefusesABadHeaderAsSoonAsItShows(t *testing.T) {
	for _, c := range []struct {
		name, data string
		at         int // bytes until the error
		want       string
	}{
		{"type 0", "\x00\x00", 1, "packet type 0 is reserved"},
		{"type 15", "\xf0\x00", 1, "packet type 15 is reserved"},
		{"five bytes of length", "\x30\x80\x80\x80\x80\x01", 5, "PUBLISH: remaining length in more than 4 bytes"},
		{"two bytes for 0", "\xd0\x80\x00", 3, "PINGRESP: remaining length in more bytes than it needs"},
		{"three bytes for 1", "\x30\x81\x80\x00", 4, "more bytes than it needs"},
		{"four bytes for 127", "\x30\xff\x80\x80\x00", 5, "more bytes than it needs"},
		{"over the limit", "\x30\xff\xff\xff\x7f\x00", 5, "packet of 268435460 bytes is over the limit of 1000"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n", 1, "PUBACK: reserved flags 1000"},
		{"a TLS alert", "\x15\x03\x03\x00\x02\x02\x46", 1, "CONNECT: reserved flags 0101"},
		{"SSH", "SSH-2.0-x\r\n", 1, "PUBREC: reserved flags 0011"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(inSteps(pieces(c.data, 1)...), 1000)
			for n := 0; ; n++ {
				_, ok, err := r.Next()
				if ok {
					t.Fatal("Next returned a frame")
				}
				if err == nil {
					if err := r.Fill(); err != nil {
						t.Fatalf("not rejected: %v", err)
					}
					continue
				}
				var violation *ProtocolError
				var size *TooLargeError
				if !errors.As(err, &violation) && !errors.As(err, &size) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if n != c.at {
					t.Errorf("rejected after %d bytes, want %d", n, c.at)
				}
				if _, _, again := r.Next(); again == nil || again.Error() != err.Error() {
					t.Errorf("then %v", again)
				}
				return
			}
		})
	}
}

func TestFrameSizeCountsTheHeader(t *testing.T) {
	for body, want := range map[int]int{
		0: 2, 127: 129, 128: 131, 16_383: 16_386, 16_384: 16_388, 2_097_151: 2_097_155, 2_097_152: 2_097_157,
	} {
		if got := (Frame{Body: make([]byte, body)}).Size(); got != want {
			t.Errorf("body of %d bytes: %d, want %d", body, got, want)
		}
	}
}
