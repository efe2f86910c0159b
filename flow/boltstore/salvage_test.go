package boltstore

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

func TestSalvageOfASoundStoreReturnsAllOfIt(t *testing.T) {
	path, want := rich(t)
	before := read(t, path)
	if snap, damage, err := Salvage(path); err != nil || damage != nil || !reflect.DeepEqual(snap, want) {
		t.Errorf("%+v, %v, %v", snap, damage, err)
	}
	if !bytes.Equal(read(t, path), before) {
		t.Error("the file has changed")
	}
}

func TestSalvageReturnsTheSoundRecordsAndListsTheDamagedOnes(t *testing.T) {
	path, want := large(t)
	content := read(t, path)
	for at := 0; ; { // the file also has copies in free pages
		n := bytes.Index(content[at:], []byte("payload "+strings.Repeat("0", 97)+"201"))
		if n < 0 {
			break
		}
		at += n + 1
		content[at-1] = 'P'
	}
	write(t, path, content)
	snap, damage, err := Salvage(path)
	if err != nil || damage == nil || damage.Total != 1 || keyNumber(damage.Places[0].Key) != 202 {
		t.Fatalf("damage %v, %v", damage, err)
	}
	if len(snap.Publications) != len(want.Publications)-1 || len(snap.Received) != len(want.Received) || snap.Owner != "a" {
		t.Errorf("%d publications, %d identifiers, owner %q", len(snap.Publications), len(snap.Received), snap.Owner)
	}
}

// Whatever is overwritten, each publication that comes back is as it was accepted.
func TestSalvageReturnsNoWrongMessage(t *testing.T) {
	path, want := large(t)
	content := read(t, path)
	messages := make(map[uint64]flow.Publication)
	for _, p := range want.Publications {
		messages[p.Seq] = p
	}
	size, partial := os.Getpagesize(), 0
	for at := 0; at < len(content); at += size {
		broken := bytes.Clone(content)
		for i := range size {
			broken[at+i] = byte(rand.Uint32())
		}
		write(t, path, broken)
		snap, damage, err := Salvage(path)
		if err != nil {
			t.Fatalf("page at %d: %v", at, err)
		}
		if damage == nil && !reflect.DeepEqual(snap, want) {
			t.Errorf("page at %d: another snapshot without damage", at)
		}
		if n := len(snap.Publications); n > 0 && n < len(want.Publications) {
			partial++
		}
		for _, p := range snap.Publications {
			if w := messages[p.Seq]; damage != nil && damage.Places[0].Bucket != "" && !reflect.DeepEqual(p.Message, w.Message) {
				t.Fatalf("page at %d: publication %d is another", at, p.Seq)
			}
		}
	}
	if partial < 3 {
		t.Errorf("%d parts came back", partial)
	}
}

func TestSalvageRefusesAFileThatIsOpenMissingOrForeign(t *testing.T) {
	path := newPath(t)
	if _, _, err := Salvage(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	s := mustOpen(t, path, nil)
	if _, _, err := Salvage(path); !errors.Is(err, flow.ErrInUse) {
		t.Errorf("an open file: %v", err)
	}
	mustClose(t, s)
	write(t, path, []byte(strings.Repeat("to whom it may concern\n", 1000)))
	if _, _, err := Salvage(path); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign file: %v", err)
	}
}
