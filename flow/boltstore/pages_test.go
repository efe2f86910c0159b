package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
)

// Each page is valid by itself but in the wrong place. The checksums of the records do not reveal
// this.
func TestNoSoundPageInTheWrongShapeMakesAWrongSession(t *testing.T) {
	path, want := large(t)
	content, size := read(t, path), os.Getpagesize()
	live, _, _ := parseMeta(content)
	if other, _, _ := parseMeta(content[size:]); other.txid > live.txid {
		live = other
	}
	refusals := map[string]int{}
	try := func(what string, id int, change func(page []byte)) {
		broken := bytes.Clone(content)
		change(broken[id*size:])
		if check(t, fmt.Sprintf("%s, page %d", what, id), path, broken, want) {
			refusals[what]++
		}
	}
	for id := 2; id < int(live.high); id++ {
		page := content[id*size:]
		count := native.Uint16(page[10:])
		if count < 3 {
			continue
		}
		try("an entry less", id, func(p []byte) { native.PutUint16(p[10:], count-1) })
		if native.Uint16(page[8:]) == branchPage {
			first, second := pageHeader+8, pageHeader+elementSize+8
			try("two children change places", id, func(p []byte) {
				a, b := native.Uint64(p[first:]), native.Uint64(p[second:])
				native.PutUint64(p[first:], b)
				native.PutUint64(p[second:], a)
			})
			try("one child twice", id, func(p []byte) { native.PutUint64(p[second:], native.Uint64(p[first:])) })
		}
	}
	if len(refusals) != 3 {
		t.Errorf("rejected: %v", refusals)
	}

	// In the list of free pages a page is missing, in use, or listed twice.
	list := content[int(live.freelist)*size:]
	free := native.Uint16(list[10:])
	for what, change := range map[string]func(list []byte){
		"lacks one":     func(list []byte) { native.PutUint16(list[10:], free-1) },
		"has a root":    func(list []byte) { native.PutUint64(list[pageHeader:], live.root) },
		"has one twice": func(list []byte) { copy(list[pageHeader:], list[pageHeader+8:][:8]) },
		"has a header page": func(list []byte) {
			copy(list[pageHeader+8:], bytes.Clone(list[pageHeader:][:8*free]))
			native.PutUint64(list[pageHeader:], 1)
			native.PutUint16(list[10:], free+1)
		},
		"has more than its end": func(list []byte) { native.PutUint64(list[pageHeader:], live.high) },
		"has another kind":      func(list []byte) { native.PutUint16(list[8:], freelistPage|leafPage) },
		"has an endless count": func(list []byte) {
			native.PutUint16(list[10:], 0xFFFF)
			native.PutUint64(list[pageHeader:], 1<<61)
		},
	} {
		broken := bytes.Clone(content)
		change(broken[int(live.freelist)*size:])
		if !check(t, what, path, broken, want) {
			t.Errorf("a list of free pages that %s was accepted", what)
		}
		var damage *DamageError // bbolt has not seen the file
		if _, err := Open(path, nil); !errors.As(err, &damage) {
			t.Errorf("a list of free pages that %s: %v", what, err)
		}
	}
}
