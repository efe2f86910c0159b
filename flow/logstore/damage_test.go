package logstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// sample returns a disk with several segments, whose store was closed, and its content.
func sample(t testing.TB, closed bool) (*disk, flow.Snapshot) {
	t.Helper()
	d := newDisk()
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	rich := accepted(1, "stays")
	rich.Message.Properties, rich.Deadline = &frames.Properties{ContentType: "text", Text: true}, someTime
	mustCommit(t, s, rich, opened(""), flow.Change{Kind: flow.Received, ID: 3})
	for seq := uint64(2); seq < 14; seq++ {
		changes := []flow.Change{accepted(seq, strings.Repeat("x", 400)), {Kind: flow.Assigned, Seq: seq - 1, ID: uint16(seq)}}
		if seq > 7 && seq%3 == 0 {
			changes = append(changes, flow.Change{Kind: flow.Completed, Seq: seq - 4}, flow.Change{Kind: flow.Released, Seq: seq - 2})
		}
		mustCommit(t, s, changes...)
	}
	snap, err := readSnapshot(s.dir, s.index, damage)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.index.segments) < 2 {
		t.Fatalf("%d segments", len(s.index.segments))
	}
	if closed {
		mustClose(t, s)
	}
	return d, snap
}

// copyOf returns a disk with the same files.
func (d *disk) copyOf() *disk {
	out := newDisk()
	for name, n := range d.names {
		c := &inode{shown: bytes.Clone(n.shown), stored: bytes.Clone(n.shown), dirty: make(map[int]bool)}
		out.names[name], out.stored[name] = c, c
	}
	return out
}

// content returns the snapshot of a disk.
func (d *disk) content() (flow.Snapshot, error) {
	s, err := openDisk(d)
	if err != nil {
		return flow.Snapshot{}, err
	}
	return s.Attach("a")
}

// judge opens a damaged disk: the store must be rejected as damaged, or have the same content. A
// rejected disk must not change.
func judge(t *testing.T, what string, d *disk, want flow.Snapshot) (refused bool) {
	t.Helper()
	before := d.copyOf()
	snap, err := d.content()
	if err == nil {
		if !reflect.DeepEqual(snap, want) {
			t.Fatalf("%s: another snapshot", what)
		}
		return false
	}
	if !errors.As(err, new(*DamageError)) {
		t.Fatalf("%s: error %v", what, err)
	}
	if !slices.Equal(before.files(), d.files()) {
		t.Fatalf("%s: rejected and changed: %v", what, err)
	}
	return true
}

func (d *disk) files() (list []string) {
	names, _ := d.list()
	for _, name := range names {
		list = append(list, name, string(d.names[name].shown))
	}
	return list
}

// D2
func TestNoFlippedByteMakesAWrongSession(t *testing.T) {
	d, want := sample(t, true)
	refused, tried := 0, 0
	for name, n := range d.names {
		used := bytes.TrimRight(n.shown, "\x00")
		for at := 0; at < len(used); at++ {
			if tried++; used[at] == 'x' && at%16 > 0 { // in a payload, test one byte of 16
				continue
			}
			broken := d.copyOf()
			broken.names[name].shown[at] ^= byte(1 + rand.IntN(255))
			if judge(t, fmt.Sprintf("%s: byte %d", name, at), broken, want) {
				refused++
			}
		}
	}
	if refused == 0 || refused == tried {
		t.Errorf("%d of %d were rejected", refused, tried)
	}
}

// D3
func TestNoSegmentThatIsLostCutOrOverwrittenMakesAWrongSession(t *testing.T) {
	d, want := sample(t, true)
	refused := 0
	for name, n := range d.names {
		gone := d.copyOf()
		delete(gone.names, name)
		if judge(t, name+" is missing", gone, want) {
			refused++
		}
		used := len(bytes.TrimRight(n.shown, "\x00"))
		for at := 0; at < used-frameHeader-72; at += 64 { // the mark of Close stays, unless the file is cut
			cut := d.copyOf()
			cut.names[name].shown = cut.names[name].shown[:at]
			judged := judge(t, fmt.Sprintf("%s: cut at %d", name, at), cut, want)
			for what, patch := range map[string][]byte{"zeros": make([]byte, 64), "ones": bytes.Repeat([]byte{0xFF}, 64), "an old part": n.shown[100:164]} {
				over := d.copyOf()
				copy(over.names[name].shown[at:], patch)
				judge(t, fmt.Sprintf("%s: %s at %d", name, what, at), over, want)
			}
			if judged {
				refused++
			}
		}
	}
	if refused < 20 {
		t.Errorf("%d were rejected", refused)
	}
}

// A tear is at the end of the last segment, and nothing valid follows it.
func TestOnlyATornTailIsCut(t *testing.T) {
	d, want := sample(t, false)
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	mustCommit(t, s, accepted(50, "torn"))
	at, name := s.head.last, segmentName(s.head.number)
	for offset := at; offset < s.head.end-8; offset += 7 { // the frame ends with zeros
		torn := d.copyOf()
		torn.names[name].shown[offset] ^= 1
		if snap, err := torn.content(); err != nil || !reflect.DeepEqual(snap, want) {
			t.Fatalf("torn at %d: %+v, %v", offset-at, snap, err)
		}
		if err := errors.Join(again(torn, accepted(50, "torn"))); err != nil {
			t.Fatal(err)
		}
	}
	mustCommit(t, s, accepted(51, "follows"))
	broken := d.copyOf()
	broken.names[name].shown[at+frameHeader+30] ^= 1
	var damage *DamageError
	if _, err := broken.content(); !errors.As(err, &damage) || damage.Total != 1 || damage.Places[0].Offset != at ||
		damage.Places[0].File != name {
		t.Errorf("a valid frame follows: error %v", err)
	}
	clear(broken.names[name].shown[at:s.head.last]) // a hole, as if pages were lost
	if _, err := broken.content(); !errors.As(err, &damage) || damage.Places[0].Offset != at {
		t.Errorf("a valid frame follows a hole: error %v", err)
	}
}

// again opens a disk, commits a change and opens it once more.
func again(d *disk, change flow.Change) error {
	s, err := openDisk(d)
	if err != nil {
		return err
	}
	if _, err = s.Attach("a"); err != nil {
		return err
	}
	if err := s.Commit([]flow.Change{change}); err != nil {
		return err
	}
	snap, err := d.content()
	if err == nil && snap.Publications[len(snap.Publications)-1].Seq != change.Seq {
		err = errors.New("the commit after the tear is missing")
	}
	return err
}

// After Close, a damaged last commit is no tear.
func TestADamagedLastCommitOfAClosedStoreIsDamage(t *testing.T) {
	d := newDisk()
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "last"))
	at := s.head.last
	mustClose(t, s)
	d.names[segmentName(1)].shown[at+frameHeader+20] ^= 1
	if _, err := d.content(); !errors.As(err, new(*DamageError)) {
		t.Errorf("error %v", err)
	}
}

// A payload that has the bytes of frames, such as a copy of this log, is not taken for frames.
func TestAPayloadWithFramesIsNotTakenForFrames(t *testing.T) {
	d := newDisk()
	s := newStore("disk", nil)
	if err := s.load(d); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	for seq := range uint64(5) {
		mustCommit(t, s, accepted(seq, "x"))
	}
	want, err := readSnapshot(s.dir, s.index, damage)
	if err != nil {
		t.Fatal(err)
	}
	shown := d.names[segmentName(1)].shown
	end := s.head.end
	foreign := seal(append(make([]byte, frameHeader), byte(opCleared)), frame{number: 99, first: 1}, s.head.salt+1)
	for shift := range 8 {
		mustCommit(t, s, accepted(100+uint64(shift), strings.Repeat("-", shift)+string(shown[:end])+string(foreign)))
		torn := d.copyOf()
		torn.names[segmentName(1)].shown[s.head.last] ^= 1 // the header of the frame
		got, err := torn.content()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("shift %d: %d publications, %v", shift, len(got.Publications), err)
		}
		if want, err = readSnapshot(s.dir, s.index, damage); err != nil {
			t.Fatal(err)
		}
	}
}

// D5
func TestALaterFormatIsRefusedByNumber(t *testing.T) {
	d, _ := sample(t, true)
	names, _ := d.list()
	last := d.names[names[len(names)-1]]
	copy(last.shown, appendHeader(nil, header{format: 7, number: 99, salt: 1, frame: 0}))
	before := d.files()
	_, err := d.content()
	var format *FormatError
	if !errors.As(err, &format) || format.Format != 7 || format.Known != version || !strings.Contains(err.Error(), "7") {
		t.Error(err)
	}
	if !slices.Equal(d.files(), before) {
		t.Error("the store has changed")
	}
}

func TestManyDamagedPlacesAreCounted(t *testing.T) {
	d := newDisk()
	s := newStore("disk", nil)
	if err := s.load(d); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	for i := range uint64(60) {
		mustCommit(t, s, accepted(i+1, "x"))
		if i%2 == 0 {
			d.names[segmentName(1)].shown[s.head.last+60] ^= 1
		}
	}
	_, err := d.content()
	var damage *DamageError
	if !errors.As(err, &damage) || len(damage.Places) != maxPlaces || damage.Total != 30 || !strings.Contains(err.Error(), "and 14 more") {
		t.Errorf("error %v", err)
	}
}

func TestAfterDamageWhileItIsOpenAttachRefuses(t *testing.T) {
	d, _ := sample(t, false)
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range d.names {
		if at := bytes.Index(n.shown, []byte("stays")); at >= 0 {
			n.shown[at] ^= 1
		}
	}
	var damage *DamageError
	if _, err := s.Attach("a"); !errors.As(err, &damage) || damage.Total != 1 || damage.Path != "disk" {
		t.Errorf("error %v", err)
	}
}
