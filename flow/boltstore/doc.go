//go:build !wasm

// Package boltstore keeps the session of an MQTT client in a file, so that the session outlives the
// process and a power failure. It implements [flow.Store] with go.etcd.io/bbolt.
//
//	store, err := boltstore.Open("/var/lib/pump/session.db", nil)
//	...
//	defer store.Close()
//	options := &mqtt.Options{ClientID: "pump-1", KeepSession: true, Store: store}
//	client, err := mqtt.Dial(ctx, url, options)
//
// The file is locked from [Open] to [Store.Close]. The client calls Attach and Detach, which record
// whose session uses the store. Attach writes to the file only to remove the record of another
// client's session from an empty store. After one client has closed, the next client can use the
// store, until the program calls Close.
//
// # Durability
//
// Each Commit is one transaction of bbolt, and is on disk when it returns. The writer of a session
// commits once for each batch of packets, so all publications and acks of a batch share the cost of
// a sync. bbolt syncs twice for a commit: the pages, then the header page that makes them valid. It
// syncs once more when the file must grow. The file doubles in size up to 16 MiB, then grows by 16
// MiB at a time. A commit without a net change (a publication accepted and completed in the same
// batch) writes nothing and syncs nothing.
//
// After an error the changes are not in the store, with one exception: if the very last sync fails,
// the disk may or may not have the changes. The store remembers the failure. Before the next commit
// or Attach it writes the header pages again and syncs them, and it fails as long as this fails, so
// it reports nothing as stored that was not synced. In both cases a session commits the same batch
// again, and the store reaches the same state. If the process is killed before this second commit,
// it may have reported ErrNotSent for a publication that the next process finds on disk and sends.
//
// With [Options.NoSync] a commit is written to the operating system and not synced. A killed
// process still loses nothing. A power failure or a crash of the system may lose the last commits,
// some seconds of them, or the whole file: pages and header may reach the disk in any order, so the
// file may be damaged. The creation of a file is synced in any case.
//
// # Layout
//
//	bucket        key                    value
//	meta          "format"               "millrace", version (4 bytes), check
//	meta          "session"              version (1 byte), expiry (4 bytes), Seen (8 bytes), check,
//	                                     assigned client identifier; format 2
//	meta          "state"                count and sum of keys for each bucket below (6 times 8
//	                                     bytes), check, client identifier
//	publications  Seq (8 bytes)          check, QoS, flags, packet identifier, length of topic (2
//	                                     bytes), topic, extras, payload
//	flight        Seq (8 bytes)          check, flags, packet identifier
//	received      identifier (2 bytes)   check
//
// Numbers are big-endian. A check is the CRC-32C of the key and of the value without the check
// itself. Flags are 1 for retain and 4 for extras, both in publications only, and 2 for released. A
// record in publications has the packet identifier and the released flag as of the commit that
// accepted the publication. A later record in flight overrides both, so that the payload is written
// only once.
//
// The extras are the length of the properties (4 bytes), the deadline (8 bytes), the message expiry
// interval (4 bytes, 0 is none), and the properties as PUBLISH has them, without the interval. Seen
// and the deadline are Unix times in seconds; the deadline is rounded up, and 0 is none. "session"
// is the record of the last flow.Opened.
//
// A new file has format version 1, which has no "session" and no extras. The first commit that
// needs one of them raises the version to 2 in the same transaction: a publication with properties
// or a deadline, or a session over MQTT 5 or with a client identifier that the broker assigned.
// Records of other sessions are not stored at format 1. So a program with an earlier version of
// this package opens every file that it can understand, and refuses each other file by its number.
// The version of a file never falls.
//
// The tallies in "state" (count and wrapping sum of the keys of each bucket) reveal missing
// records, which the checks of the records cannot.
//
// # Opening
//
// Before bbolt opens a file, [Open] locks it and reads all of it with a reader of its own, which
// writes nothing, maps nothing into memory, and checks every number in the file against a limit
// before using the number. The reader checks both header pages, the tree, the list of free pages
// (each page must be either in the tree or in the list, since bbolt would overwrite a page that is
// in both), the order of keys, every record, and the tallies. bbolt opens only a file that has
// passed. Attach uses the same reader. A rejected file does not change by a single byte.
//
// A new store is created under its name with the suffix ".new", synced, and renamed. If the process
// is killed or the power fails before the rename, there may be a ".new" file, which the next Open
// overwrites. After the rename the store is complete. An empty file is also treated as a new store.
//
// # Errors
//
//   - [flow.ErrInUse]: from Open, if the file is open in this process or another; from Attach, if a
//     session is attached. Neither call waits.
//   - [*flow.OwnerError], from Attach: the store holds the session of another client identifier. An
//     empty store accepts any client identifier.
//   - [*DamageError], from Open or Attach: the content is damaged. The error lists the places.
//   - [ErrForeign]: the file is not a session store.
//   - [*FormatError]: a later version of this package wrote the file.
//   - errors of the system, such as fs.ErrPermission, fs.ErrNotExist (of the folder),
//     syscall.EROFS, syscall.ENOSPC: all match with errors.Is.
//   - [fs.ErrClosed]: after Close.
//
// The first Attach after Open syncs the file in the same way, since the process before may have
// been killed after a failed sync.
//
// If the disk is full, Commit fails and the store does not change. Commit works again once there is
// room.
//
// # A damaged file
//
// The content of a damaged store is not used, because a missing record looks like a completed one:
// a session that goes on with the remaining records could send messages twice or out of order. Keep
// the file for analysis, begin with a new file, and tell the people who rely on the messages.
// [Salvage] reads the sound part of a damaged file.
// [Options.Fallback] allows one exception. bbolt has two header pages and writes them in turn. If
// one header page is damaged, the other describes either the last commit or the commit before it,
// and the file does not show which. A power failure can damage a header page only if the disk does
// not write a sector of 512 bytes as a whole; in that case no completed commit is missing. If the
// disk damages a header page later, the last commit may be missing. With Fallback, Open accepts
// both cases and uses the state of the good header page. This is meant for a device that nobody can
// reach, and it takes the risk of a lost commit.
//
// # Size
//
// The file does not shrink. Space is reused, so the file stays as large as its largest backlog.
// Each commit writes the list of free pages, which has 8 bytes for each page, or 2 KiB for each
// free MiB. After a backlog of gigabytes a new file makes commits faster: when the session is
// empty, close the store and remove the file.
//
// The package keeps no record in memory; bbolt maps the file. It starts no goroutine and logs
// nothing.
package boltstore
