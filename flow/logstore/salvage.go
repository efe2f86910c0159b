package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-millrace/mqtt/flow"
)

// Salvage reads the sound part of a damaged store, and lists the damage, which is nil if there is
// none. It changes nothing. The store must not be open; [Open] never uses the result.
//
// Use the result with care. Where commits are lost, publications and received identifiers are
// missing, and those that ended with a lost commit are back: a message may be sent again although
// it arrived, and even a QoS 2 message may arrive twice. To go on with the result, pass it to
// [Create] with another folder.
//
// The error is [flow.ErrInUse], a [*FormatError], fs.ErrNotExist if the folder holds no segment, or
// an error of the system.
func Salvage(path string) (flow.Snapshot, *DamageError, error) {
	free, unlock, err := tryLock(path)
	if err != nil || !free {
		if err == nil {
			err = flow.ErrInUse
		}
		return flow.Snapshot{}, nil, fmt.Errorf("logstore: %s: %w", path, err)
	}
	snap, d, err := salvage(&readFolder{diskFolder{path: path}}, path)
	if err = errors.Join(err, unlock()); err != nil {
		return flow.Snapshot{}, nil, fmt.Errorf("logstore: %s: %w", path, err)
	}
	if d.Total == 0 {
		d = nil
	}
	return snap, d, nil
}

// tryLock locks a store without changing it. A store without the file lock is free.
func tryLock(path string) (free bool, unlock func() error, err error) {
	f, err := os.Open((&diskFolder{path: path}).join(lockName))
	if err != nil {
		if _, e := os.Stat(path); e == nil && errors.Is(err, fs.ErrNotExist) {
			return true, func() error { return nil }, nil
		}
		return false, nil, err
	}
	if free, err = lock(f); errors.Is(err, errors.ErrUnsupported) {
		free, err = true, nil
	}
	if !free || err != nil {
		return false, nil, errors.Join(err, f.Close())
	}
	return true, f.Close, nil
}

// salvage reads all sound frames, and the sound publications of damaged frames.
func salvage(dir folder, path string) (snap flow.Snapshot, d *DamageError, err error) {
	d = &DamageError{Path: path}
	numbers, err := listSegments(dir)
	if err == nil && len(numbers) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return snap, d, err
	}
	first, err := firstOf(dir, path, numbers)
	if err != nil {
		return snap, d, err
	}
	x := newIndex() // without segments, since some may be missing
	var last frame
	next := first
	for i, n := range numbers {
		if n < first {
			continue
		}
		if next != 0 && n != next {
			d.add(next, 0, "%d segments are missing", n-next)
		}
		next = n + 1
		e, err := salvageSegment(dir, path, numbers[i:], x, d)
		if err != nil {
			return snap, d, err
		}
		if e.head.number > last.number {
			last = e.head
		}
	}
	if x.tally != last.tally {
		d.add(numbers[len(numbers)-1], 0, "commit %d has %d publications, %d were found", last.number, last.count, x.tally.count)
	}
	snap, err = readSnapshot(dir, x, func(err error) error {
		r := new(damagedRecord)
		if !errors.As(err, &r) {
			return err
		}
		d.add(r.segment, r.offset, "%v", r)
		return nil
	})
	return snap, d, err
}

// firstOf returns the first segment that the last valid frame needs, or 0 if no segment has a valid
// frame.
func firstOf(dir folder, path string, numbers []uint64) (uint64, error) {
	for i := len(numbers) - 1; i >= 0; i-- {
		ignored := new(DamageError)
		e, err := visitSegment(dir, path, numbers[i], 0, ignored, func(int64, frame, []byte) error { return nil }, nil)
		if err != nil && !errors.As(err, new(*DamageError)) {
			return 0, err
		}
		if e.head.number > 0 {
			return e.head.first, nil
		}
	}
	return 0, nil
}

// salvageSegment reads the first segment of numbers into x.
func salvageSegment(dir folder, path string, numbers []uint64, x *index, d *DamageError) (extent, error) {
	limit := uint64(0)
	if len(numbers) > 1 && numbers[1] == numbers[0]+1 {
		h, err := headerOf(dir, path, numbers[1], new(DamageError)) // the next call reports damage
		if err != nil && !errors.As(err, new(*DamageError)) {
			return extent{}, err
		}
		limit = h.frame
	}
	s := &segment{number: numbers[0]}
	e, err := visitSegment(dir, path, s.number, limit, d, func(offset int64, _ frame, body []byte) error {
		return x.apply(s, offset+frameHeader, body, true)
	}, func(offset int64, _ frame, body []byte) { x.applySound(s, offset+frameHeader, body) })
	if errors.As(err, new(*DamageError)) {
		err = nil // of the header, which is in d
	}
	return e, err
}

// applySound applies the publications in a damaged body, up to the first operation that is
// malformed. Other operations have no checksum of their own.
func (x *index) applySound(s *segment, offset int64, body []byte) {
	for at := 0; at < len(body); {
		o, n, err := parseOp(body[at:])
		if err != nil {
			return
		}
		if o.kind == opPublication {
			x.put(o.seq, entry{s.number, offset + int64(at) + 1, n - 1, o.flight})
		}
		at += n
	}
}
