//go:build !wasm

package logstore

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/boltstore"
)

func TestImportTakesTheSessionOfABoltstore(t *testing.T) {
	path := newPath(t)
	old, err := boltstore.Open(path+".db", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := old.Attach("a"); err != nil {
		t.Fatal(err)
	}
	expiring := accepted(2, "expires")
	expiring.Deadline = someTime
	if err := old.Commit([]flow.Change{opened(""), accepted(1, "x"), expiring, {Kind: flow.Assigned, Seq: 1, ID: 7},
		{Kind: flow.Released, Seq: 1}, {Kind: flow.Received, ID: 3}, {Kind: flow.Received, ID: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := Import(path, old, nil); !errors.Is(err, flow.ErrInUse) {
		t.Errorf("while a client uses the old store: %v", err)
	}
	_ = old.Detach()
	want, err := old.Attach("a")
	if err != nil {
		t.Fatal(err)
	}
	_ = old.Detach()
	if err := Import(path, old, nil); err != nil {
		t.Fatal(err)
	}
	got, err := load(path, nil)
	if err != nil || !reflect.DeepEqual(got, want) || got.Owner != "a" {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if err := Import(path, old, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second time: %v", err)
	}
	if got, err := load(path, nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after the second time: %+v, %v", got, err)
	}
	var owner *flow.OwnerError
	s := mustOpen(t, path, nil)
	if _, err := s.Attach("b"); !errors.As(err, &owner) || owner.Owner != "a" {
		t.Errorf("another client: %v", err)
	}
}

// An imported session is there as a whole or not at all.
func TestCreateIsOneCommit(t *testing.T) {
	d := newDisk()
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	next := s.head.next
	if err := s.fill(flow.Snapshot{Owner: "a", Publications: []flow.Publication{{Seq: 1, Message: accepted(1, "x").Message}, {Seq: 2, Message: accepted(2, "y").Message}},
		Received: []uint16{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	if s.head.next != next+1 {
		t.Errorf("%d frames", s.head.next-next)
	}
}
