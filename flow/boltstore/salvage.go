//go:build !wasm

package boltstore

import (
	"errors"
	"fmt"
	"os"

	"github.com/go-millrace/mqtt/flow"
)

// Salvage reads the sound part of a damaged store, and lists the damage, which is nil if there is
// none. It changes nothing. The store must not be open; [Open] never uses the result.
//
// Use the result with care. Where pages are lost, publications and received identifiers are
// missing, and a publication whose progress is lost comes back as it was accepted: a message may be
// sent again although it arrived, and even a QoS 2 message may arrive twice. The function Create of
// package logstore makes a store of the result.
//
// The error is [flow.ErrInUse], [ErrForeign], a [*FormatError] or an error of the system.
func Salvage(path string) (snap flow.Snapshot, damage *DamageError, err error) {
	f, err := os.Open(path)
	if err != nil {
		return snap, nil, fmt.Errorf("boltstore: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s := &Store{path: path}
	if err := s.lock(f); err != nil {
		return snap, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return snap, nil, fmt.Errorf("boltstore: %w", err)
	}
	read := func(salvage bool) (*content, error) {
		c := &content{im: &image{r: f, size: info.Size(), path: path}, keep: true, salvage: salvage}
		return c, c.read(salvage)
	}
	c, err := read(false)
	if err == nil {
		return c.snap, nil, nil
	}
	if !errors.As(err, &damage) {
		return snap, nil, err
	}
	if c, err = read(true); err != nil {
		later := new(DamageError)
		if !errors.As(err, &later) {
			return snap, nil, err
		}
		if damage.Total < later.Total { // the first reader stops where only one header page is damaged
			damage = later
		}
	}
	return c.snap, damage, nil
}
