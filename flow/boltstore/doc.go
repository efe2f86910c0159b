// Package boltstore keeps the session of an MQTT client in a file, so that the session outlives the
// process and a power failure. It implements [flow.Store] with go.etcd.io/bbolt.
//
//	store, err := boltstore.Open("/var/lib/pump/session.db", nil)
//	...
//	defer store.Close()
//	client, err := mqtt.Dial(ctx, url, &mqtt.Options{ClientID: "pump-1", KeepSession: true, Store: store})
//
// The file is locked from [Open] to [Store.Close]. The client calls Attach and Detach, which only
// state whose session uses the store: after one client has closed, the next can use the store until
// somebody closes it.
//
// # Durability
//
// Each Commit is one transaction of bbolt, and is on disk when it returns. The writer of a session
// commits once for each batch of packets, so all publications and acks of a batch share the cost of
// a sync. bbolt syncs twice for a commit: the pages, then the header page that makes them valid. It
// syncs once more when the file must grow: the file doubles up to 16 MiB, then grows by 16 MiB. A
// commit without a net change (a publication accepted and completed in the same batch) writes
// nothing and syncs nothing.
//
// After an error the changes are not in the store, with one exception: if the very last sync fails,
// the disk may or may not have them. In both cases the batch can be committed again and leaves the
// same state, tallies included; sessions do so. A process killed before the second commit may have
// reported ErrNotSent for a publication that the next process finds on disk, and sends.
//
// With [Options.NoSync] a commit is written to the operating system and not synced. A killed
// process still loses nothing. A power failure or a crash of the system may lose the last commits,
// some seconds of them, or the whole file: pages and header may reach the disk in any order, so
// that the file may be damaged. New files are synced all the same.
//
// # Layout
//
//	bucket        key                    value
//	meta          "format"               "millrace", version (4 bytes), check
//	meta          "state"                count and sum of keys for each bucket below (6 times 8 bytes), check, client identifier
//	publications  Seq (8 bytes)          check, QoS, flags, packet identifier, length of topic (2 bytes), topic, payload
//	flight        Seq (8 bytes)          check, flags, packet identifier
//	received      identifier (2 bytes)   check
//
// Numbers are big-endian. A check is the CRC-32C of the key and of the value without the check
// itself. Flags are 1 for retain, in publications only, and 2 for released. The packet identifier
// and the released flag in publications date from the commit that accepted the publication. An
// entry in flight, if there is one, overrides them, so that no later step writes a payload again.
// The count and the wrapping sum of the keys reveal missing records, which no checksum of a record
// can.
//
// # Opening
//
// Before bbolt opens a file, [Open] locks it and reads all of it with a reader of its own, which
// writes nothing, maps nothing into memory, and checks every number against a limit before it uses
// it. The reader checks both header pages, the tree, the list of free pages (each page must be in
// exactly one of the two, since a page that is used and listed as free would be overwritten one
// day), the order of keys, every record, and the tallies. bbolt opens only a file that has passed.
// Attach uses the same reader. A rejected file does not change by a single byte.
//
// A new store is created under its name with the suffix ".new", synced, and renamed. If the process
// is killed or the power fails meanwhile, there is no file, or the whole store, or a ".new" file
// that the next Open overwrites. An empty file is a new store, too.
//
// # Errors
//
//   - [flow.ErrInUse]: from Open, the file is open in this process or another; from Attach, a
//     session is attached. Neither call waits.
//   - [*flow.OwnerError], from Attach: the store holds the session of another client identifier. An
//     empty store accepts any.
//   - [*DamageError], from Open or Attach: the content is damaged. The error lists the places.
//   - [ErrForeign]: the file is not a session store.
//   - [*FormatError]: a later version of this package wrote the file.
//   - errors of the system, such as fs.ErrPermission, fs.ErrNotExist (of the folder),
//     syscall.EROFS, syscall.ENOSPC: all match with errors.Is.
//   - [fs.ErrClosed]: after Close.
//
// If the disk is full, Commit fails and the store does not change. Commit works again once there is
// room.
//
// # A damaged file
//
// The content of a damaged store is not used, because a missing record looks like a completed one:
// sending the rest could send twice, or out of order. Keep the file for analysis, begin with a new
// one, and tell the people who count on the messages. There is one exception. bbolt has two header
// pages and writes them in turn. If one of them is damaged, the other belongs to the commit before,
// or to the last commit; nobody can say which. A power failure leaves such a file only if the disk
// does not write a sector of 512 bytes as a whole, and then no completed commit is missing. A page
// damaged by the disk looks the same, and then the last commit is missing. With [Options.Fallback]
// Open accepts such a file at the state of the good header page: better for a device that nobody
// can reach, and a risk to take knowingly.
//
// # Size
//
// The file does not shrink. Space is reused, so the size of the file is that of its largest
// backlog. Each commit writes the list of free pages, 8 bytes for each: 2 KiB for each MiB that is
// free. A store that has had a backlog of gigabytes is faster after a new start: when the session
// is empty, close the store and remove the file.
//
// The package keeps no record in memory; bbolt maps the file. It starts no goroutine and logs
// nothing.
package boltstore
