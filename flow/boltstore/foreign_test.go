package boltstore

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func refused(t *testing.T, path string) error {
	t.Helper()
	before := read(t, path)
	s, err := Open(path, nil)
	if err == nil {
		s.Close()
		t.Fatal("Open succeeded")
	}
	if !strings.Contains(err.Error(), path) {
		t.Errorf("the error does not name the file: %v", err)
	}
	if !bytes.Equal(read(t, path), before) {
		t.Error("the file has changed")
	}
	if _, again := Open(path, nil); again == nil || again.Error() != err.Error() {
		t.Errorf("the second time: %v", again) // for example because the first Open left a lock
	}
	return err
}

// D4
func TestAForeignFileIsRefused(t *testing.T) {
	for name, content := range map[string]string{
		"text": strings.Repeat("to whom it may concern\n", 1000), "a byte": "x", "zeros": strings.Repeat("\x00", 32<<10),
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			write(t, path, []byte(content))
			if err := refused(t, path); !errors.Is(err, ErrForeign) {
				t.Error(err)
			}
		})
	}
}

func database(t *testing.T, o *bbolt.Options, fill func(tx *bbolt.Tx) error) (path string) {
	t.Helper()
	path = newPath(t)
	db, err := bbolt.Open(path, 0o600, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// D4
func TestADatabaseOfSomebodyElseIsRefused(t *testing.T) {
	for name, o := range map[string]*bbolt.Options{"plain": nil, "without a list of free pages": {NoFreelistSync: true}} {
		for _, bucket := range []string{"users", metaBucket, ""} {
			t.Run(name+", bucket "+bucket, func(t *testing.T) {
				err := refused(t, database(t, o, func(tx *bbolt.Tx) error {
					if bucket == "" {
						return nil
					}
					b, err := tx.CreateBucket([]byte(bucket))
					if err != nil {
						return err
					}
					_, err = b.CreateBucket([]byte("within"))
					return err
				}))
				if bucket != metaBucket && !errors.Is(err, ErrForeign) {
					t.Error(err)
				}
			})
		}
	}
}

// D5
func TestALaterFormatIsRefusedByNumber(t *testing.T) {
	err := refused(t, database(t, nil, func(tx *bbolt.Tx) error {
		m, err := tx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket([]byte("surprises")); err != nil {
			return err
		}
		return errors.Join(m.Put(formatKey, appendFormat(nil, 7)), m.Put([]byte("news"), nil))
	}))
	var format *FormatError
	if !errors.As(err, &format) || format.Format != 7 || format.Known != version || !strings.Contains(err.Error(), "7") {
		t.Error(err)
	}
}

func TestAFolderOrAMissingOneIsAClearError(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a folder: %v", err)
	}
	path := filepath.Join(dir, "none", "session.db")
	if _, err := Open(path, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing folder: %v", err)
	}
}
