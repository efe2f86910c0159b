package link

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func TestTheHandshakeSaysWhatCameInPlaceOfCONNACK(t *testing.T) {
	var violation *frames.ProtocolError
	for name, c := range map[string]struct {
		answer []byte
		is     func(error) bool
		text   string
	}{
		"a refusal":       {[]byte{0x20, 2, 0, 5}, func(err error) bool { return errors.Is(err, frames.NotAuthorized) }, "connection refused: not authorized"},
		"the end":         {nil, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, "closed the connection before CONNACK"},
		"another packet":  {[]byte{0xd0, 0}, func(err error) bool { return errors.As(err, &violation) }, "PINGRESP: came in place of CONNACK"},
		"another service": {[]byte("SSH-2.0-server"), func(error) bool { return true }, `it begins with "SSH-2.0-server"`},
		"a session that a clean one cannot have": {[]byte{0x20, 2, 1, 0},
			func(err error) bool { return errors.As(err, &violation) }, "session present"},
	} {
		f := &fakeNet{serve: answer(c.answer...)}
		_, err := newTestDialer(t, f, nil, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		if err == nil || !c.is(err) || !strings.Contains(err.Error(), c.text) || strings.Count(err.Error(), "mqtt: ") != 1 {
			t.Errorf("%s: the error is %v, want %q in it", name, err, c.text)
		}
	}
}

func TestAConnKnowsItsHandshake(t *testing.T) {
	f := &fakeNet{serve: answer(append(accept(), 0xd0, 0)...)}
	c, err := newTestDialer(t, f, nil, "mqtt://user:secret@a").Dial(t.Context(), Request{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if c.Endpoint != "mqtt://a:1883" || c.Version != frames.V311 || c.Connack.Code != frames.Success || c.Began.IsZero() {
		t.Errorf("%+v", c.Connack)
	}
	if frame, err := frames.ReadFrame(c.Reader); err != nil || frame.Type() != frames.TypePingresp {
		t.Errorf("behind CONNACK comes %v, %v", frame, err)
	}
	if n := c.BytesIn(); n != 6 {
		t.Errorf("%d bytes came in", n)
	}
	if n := c.TryWrite([]byte("x")); n != 0 {
		t.Errorf("a pipe, which is no socket, took %d bytes", n)
	}
}
