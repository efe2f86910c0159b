package logstore

import (
	"errors"
	"io"
	"syscall"
)

// newFile creates a file of a store. Under its name it is complete and on disk.
type newFile struct {
	dir    folder
	name   string
	size   int64 // to reserve
	enough int64 // to reserve if the disk has no room for size
	fill   func(w io.WriterAt, size int64) error
	noSync bool // leave the syncs to the operating system
}

// create returns the size of the file. After an error, renamed tells whether the file may have its
// name.
func (n *newFile) create() (size int64, renamed bool, err error) {
	size = n.size
	err = n.write(size)
	if noSpace(err) && n.enough < n.size {
		size = n.enough
		err = n.write(size)
	}
	if err != nil {
		return 0, false, err
	}
	if err := n.dir.rename(n.name+newSuffix, n.name); err != nil {
		return 0, true, errors.Join(err, n.dir.remove(n.name+newSuffix))
	}
	if n.noSync {
		return size, true, nil
	}
	return size, true, n.dir.sync()
}

// write writes the file under another name and syncs it.
func (n *newFile) write(size int64) error {
	f, err := n.dir.create(n.name + newSuffix)
	if err != nil {
		return err
	}
	if err = f.allocate(size); err == nil {
		err = n.fill(f, size)
	}
	if err == nil && !n.noSync {
		err = f.sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = n.dir.remove(n.name + newSuffix) // otherwise the next Open removes it
	}
	return err
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
