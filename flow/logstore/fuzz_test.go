package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// If bytes of a store are overwritten, reading returns the original session or damage. A damaged
// last commit is cut, therefore the store was closed.
func FuzzOpenOfADamagedStore(f *testing.F) {
	d, want := sample(f, true)
	names, _ := d.list()
	last := names[len(names)-1]
	mark := (len(bytes.TrimRight(d.names[last].shown, "\x00"))+7)&^7 - frameHeader
	f.Add(uint8(0), uint16(0), []byte("x"))
	f.Add(uint8(1), uint16(segmentHeader+8), []byte{0xFF, 0xFF, 0, 1})
	f.Add(uint8(0), uint16(segmentHeader), make([]byte, frameHeader))
	f.Fuzz(func(t *testing.T, segment uint8, at uint16, patch []byte) {
		broken := d.copyOf()
		name := names[int(segment)%len(names)]
		n := broken.names[name]
		from := int(at) % len(n.shown)
		if name == last && from < mark && from+len(patch) > mark {
			return // the last commit and the mark of Close together look like a tear
		}
		copy(n.shown[from:], patch)
		snap, err := broken.content()
		if err == nil && !reflect.DeepEqual(snap, want) {
			t.Errorf("%+v", snap)
		}
		if err != nil && !errors.As(err, new(*DamageError)) && !errors.As(err, new(*FormatError)) {
			t.Error(err)
		}
	})
}

// FuzzOpen gives the reader frames with valid checksums and any body.
func FuzzOpen(f *testing.F) {
	base := newIndex().appendBase(nil)
	record, err := appendPublication([]byte{byte(opPublication)}, &flow.Change{Seq: 1, Message: accepted(1, "x").Message}, flight{7, true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record, uint64(1), uint64(1), []byte("tail"))
	f.Add(appendProgress(appendCompleted(nil, 3), 4, flight{1, true}), uint64(0), uint64(0), []byte{})
	f.Add([]byte{byte(opOwner), 0, 1, 'a', byte(opCleared), byte(opReceived), 0, 5}, uint64(0), uint64(0), seal(make([]byte, frameHeader), frame{number: 3, first: 1}, 5))
	f.Fuzz(func(t *testing.T, body []byte, count, sum uint64, tail []byte) {
		if len(body)+len(tail) > 1<<16 {
			return
		}
		content := appendHeader(nil, header{format: version, number: 1, salt: 5, frame: 1})
		content = append(content, seal(append(make([]byte, frameHeader), base...), frame{number: 1, first: 1}, 5)...)
		content = append(content, seal(append(make([]byte, frameHeader), body...), frame{number: 2, first: 1, tally: tally{count, sum}}, 5)...)
		content = append(append(content, tail...), make([]byte, 256)...)
		d := newDisk()
		n := &inode{shown: content, stored: bytes.Clone(content), dirty: make(map[int]bool)}
		d.names[segmentName(1)], d.stored[segmentName(1)] = n, n
		s, err := openDisk(d)
		if err != nil {
			if !errors.As(err, new(*DamageError)) {
				t.Error(err)
			}
			return
		}
		snap, err := s.Attach("")
		if err != nil {
			t.Fatal(err)
		}
		if err := again(d, accepted(1<<63, "y")); err != nil && !errors.As(err, new(*flow.OwnerError)) {
			if last := snap.Publications; len(last) == 0 || last[len(last)-1].Seq < 1<<63 {
				t.Error(err)
			}
		}
	})
}

// A record is rejected, or comes back the same.
func FuzzRecordIsRefusedOrComesBackTheSame(f *testing.F) {
	record, err := appendPublication(nil, &flow.Change{Seq: 1, Message: accepted(1, "x").Message, Deadline: someTime}, flight{7, true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Fuzz(func(t *testing.T, record []byte) {
		if len(record) >= publicationSize { // make the size and the checksum valid
			binary.BigEndian.PutUint32(record[4:], uint32(len(record)))
			setFlight(record, flight{binary.BigEndian.Uint16(record[17:]), record[16]&releasedFlag != 0})
		}
		p, _, err := parsePublication(record)
		if err != nil {
			return
		}
		r, err := p.restore()
		if err != nil {
			return
		}
		r.Message.Topic = string(p.topic)
		c := flow.Change{Seq: r.Seq, Message: r.Message, Deadline: r.Deadline}
		second, err := appendPublication(nil, &c, p.flight)
		if err != nil {
			return // the packet rules are stricter
		}
		q, _, err := parsePublication(second)
		if err != nil {
			t.Fatal(err)
		}
		same, err := q.restore()
		if err != nil {
			t.Fatal(err)
		}
		if same.Message.Topic = string(q.topic); !reflect.DeepEqual(same, r) {
			t.Errorf("%+v becomes %+v", r, same)
		}
	})
}
