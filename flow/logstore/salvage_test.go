package logstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

func TestSalvageOfASoundStoreReturnsAllOfIt(t *testing.T) {
	d, want := sample(t, true)
	before := d.files()
	got, damage, err := salvage(d, "disk")
	if err != nil || damage.Total != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", damage, err)
	}
	if !slices.Equal(d.files(), before) {
		t.Error("the store has changed")
	}
}

// fragments returns a disk with one segment and five publications in five commits, and the place
// of each commit.
func fragments(t *testing.T) (d *disk, at []int64) {
	t.Helper()
	d = newDisk()
	s := newStore("disk", nil)
	if err := s.load(d); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	for seq := range uint64(5) {
		mustCommit(t, s, accepted(seq+1, "sound"), flow.Change{Kind: flow.Received, ID: uint16(seq + 1)}, accepted(seq+11, "behind"))
		at = append(at, s.head.last)
	}
	mustClose(t, s)
	return d, at
}

func TestSalvageReturnsTheSoundPartAndListsTheDamage(t *testing.T) {
	for name, row := range map[string]struct {
		offset int64 // of the damaged byte in the third commit
		seqs   []uint64
		ids    []uint16
	}{
		"header":             {16, []uint64{1, 2, 4, 5, 11, 12, 14, 15}, []uint16{1, 2, 4, 5}},
		"first publication":  {frameHeader + 25, []uint64{1, 2, 4, 5, 11, 12, 14, 15}, []uint16{1, 2, 4, 5}},
		"second publication": {frameHeader + 50, []uint64{1, 2, 3, 4, 5, 11, 12, 14, 15}, []uint16{1, 2, 4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			d, at := fragments(t)
			d.names[segmentName(1)].shown[at[2]+row.offset] ^= 1
			snap, damage, err := salvage(d, "disk")
			if err != nil {
				t.Fatal(err)
			}
			var seqs []uint64
			for _, p := range snap.Publications {
				seqs = append(seqs, p.Seq)
			}
			if !slices.Equal(seqs, row.seqs) || !slices.Equal(snap.Received, row.ids) || snap.Owner != "a" {
				t.Errorf("publications %d, identifiers %d, owner %q", seqs, snap.Received, snap.Owner)
			}
			if damage.Total != 2 || damage.Places[0].Offset != at[2] || !strings.Contains(damage.Places[1].Reason, "has 10 publications") {
				t.Errorf("damage %v", damage)
			}
		})
	}
}

func TestSalvageWithoutASegmentReturnsTheOthers(t *testing.T) {
	whole, want := sample(t, true)
	names, _ := whole.list()
	for _, name := range names {
		for _, header := range []bool{false, true} {
			d := whole.copyOf()
			if header {
				d.names[name].shown[20] ^= 1
			} else {
				delete(d.names, name)
			}
			snap, damage, err := salvage(d, "disk")
			if len(d.names) == 0 {
				continue
			}
			if err != nil || damage.Total == 0 || len(snap.Publications) == 0 {
				t.Errorf("%s: %d publications, damage %v, %v", name, len(snap.Publications), damage, err)
			}
			for _, p := range snap.Publications {
				i := slices.IndexFunc(want.Publications, func(w flow.Publication) bool { return w.Seq == p.Seq })
				if i >= 0 && !reflect.DeepEqual(p.Message, want.Publications[i].Message) {
					t.Errorf("%s: publication %d is another", name, p.Seq)
				}
			}
		}
	}
}

func TestSalvageChangesNothingAndRefusesAnOpenStore(t *testing.T) {
	path := newPath(t)
	if _, _, err := Salvage(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	s := mustOpen(t, path, nil)
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "x"))
	if _, _, err := Salvage(path); !errors.Is(err, flow.ErrInUse) {
		t.Errorf("an open store: %v", err)
	}
	mustClose(t, s)
	name := filepath.Join(path, segmentName(1))
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	snap, damage, err := Salvage(path)
	if err != nil || damage != nil || len(snap.Publications) != 1 {
		t.Errorf("%+v, %v, %v", snap, damage, err)
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("the segment has changed, %v", err)
	}
	if err := Create(path+"2", snap, nil); err != nil {
		t.Fatal(err)
	}
	if again, err := load(path+"2", nil); err != nil || !reflect.DeepEqual(again, snap) {
		t.Errorf("%+v, %v", again, err)
	}
}
