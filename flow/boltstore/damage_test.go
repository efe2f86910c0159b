package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// check opens a file with changed content. Open must either reject the file without a change, or
// accept it with the snapshot want. In one of 20 cases check also commits to an accepted file and
// reads the file again.
func check(t *testing.T, what, path string, content []byte, want flow.Snapshot) (refused bool) {
	t.Helper()
	write(t, path, content)
	s, err := Open(path, &Options{NoSync: true})
	if err != nil {
		if !bytes.Equal(read(t, path), content) {
			t.Fatalf("%s: rejected and changed: %v", what, err)
		}
		return true
	}
	defer s.Close()
	snap, err := s.Attach("a")
	if err != nil || !reflect.DeepEqual(snap, want) {
		t.Fatalf("%s: another snapshot, %v", what, err)
	}
	if rand.IntN(20) > 0 {
		return false
	}
	extra := make([]flow.Change, 3)
	for i := range extra {
		extra[i] = accepted(1_000_000+uint64(i), strings.Repeat("y", 3000))
		mustCommit(t, s, extra[i])
		want.Publications = append(want.Publications[:len(want.Publications):len(want.Publications)],
			flow.Publication{Seq: extra[i].Seq, Message: extra[i].Message})
	}
	mustClose(t, s)
	if snap, err = load(path, nil); err != nil || !reflect.DeepEqual(snap, want) {
		t.Fatalf("%s: another snapshot after commits, %v", what, err)
	}
	return false
}

func flips(t *testing.T, path string, want flow.Snapshot, bit func() byte, next func(int) int) {
	t.Helper()
	content := read(t, path)
	refused, tried := 0, 0
	for i := 0; i < len(content); i = next(i) {
		was := content[i]
		content[i] ^= bit()
		tried++
		if check(t, fmt.Sprintf("byte %d from %#x to %#x", i, was, content[i]), path, content, want) {
			refused++
		}
		content[i] = was
	}
	t.Logf("%d bytes, %d changed, %d rejected", len(content), tried, refused)
	if refused == 0 || refused == tried {
		t.Error("none or all were rejected")
	}
}

// D2
func TestNoFlippedByteMakesAWrongSession(t *testing.T) {
	for name, make := range map[string]func(testing.TB) (string, flow.Snapshot){"format 1": sample, "format 2": rich} {
		t.Run(name, func(t *testing.T) {
			path, want := make(t)
			flipEach(t, path, want)
		})
	}
}

// D2: bbolt frees the page whose number is in the page of a small bucket, at the next commit.
func TestAPageNumberInASmallBucketIsDamage(t *testing.T) {
	path, want := sample(t)
	content := read(t, path)
	im := &image{r: bytes.NewReader(content), size: int64(len(content)), path: path}
	if err := im.header(false); err != nil {
		t.Fatal(err)
	}
	small := 0
	im.tree(im.meta.root, nil, nil, 0, func(_ uint32, key, value []byte, offset int64) {
		if native.Uint64(value) != 0 {
			return
		}
		small++
		for i := range int64(pageHeader) {
			broken, at := bytes.Clone(content), offset+bucketHeader+i
			if i >= 8 && i < 12 { // the kind and the number of entries
				continue
			}
			if broken[at] ^= 4; !check(t, fmt.Sprintf("byte %d of %s", at, key), path, broken, want) {
				t.Errorf("bucket %s with byte %d of its page changed is accepted", key, i)
			}
		}
	})
	if small == 0 {
		t.Error("the store has no small bucket")
	}
}

func flipEach(t *testing.T, path string, want flow.Snapshot) {
	t.Helper()
	content := read(t, path)
	used := content[:bytes.LastIndexFunc(content, func(r rune) bool { return r != 0 })+1] // the zeros at the end are unused space
	flips(t, path, want, func() byte { return byte(1 + rand.IntN(255)) }, func(i int) int {
		for i++; i < len(used) && content[i] == 0 && i%16 != 0; i++ { // in a sequence of zeros, test one byte of 16
		}
		if i >= len(used) {
			return len(content)
		}
		return i
	})
}

// D2
func TestNoFlippedByteInALargeTreeMakesAWrongSession(t *testing.T) {
	path, want := large(t)
	flips(t, path, want, func() byte { return 1 << rand.IntN(8) }, func(i int) int { return i + 1 + rand.IntN(400) })
}

// D2
func TestNoPageThatIsLostOrStrayMakesAWrongSession(t *testing.T) {
	path, want := large(t)
	content := read(t, path)
	size := os.Getpagesize()
	for at := 0; at < len(content); at += size {
		for what, page := range map[string][]byte{
			"zeros":         make([]byte, size),
			"ones":          bytes.Repeat([]byte{0xFF}, size),
			"the next page": content[min(at+size, len(content)-size):][:size],
			"an old page":   content[size*2:][:size],
		} {
			broken := bytes.Clone(content)
			copy(broken[at:], page)
			check(t, fmt.Sprintf("%s at %d", what, at), path, broken, want)
		}
	}
}

// D3
func TestNoTruncatedFileMakesAWrongSession(t *testing.T) {
	for name, make := range map[string]func(testing.TB) (string, flow.Snapshot){"small": sample, "format 2": rich, "large": large} {
		t.Run(name, func(t *testing.T) {
			path, want := make(t)
			content := read(t, path)
			refused := 0
			for n := 1; n < len(content); n = n/512*512 + 512 {
				if check(t, fmt.Sprintf("%d bytes", n), path, content[:n], want) {
					refused++
				}
			}
			if refused < 10 {
				t.Errorf("%d rejected", refused)
			}
		})
	}
}

func TestEachDamagedRecordIsNamedWithItsPlace(t *testing.T) {
	path, _ := large(t)
	content := read(t, path)
	at := make(map[uint64]int64)
	for i := range uint64(400) {
		payload := fmt.Appendf(nil, "payload %0100d", i)
		for n := bytes.Index(content, payload); n >= 0; n = bytes.Index(content, payload) {
			content[n] = 'P'
			at[i+1] = int64(n)
		}
	}
	write(t, path, content)
	_, err := Open(path, nil)
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("error %v", err)
	}
	if damage.Path != path || len(damage.Places) != maxPlaces || damage.Total < 2*maxPlaces ||
		!strings.Contains(err.Error(), fmt.Sprintf("and %d more", damage.Total-maxPlaces)) {
		t.Errorf("%s, %d of %d: %v", damage.Path, len(damage.Places), damage.Total, err)
	}
	for _, d := range damage.Places {
		if d.Bucket != publicationsBucket || len(d.Key) != 8 || at[keyNumber(d.Key)] == 0 || d.Reason != errChecksum.Error() ||
			!bytes.HasPrefix(content[d.Offset+publicationSize:], []byte("topicP")) {
			t.Errorf("%+v", d)
		}
	}
}

func TestAfterDamageWhileItIsOpenAttachRefuses(t *testing.T) {
	path, want := sample(t)
	s := mustOpen(t, path, nil)
	content := read(t, path)
	for at := 0; ; { // the file also has copies in free pages
		n := bytes.Index(content[at:], []byte("second"))
		if n < 0 {
			break
		}
		at += n + 1
		if _, err := s.file.WriteAt([]byte("S"), int64(at-1)); err != nil {
			t.Fatal(err)
		}
	}
	var damage *DamageError
	if _, err := s.Attach("a"); !errors.As(err, &damage) || damage.Total != 1 || damage.Path != path {
		t.Errorf("error %v", err)
	}
	if _, err := s.file.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if snap := mustAttach(t, s); !reflect.DeepEqual(snap, want) {
		t.Errorf("%+v", snap)
	}
}

func TestFallbackOpensAtTheStateOfTheGoodHeaderPage(t *testing.T) {
	path, want := sample(t)
	content := read(t, path)
	newest, other := 0, os.Getpagesize()
	a, _, _ := parseMeta(content)
	if b, _, _ := parseMeta(content[other:]); b.txid > a.txid {
		newest, other = other, newest
	}
	for at, last := range map[int]bool{newest: false, other: true} {
		broken := bytes.Clone(content)
		broken[at+pageHeader+60] ^= 1
		write(t, path, broken)
		var damage *DamageError
		if _, err := Open(path, nil); !errors.As(err, &damage) || damage.Places[0].Offset != int64(at) {
			t.Errorf("without Fallback: error %v", err)
		}
		s := mustOpen(t, path, &Options{Fallback: true})
		snap := mustAttach(t, s)
		if same := fmt.Sprint(snap) == fmt.Sprint(want); same != last {
			t.Errorf("damaged at %d: %+v", at, snap)
		}
		if len(snap.Publications) != 2 || snap.Publications[0].Released != last {
			t.Errorf("damaged at %d: %+v", at, snap)
		}
		mustCommit(t, s, accepted(10, "x")) // rewrites the damaged header page
		mustClose(t, s)
		if snap, err := load(path, nil); err != nil || len(snap.Publications) != 3 {
			t.Errorf("after a commit: %+v, %v", snap, err)
		}
	}
}
