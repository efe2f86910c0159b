package boltstore

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// The encoder reproduces every record that the parser accepts.
func FuzzRecordIsRefusedOrComesBackTheSame(f *testing.F) {
	key := seqKey(7)
	m := accepted(7, "payload").Message
	m.Retain = true
	p, _ := appendPublication(nil, key, &m, time.Time{}, flight{9, true})
	s := state{publications: tally{1, 2}, flight: tally{3, 4}, received: tally{5, 6}, owner: "pump"}
	m.Properties = &frames.Properties{Expiry: time.Minute, ContentType: "c", ResponseTopic: "r", Correlation: []byte{},
		User: []frames.UserProperty{{Name: "n", Value: "v"}, {Name: "n"}}}
	rich, _ := appendPublication(nil, key, &m, time.Unix(1_800_000_000, 0), flight{})
	m.Properties = nil
	expiring, _ := appendPublication(nil, key, &m, time.Unix(1_800_000_000, 0), flight{})
	f.Add(sessionKey, appendSession(nil, &flow.SessionRecord{Version: frames.V5, ClientID: "x", Expiry: 60, Seen: time.Unix(1_800_000_000, 0)}))
	for _, value := range [][]byte{p, rich, expiring, appendFlight(nil, key, flight{9, true})} {
		f.Add(key, value)
	}
	f.Add(idKey(3), appendReceived(nil, idKey(3)))
	f.Add(stateKey, s.append(nil))
	f.Add(formatKey, appendFormat(nil, baseFormat))
	f.Add(formatKey, appendFormat(nil, version))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		for _, sealAt := range []int{-1, 0, stateSize - 4, formatSize - 4, sessionSize - 4} { // a valid checksum lets more inputs reach the other checks
			value := bytes.Clone(value)
			if sealAt >= 0 && len(value) >= sealAt+4 {
				seal(key, value, sealAt)
			}
			same := func(what string, again []byte) {
				if !bytes.Equal(again, value) {
					t.Errorf("%s: %x becomes %x", what, value, again)
				}
			}
			if p, err := parsePublication(key, value); err == nil {
				againAsPublication(t, key, value, p)
			}
			if r, err := parseSession(value); err == nil {
				same("session", appendSession(nil, r))
			}
			if fl, err := parseFlight(key, value); err == nil {
				same("flight", appendFlight(nil, key, fl))
			}
			if id, err := parseReceived(key, value); err == nil {
				same("received", appendReceived(nil, idKey(id)))
			}
			if s, err := parseState(value); err == nil {
				same("state", s.append(nil))
			}
			if v, err := parseFormat(value); err == nil {
				same("format", appendFormat(nil, v))
			}
		}
	})
}

// againAsPublication encodes a parsed publication. The result is value, or, if the properties are
// in another order or the fields of format 2 are all empty, a record with the same meaning.
func againAsPublication(t *testing.T, key, value []byte, p publication) {
	t.Helper()
	var err error
	m := p.message
	m.Topic = string(p.topic)
	if m.Properties, err = p.properties(); err != nil {
		if !errors.Is(err, errProperties) {
			t.Error(err)
		}
		return
	}
	again, err := appendPublication(nil, key, &m, fromUnix(p.deadline), p.flight)
	var invalid *frames.InvalidError
	switch {
	case errors.As(err, &invalid) && p.extras:
		return // the parser of properties accepts control characters, which must not be sent
	case err != nil:
		t.Error(err)
		return
	case !p.extras:
		if !bytes.Equal(again, value) {
			t.Errorf("publication: %x becomes %x", value, again)
		}
		return
	}
	q, err := parsePublication(key, again)
	if err != nil {
		t.Fatal(err)
	}
	props, err := q.properties()
	if err != nil || !reflect.DeepEqual(props, m.Properties) || !fromUnix(q.deadline).Equal(fromUnix(p.deadline)) || q.flight != p.flight ||
		!bytes.Equal(q.message.Payload, p.message.Payload) || !bytes.Equal(q.topic, p.topic) {
		t.Errorf("publication: %x becomes %x, %v", value, again, err)
	}
}

// If bytes of a store are overwritten, reading returns the original session or an error.
func FuzzDamageIsAnErrorOrOfNoConsequence(f *testing.F) {
	var files [2][]byte // one of each format
	var wants [2]flow.Snapshot
	for i, make := range []func(testing.TB) (string, flow.Snapshot){sample, rich} {
		path, want := make(f)
		files[i], wants[i] = read(f, path), want
	}
	for _, format2 := range []bool{false, true} {
		f.Add(uint16(0), []byte("x"), format2)
		f.Add(uint16(pageHeader+metaSize-1), files[0][4096:][:200], format2)
		f.Add(uint16(5*4096), []byte{0xFF, 0xFF, 0, 1}, format2)
	}
	f.Fuzz(func(t *testing.T, at uint16, patch []byte, format2 bool) {
		whole, want := files[0], wants[0]
		if format2 {
			whole, want = files[1], wants[1]
		}
		file := bytes.Clone(whole)
		copy(file[int(at)%len(file):], patch)
		c := content{im: &image{r: bytes.NewReader(file), size: int64(len(file)), path: "file"}, keep: true}
		if err := c.read(false); err == nil && !reflect.DeepEqual(c.snap, want) {
			t.Errorf("%+v", c.snap)
		}
	})
}

func TestARecordUnderAnotherKeyIsDamaged(t *testing.T) {
	m := accepted(7, "x").Message
	p, err := appendPublication(nil, seqKey(7), &m, time.Time{}, flight{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsePublication(seqKey(6), p); !errors.Is(err, errChecksum) {
		t.Errorf("publication: %v", err)
	}
	if _, err := parseFlight(seqKey(6), appendFlight(nil, seqKey(7), flight{})); !errors.Is(err, errChecksum) {
		t.Errorf("flight: %v", err)
	}
	if _, err := parseReceived(idKey(6), appendReceived(nil, idKey(7))); !errors.Is(err, errChecksum) {
		t.Errorf("received: %v", err)
	}
}

// U-T. Flags of a later format are damage to this one, even if the checksum is valid.
func TestARecordWithUnknownFlagsIsDamaged(t *testing.T) {
	key := seqKey(7)
	m := accepted(7, "").Message
	p, err := appendPublication(nil, key, &m, time.Unix(1_800_000_000, 0), flight{})
	if err != nil {
		t.Fatal(err)
	}
	f := appendFlight(nil, key, flight{id: 9})
	for b := range 256 {
		p[5], f[4] = byte(b), byte(b)
		seal(key, p, 0)
		seal(key, f, 0)
		if _, err := parsePublication(key, p); (err == nil) != (b&^(retainFlag|releasedFlag|extrasFlag) == 0) {
			t.Errorf("a publication with the flags %#x: error %v", b, err)
		}
		if _, err := parseFlight(key, f); (err == nil) != (b&^releasedFlag == 0) {
			t.Errorf("a flight with the flags %#x: error %v", b, err)
		}
	}
}
