package boltstore

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// The encoder reproduces every record that the parser accepts.
func FuzzRecordIsRefusedOrComesBackTheSame(f *testing.F) {
	key := seqKey(7)
	m := accepted(7, "payload").Message
	m.Retain = true
	p, _ := appendPublication(nil, key, m, flight{9, true})
	s := state{publications: tally{1, 2}, flight: tally{3, 4}, received: tally{5, 6}, owner: "pump"}
	for _, value := range [][]byte{p, appendFlight(nil, key, flight{9, true})} {
		f.Add(key, value)
	}
	f.Add(idKey(3), appendReceived(nil, idKey(3)))
	f.Add(stateKey, s.append(nil))
	f.Add(formatKey, appendFormat(nil, version))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		for _, sealAt := range []int{-1, 0, stateSize - 4, formatSize - 4} { // a valid checksum lets more inputs reach the other checks
			value := bytes.Clone(value)
			if sealAt >= 0 && len(value) >= sealAt+4 {
				seal(key, value, sealAt)
			}
			same := func(what string, again []byte) {
				if !bytes.Equal(again, value) {
					t.Errorf("%s: %x becomes %x", what, value, again)
				}
			}
			if m, topic, fl, err := parsePublication(key, value); err == nil {
				m.Topic = string(topic)
				again, err := appendPublication(nil, key, m, fl)
				if err != nil {
					t.Error(err)
				}
				same("publication", again)
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

// If bytes of a store are overwritten, reading returns the original session or an error.
func FuzzDamageIsAnErrorOrOfNoConsequence(f *testing.F) {
	path, want := sample(f)
	whole := read(f, path)
	f.Add(uint16(0), []byte("x"))
	f.Add(uint16(pageHeader+metaSize-1), whole[4096:][:200])
	f.Add(uint16(5*4096), []byte{0xFF, 0xFF, 0, 1})
	f.Fuzz(func(t *testing.T, at uint16, patch []byte) {
		file := bytes.Clone(whole)
		copy(file[int(at)%len(file):], patch)
		c := content{im: &image{r: bytes.NewReader(file), size: int64(len(file)), path: "file"}, keep: true}
		if err := c.read(false); err == nil && !reflect.DeepEqual(c.snap, want) {
			t.Errorf("%+v", c.snap)
		}
	})
}

func TestARecordUnderAnotherKeyIsDamaged(t *testing.T) {
	p, err := appendPublication(nil, seqKey(7), accepted(7, "x").Message, flight{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := parsePublication(seqKey(6), p); !errors.Is(err, errChecksum) {
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
	p, err := appendPublication(nil, key, accepted(7, "x").Message, flight{})
	if err != nil {
		t.Fatal(err)
	}
	f := appendFlight(nil, key, flight{id: 9})
	for b := range 256 {
		p[5], f[4] = byte(b), byte(b)
		seal(key, p, 0)
		seal(key, f, 0)
		if _, _, _, err := parsePublication(key, p); (err == nil) != (b&^(retainFlag|releasedFlag) == 0) {
			t.Errorf("a publication with the flags %#x: error %v", b, err)
		}
		if _, err := parseFlight(key, f); (err == nil) != (b&^releasedFlag == 0) {
			t.Errorf("a flight with the flags %#x: error %v", b, err)
		}
	}
}
