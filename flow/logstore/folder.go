package logstore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is the folder of a store. Tests replace it by one that stops, tears and forgets.
type folder interface {
	list() ([]string, error)
	open(name string) (file, error)   // for reading and writing
	create(name string) (file, error) // an empty file; an old one is replaced
	rename(from, to string) error     // replaces the file to
	remove(name string) error
	sync() error // makes created, renamed and removed names durable
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	size() (int64, error)
	allocate(size int64) error // reserves space on the disk; the new bytes are zero
	sync() error               // makes content and size durable
	syncData() error           // makes content durable that lies within the size
}

// diskFolder is a folder of the operating system.
type diskFolder struct {
	path string
	mode fs.FileMode // of new files
}

func (d *diskFolder) join(name string) string { return filepath.Join(d.path, name) }

func (d *diskFolder) list() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d *diskFolder) open(name string) (file, error) { return d.file(name, os.O_RDWR) }

func (d *diskFolder) create(name string) (file, error) {
	return d.file(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d *diskFolder) file(name string, flag int) (file, error) {
	f, err := os.OpenFile(d.join(name), flag, d.mode)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (d *diskFolder) rename(from, to string) error { return os.Rename(d.join(from), d.join(to)) }
func (d *diskFolder) remove(name string) error     { return os.Remove(d.join(name)) }
func (d *diskFolder) sync() error                  { return syncFolder(d.path) }

// readFolder is a diskFolder that changes nothing.
type readFolder struct{ diskFolder }

func (d *readFolder) open(name string) (file, error) { return d.file(name, os.O_RDONLY) }
func (d *readFolder) create(string) (file, error)    { return nil, fs.ErrPermission }
func (d *readFolder) rename(string, string) error    { return fs.ErrPermission }
func (d *readFolder) remove(string) error            { return fs.ErrPermission }

// diskFile is a file of the operating system.
type diskFile struct{ *os.File }

func (f diskFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New(f.Name() + " is not a regular file")
	}
	return info.Size(), nil
}

func (f diskFile) allocate(size int64) error { return allocate(f.File, size) }
func (f diskFile) sync() error               { return f.Sync() }
func (f diskFile) syncData() error           { return syncData(f.File) }
