package frames

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// encode returns the encoding of p.
func encode(t testing.TB, p Packet, v Version) []byte {
	t.Helper()
	b, err := p.Append(nil, v)
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	return b
}

// frameOf returns the frame in b, which must hold exactly one.
func frameOf(t testing.TB, b []byte) Frame {
	t.Helper()
	r := NewReader(bytes.NewReader(b), 0)
	r.SetVersion(V5)
	f, err := ReadFrame(r)
	if err != nil || r.Buffered() != 0 {
		t.Fatalf("% .32x is not one frame: %v", b, err)
	}
	return f
}

// wantInvalid requires that err is an *InvalidError with the Field, Limit and Value of want. The
// Reason is not compared.
func wantInvalid(t *testing.T, err error, want InvalidError) {
	t.Helper()
	var got *InvalidError
	if !errors.As(err, &got) {
		t.Errorf("error %v, want an InvalidError with field %q", err, want.Field)
		return
	}
	if got.Field != want.Field || got.Limit != want.Limit || got.Value != want.Value || got.Reason == "" {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}

// wantUnappended requires that Append rejects p and leaves its destination unchanged.
func wantUnappended(t *testing.T, p Packet, v Version, want InvalidError) {
	t.Helper()
	dst, err := p.Append([]byte("before"), v)
	if string(dst) != "before" {
		t.Errorf("%.80q was left in the destination", dst)
	}
	wantInvalid(t, err, want)
}

var versions = []Version{V31, V311, V5}

// seed adds the encoded packets, in all versions, to a fuzz target.
func seed(f *testing.F, packets ...Packet) {
	f.Helper()
	for _, p := range packets {
		for _, v := range versions {
			if b, err := p.Append(nil, v); err == nil {
				frame := frameOf(f, b)
				f.Add(frame.Header, frame.Body, byte(v-V31))
			}
		}
	}
}

// fuzzParser checks that a parser does not panic, that its errors are violations, and that an
// accepted packet is the same after it is encoded and parsed again. If exact is true, the encoding
// before MQTT 5 must also have the bytes of the first frame.
func fuzzParser[P Packet](f *testing.F, exact bool, parse func(Frame, Version) (P, error)) {
	f.Fuzz(func(t *testing.T, header byte, body []byte, version byte) {
		v := versions[int(version)%len(versions)]
		before := bytes.Clone(body)
		p, err := parse(Frame{header, body}, v)
		if !bytes.Equal(body, before) {
			t.Fatal("the parser wrote into the body")
		}
		if err != nil {
			var violation *ProtocolError
			if !errors.As(err, &violation) || violation.Reason == "" {
				t.Fatalf("error %v, want a violation", err)
			}
			return
		}
		if c, ok := any(p).(Connect); ok {
			v = c.Version
		}
		b, err := p.Append(nil, v)
		if err != nil {
			t.Fatalf("%+v cannot be encoded: %v", p, err)
		}
		frame := frameOf(t, b)
		if exact && v < V5 && (frame.Header != header || !bytes.Equal(frame.Body, body)) {
			t.Fatalf("% x % x became % x % x", header, body, frame.Header, frame.Body)
		}
		again, err := parse(frame, v)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}
