//go:build !wasm

package boltstore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/go-millrace/mqtt/flow"
)

// maxBuffer is the largest capacity of a buffer that is kept for the next commit.
const maxBuffer = 1 << 20

// Commit implements [flow.Store]. Each Commit is one transaction, which is on disk when Commit
// returns, unless NoSync is set. After an error the same changes can be committed again. That
// commit succeeds only when a sync has succeeded.
func (s *Store) Commit(changes []flow.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if !s.attached {
		return fmt.Errorf("boltstore: %s: %w", s.path, errNotAttached)
	}
	if err := s.resync(); err != nil {
		return err
	}
	net := fold(changes)
	if net.empty() {
		return nil
	}
	return s.apply(&net)
}

// apply applies the net effect of a commit in one transaction.
func (s *Store) apply(net *netChanges) error {
	err := guarded(func() error { return s.transact(net) })
	if cap(s.buf) > maxBuffer {
		s.buf = nil
	}
	if err == nil {
		s.owner = cmp.Or(net.owner, s.owner)
		return nil
	}
	err = fmt.Errorf("boltstore: %s: %w", s.path, err)
	if errors.As(err, new(panicError)) {
		s.broken = err
	}
	return err
}

func (s *Store) transact(net *netChanges) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	t := transaction{buf: s.buf[:0]}
	owner := cmp.Or(net.owner, s.owner)
	if err = t.begin(tx, net.cleared); err == nil {
		err = t.apply(net, owner)
	}
	if err == nil && t.dirty {
		err = t.end(owner)
	}
	if s.buf = t.buf; err != nil || !t.dirty {
		return errors.Join(err, tx.Rollback())
	}
	s.unsynced = true // until bbolt has committed without an error
	err = s.commit(tx)
	s.unsynced = err != nil
	return err
}

// resync writes the header pages again and syncs them, if the last commit failed or the file was
// opened as it was. If the last sync of a commit fails, the header page that makes the changes
// valid can be read back, but may not be on disk: the kernel may have dropped the page or count it
// as clean, so that another sync alone would succeed and write nothing. Without resync, a commit of
// the same changes would find them in the file and sync nothing, and a later transaction would
// overwrite pages that the header page on disk still refers to. All other pages of a transaction
// are synced before its header page is written.
func (s *Store) resync() error {
	if !s.unsynced || s.options.NoSync {
		return nil
	}
	err := s.rewriteHeader()
	if err == nil {
		err = s.sync()
	}
	if err != nil {
		return fmt.Errorf("boltstore: %s: the last commit is not synced: %w", s.path, err)
	}
	s.unsynced = false
	return nil
}

// rewriteHeader writes the two header pages as they are read.
func (s *Store) rewriteHeader() error {
	pages := make([]byte, 2*s.db.Info().PageSize)
	if _, err := s.file.ReadAt(pages, 0); err != nil {
		return err
	}
	_, err := s.file.WriteAt(pages, 0)
	return err
}

// transaction applies the net effect of a commit to the content of the file. It compares each
// change with the content, so that the tallies stay right even if the file has the changes already.
type transaction struct {
	metaBucket        *bbolt.Bucket
	publicationBucket *bbolt.Bucket
	flightBucket      *bbolt.Bucket
	receivedBucket    *bbolt.Bucket

	state    state
	dirty    bool
	upgraded bool   // the file has the latest format
	buf      []byte // the values of this transaction; bbolt refers to them until it commits
}

func (t *transaction) begin(tx *bbolt.Tx, cleared bool) (err error) {
	t.metaBucket = tx.Bucket([]byte(metaBucket))
	if t.state, err = parseState(t.metaBucket.Get(stateKey)); err != nil {
		return fmt.Errorf("%s %x: %w", metaBucket, stateKey, err)
	}
	for _, b := range []struct {
		name   string
		bucket **bbolt.Bucket
		tally  *tally
	}{
		{publicationsBucket, &t.publicationBucket, &t.state.publications},
		{flightBucket, &t.flightBucket, &t.state.flight},
		{receivedBucket, &t.receivedBucket, &t.state.received},
	} {
		if cleared && b.tally.count > 0 {
			if err := tx.DeleteBucket([]byte(b.name)); err != nil {
				return err
			}
			if _, err := tx.CreateBucket([]byte(b.name)); err != nil {
				return err
			}
			*b.tally, t.dirty = tally{}, true
		}
		*b.bucket = tx.Bucket([]byte(b.name))
		(*b.bucket).FillPercent = 0.95 // most new keys are the highest
	}
	return nil
}

func (t *transaction) apply(net *netChanges, owner string) error {
	for i := range net.publications {
		if err := t.publication(&net.publications[i]); err != nil {
			return err
		}
	}
	if err := t.received(net.received); err != nil {
		return err
	}
	if owner != t.state.owner && (net.owner != "" || net.session != nil) {
		t.dirty = true // the owner is written even if the session record is not
	}
	return t.session(net)
}

// session stores or removes the session record.
func (t *transaction) session(net *netChanges) error {
	if net.session == nil && !net.cleared {
		return nil
	}
	old := t.metaBucket.Get(sessionKey)
	if net.session == nil {
		if old == nil {
			return nil
		}
		t.dirty = true
		return t.metaBucket.Delete(sessionKey)
	}
	if !needsRecord(net.session) {
		if format, err := t.format(); err != nil || format == baseFormat {
			return err
		}
	}
	value := appendSession(nil, net.session)
	if bytes.Equal(old, value) {
		return nil
	}
	t.dirty = true
	return errors.Join(t.upgrade(), t.metaBucket.Put(sessionKey, value))
}

// upgrade raises the format of the file, so that a program that does not know this format refuses
// the file.
func (t *transaction) upgrade() error {
	if t.upgraded {
		return nil
	}
	format, err := t.format()
	if err == nil && format < version {
		err = t.metaBucket.Put(formatKey, appendFormat(nil, version))
	}
	t.upgraded = err == nil
	return err
}

// format returns the format version of the file.
func (t *transaction) format() (uint32, error) {
	format, err := parseFormat(t.metaBucket.Get(formatKey))
	if err != nil {
		return 0, fmt.Errorf("%s %x: %w", metaBucket, formatKey, err)
	}
	return format, nil
}

func (t *transaction) end(owner string) error {
	t.state.owner = owner
	return t.metaBucket.Put(stateKey, t.state.append(nil))
}

// put stores the value in t.buf[from:] under key. known reports whether the bucket has the key.
func (t *transaction) put(b *bbolt.Bucket, tally *tally, key []byte, from int, known bool) error {
	if !known {
		tally.add(key)
	}
	t.dirty = true
	value := t.buf[from:]
	return b.Put(key, value[:len(value):len(value)])
}

func (t *transaction) remove(b *bbolt.Bucket, tally *tally, key []byte) error {
	if tally.count == 0 || b.Get(key) == nil {
		return nil
	}
	tally.remove(key)
	t.dirty = true
	return b.Delete(key)
}

func (t *transaction) publication(o *netChange) (err error) {
	key := seqKey(o.seq)
	from := len(t.buf)
	switch {
	case o.accepted != nil:
		m, deadline := &o.accepted.Message, o.accepted.Deadline
		if t.buf, err = appendPublication(t.buf, key, m, deadline, o.flight); err != nil {
			return err
		}
		if needsExtras(m, deadline) {
			if err := t.upgrade(); err != nil {
				return err
			}
		}
		err = t.put(t.publicationBucket, &t.state.publications, key, from, t.publicationBucket.Get(key) != nil)
		return errors.Join(err, t.remove(t.flightBucket, &t.state.flight, key))
	case o.completed:
		err = t.remove(t.flightBucket, &t.state.flight, key)
		return errors.Join(err, t.remove(t.publicationBucket, &t.state.publications, key))
	}
	value := t.publicationBucket.Get(key)
	if value == nil {
		return nil // the publication has ended
	}
	// Open and Attach have checked all pages. A commit reads only the pages that it touches.
	p, err := parsePublication(key, value)
	if err != nil {
		return fmt.Errorf("%s %x: %w", publicationsBucket, key, err)
	}
	f := p.flight
	entry := t.flightBucket.Get(key)
	if entry != nil {
		if f, err = parseFlight(key, entry); err != nil {
			return fmt.Errorf("%s %x: %w", flightBucket, key, err)
		}
	}
	updated := f
	if o.assigned {
		updated.id = o.id
	}
	updated.released = updated.released || o.released
	if updated == f {
		return nil
	}
	t.buf = appendFlight(t.buf, key, updated)
	return t.put(t.flightBucket, &t.state.flight, key, from, entry != nil)
}

func (t *transaction) received(list []receivedChange) error {
	for _, r := range list {
		key := idKey(r.id)
		var err error
		if !r.held {
			err = t.remove(t.receivedBucket, &t.state.received, key)
		} else if t.receivedBucket.Get(key) == nil {
			from := len(t.buf)
			t.buf = appendReceived(t.buf, key)
			err = t.put(t.receivedBucket, &t.state.received, key, from, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
