package boltstore

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// node is a page of a tree that a test builds: a branch with keys and the pages below them, or a
// leaf with keys and no values.
type node struct {
	kind  uint16
	keys  []string
	below []uint64
}

func leafOf(keys ...string) node { return node{kind: leafPage, keys: keys} }

func branchOf(keys []string, below ...uint64) node {
	return node{kind: branchPage, keys: keys, below: below}
}

// build returns an image whose pages from 2 on are the nodes.
func build(nodes []node) *image {
	const size = minPageSize
	file := make([]byte, (2+len(nodes))*size)
	for i, n := range nodes {
		page := file[(2+i)*size:][:size]
		native.PutUint64(page, uint64(2+i))
		native.PutUint16(page[8:], n.kind)
		native.PutUint16(page[10:], uint16(len(n.keys)))
		end := pageHeader + len(n.keys)*elementSize
		for k, key := range n.keys {
			at := pageHeader + k*elementSize
			e := page[at:]
			if n.below != nil {
				native.PutUint64(e[8:], n.below[k])
			} else {
				e = e[4:] // the flags
			}
			native.PutUint32(e, uint32(end-at))
			native.PutUint32(e[4:], uint32(len(key)))
			end += copy(page[end:], key)
		}
	}
	return &image{
		r: bytes.NewReader(file), size: int64(len(file)), seen: make([]bool, 2+len(nodes)),
		meta: meta{pageSize: size, root: 2, high: uint64(2 + len(nodes))},
	}
}

// walk returns the keys in the tree and the reasons of its damages.
func walk(nodes []node) (keys, damages string) {
	im := build(nodes)
	var found, reasons []string
	im.tree(im.meta.root, nil, nil, 0, func(_ uint32, key, _ []byte, _ int64) { found = append(found, string(key)) })
	for _, d := range im.damage.Places {
		reasons = append(reasons, d.Reason)
	}
	return strings.Join(found, " "), strings.Join(reasons, "; ")
}

// sound is a tree with two levels of branches.
func sound() []node {
	return []node{
		branchOf([]string{"b", "m"}, 3, 4),
		branchOf([]string{"b", "f"}, 5, 6),
		branchOf([]string{"m", "q"}, 7, 8),
		leafOf("b", "d"), leafOf("f", "h"), leafOf("m", "o"), leafOf("q", "s"),
	}
}

func TestATreeIsReadInTheOrderOfItsKeys(t *testing.T) {
	if keys, damages := walk(sound()); keys != "b d f h m o q s" || damages != "" {
		t.Errorf("keys %s, damages %s", keys, damages)
	}
}

// U-T. bbolt finds a key only where the branches above it lead to.
func TestNoKeyThatTheBranchesDoNotLeadToIsAccepted(t *testing.T) {
	const branchOrder, keyOrder = "a branch of the tree is out of order", "its key is out of order"
	const branchBegin = "a branch of the tree is empty or out of order"
	tests := []struct {
		name string
		page int
		node node
		want string
	}{
		{"a branch begins below the key that leads to it", 4, branchOf([]string{"k", "q"}, 7, 8), branchBegin},
		{"a branch goes on past its limit", 3, branchOf([]string{"b", "m"}, 5, 6), branchOrder},
		{"a branch has a key twice", 4, branchOf([]string{"m", "m"}, 7, 8), branchOrder},
		{"a branch descends", 2, branchOf([]string{"m", "b"}, 4, 3), branchOrder},
		{"a branch is empty", 3, branchOf(nil), branchBegin},
		{"a leaf begins below the key that leads to it", 8, leafOf("p", "s"), keyOrder},
		{"a leaf begins below the key that leads to its branch", 7, leafOf("i", "o"), keyOrder},
		{"a leaf goes on past its limit", 5, leafOf("b", "g"), keyOrder},
		{"a leaf has a key twice", 5, leafOf("b", "b"), keyOrder},
		{"a leaf descends", 8, leafOf("s", "q"), keyOrder},
		{"a key is empty", 8, leafOf(""), "an entry does not fit its page"},
		{"a key of a branch is empty", 2, branchOf([]string{"", "m"}, 3, 4), "an entry does not fit its page"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes := sound()
			nodes[tt.page-2] = tt.node
			keys, damages := walk(nodes)
			if damages != tt.want {
				t.Errorf("keys %s, damages %q, want %q", keys, damages, tt.want)
			}
			if strings.Contains(keys, "g") {
				t.Errorf("keys %s: a leaf goes on past its limit", keys)
			}
		})
	}
}

func TestNoPageOfAnotherKindIsPartOfATree(t *testing.T) {
	for _, kind := range []uint16{0, leafPage | branchPage, 4, freelistPage, leafPage | freelistPage, leafPage | 0x8000} {
		for page := 2; page <= 8; page++ {
			nodes := sound()
			nodes[page-2].kind = kind
			if _, damages := walk(nodes); !strings.Contains(damages, fmt.Sprintf("page %d in the tree has the wrong kind %#x", page, kind)) {
				t.Errorf("page %d of kind %#x: damages %q", page, kind, damages)
			}
		}
	}
}

func TestATreeOfEndlessDepthIsRefused(t *testing.T) {
	var nodes []node
	for i := range uint64(maxDepth + 2) {
		nodes = append(nodes, branchOf([]string{"a"}, 3+i))
	}
	if _, damages := walk(nodes); damages != "the tree is too deep" {
		t.Errorf("damages %q", damages)
	}
	nodes[1].below[0] = 2
	if _, damages := walk(nodes[:2]); damages != "page 2 is used twice" {
		t.Errorf("a circle: damages %q", damages)
	}
}

// U-T. Flags that bbolt does not set mean a later format or damage, also where all else is valid.
func TestNoEntryWithUnknownFlagsIsAccepted(t *testing.T) {
	for name, file := range map[string]func(testing.TB) (string, flow.Snapshot){"small": sample, "large": large} {
		path, want := file(t)
		content, size := read(t, path), os.Getpagesize()
		live, _, _ := parseMeta(content)
		if other, _, _ := parseMeta(content[size:]); other.txid > live.txid {
			live = other
		}
		var free []uint64
		list := content[int(live.freelist)*size:]
		for i := range int(native.Uint16(list[10:])) {
			free = append(free, native.Uint64(list[pageHeader+8*i:]))
		}
		tried := 0
		for id := uint64(2); id < live.high; id++ {
			at := int(id) * size
			if slices.Contains(free, id) || native.Uint16(content[at+8:]) != leafPage || native.Uint16(content[at+10:]) == 0 {
				continue
			}
			flags := at + pageHeader // of the first entry
			was := native.Uint32(content[flags:])
			for _, now := range []uint32{0, 1, 2, 3, 1 << 31} {
				broken := bytes.Clone(content)
				native.PutUint32(broken[flags:], now)
				if now != was && !check(t, fmt.Sprintf("flags %#x at %d", now, flags), path, broken, want) {
					t.Errorf("%s: accepted flags %#x in place of %#x at %d", name, now, was, flags)
				}
				tried++
			}
		}
		if tried == 0 {
			t.Errorf("%s: no leaf was found", name)
		}
	}
}

// A small bucket has its page inside its entry in the root bucket.
func TestNoBucketWithoutALeafPageIsAccepted(t *testing.T) {
	path, want := sample(t)
	content := read(t, path)
	im := &image{r: bytes.NewReader(content), size: int64(len(content))}
	if err := im.header(false); err != nil {
		t.Fatal(err)
	}
	var inline []int64 // the offsets of the pages
	im.tree(im.meta.root, nil, nil, 0, func(_ uint32, _, value []byte, offset int64) {
		if native.Uint64(value) == 0 {
			inline = append(inline, offset+bucketHeader)
		}
	})
	if len(inline) == 0 {
		t.Fatal("no bucket has its page inside")
	}
	for _, at := range inline {
		for _, kind := range []uint16{0, branchPage, leafPage | branchPage, 4} {
			broken := bytes.Clone(content)
			native.PutUint16(broken[at+8:], kind)
			if !check(t, fmt.Sprintf("kind %#x at %d", kind, at), path, broken, want) {
				t.Errorf("accepted kind %#x at %d", kind, at)
			}
		}
	}
}
