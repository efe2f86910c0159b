// Package boltstore keeps the session of an MQTT client in a file, so that it
// outlives the process and a power cut. It is a [flow.Store] on
// go.etcd.io/bbolt.
//
//	store, err := boltstore.Open("/var/lib/pump/session.db", nil)
//	...
//	defer store.Close()
//	client, err := mqtt.Dial(ctx, url, &mqtt.Options{ClientID: "pump-1", KeepSession: true, Store: store})
//
// The file is locked from [Open] to [Store.Close]. Attach and Detach, which the
// client calls, only say whose session is at work: a store that one client has
// left can be handed to the next, as long as nobody has closed it.
//
// # When it is on disk
//
// Each Commit is one transaction of bbolt, and is on disk when it returns. The
// writer of a session commits once for each batch of packets, so what a sync
// costs is shared by all that was published and acknowledged meanwhile. bbolt
// syncs twice for a commit: the pages, then the header page that makes them
// valid; and once more when the file must grow, which it does by doubling, from
// 16 MiB on by 16 MiB. A commit that changes nothing in the end (a publication
// accepted and settled in the same batch) writes nothing and syncs nothing.
//
// After an error the changes are not in the store, with one exception: when the
// very last sync fails the disk may or may not have them. The batch can be
// committed again in either case and leaves the same state, tallies included;
// sessions do so. One that is killed before it has may have told ErrNotSent of a
// publication that the next process finds on the disk, and sends.
//
// With [Options.NoSync] a commit is handed to the system and not waited for. A
// process that is killed still loses nothing. A power cut or a crash of the
// system may then cost the last commits, some seconds of them, or the whole
// file: pages and header may reach the disk in any order, so that the file may
// be found damaged. New files are synced all the same.
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
// Numbers are big-endian. A check is the CRC-32C of the key and of the value
// without the check itself. Flags are 1 for retain, in publications only, and 2
// for released. The packet identifier and the released flag in publications are
// those of the commit that accepted it; an entry in flight, when there is one,
// overrides them, so that no later step writes a payload again. The count and
// the wrapping sum of the keys betray records that are missing as a whole, which
// no checksum of a record can.
//
// # Opening
//
// Before bbolt sees a file, [Open] locks it and reads all of it with a reader of
// its own that writes nothing, maps nothing into memory, and follows no number
// that it has not compared with a limit: both header pages, the tree, the list
// of free pages (each page must be in exactly one of the two, since a page that
// is used and listed as free would be overwritten one day), the order of keys,
// every record, the tallies. What bbolt is given has passed all that. Attach
// reads with the same reader. A file that is refused is left as it was, to the
// byte.
//
// A new store is made under the name with ".new" at its end, synced, and
// renamed. A process that is killed, or a power cut, at any moment of that
// leaves nothing, or the whole store, or a ".new" file that the next Open writes
// anew. An empty file is a new store, too.
//
// # Errors
//
//   - [flow.ErrInUse]: from Open, the file is open in this process or another;
//     from Attach, a session is attached. Neither waits.
//   - [*flow.OwnerError], from Attach: the store holds the session of another
//     client identifier. An empty store takes any.
//   - [*DamageError], from Open or Attach: the content is not what was written.
//     It lists where.
//   - [ErrForeign]: the file is something else.
//   - [*FormatError]: a later version of this package wrote it.
//   - errors of the system, such as fs.ErrPermission, fs.ErrNotExist (of the
//     folder), syscall.EROFS, syscall.ENOSPC: all can be told with errors.Is.
//   - [fs.ErrClosed]: after Close.
//
// When the disk is full Commit fails, the store is as it was, and goes on when
// there is room again.
//
// # A damaged file
//
// Nothing of a damaged store is used, because what is missing cannot be told from
// what has ended: sending what is left could send twice, or out of order. Keep
// the file for a look at it, begin with a new one, and tell whoever counts on
// the messages. There is one exception. bbolt has two header pages and writes
// them in turn. When one of them is damaged, the other is that of the commit
// before, or of the last commit; nobody can say which. A power cut leaves such a
// file only where the disk does not write a sector of 512 bytes as a whole, and
// then nothing is missing that was ever promised. A page that has rotted looks
// the same, and then the last commit is missing. With [Options.Fallback] such a
// file is opened at the state of the good header page: better for a device
// that nobody can reach, and a risk that must be taken knowingly.
//
// # Size
//
// The file does not shrink. Space is used again, so its size is that of the
// largest backlog there was. Each commit writes the list of free pages, 8 bytes
// for each: 2 KiB for each MiB that is free. A store that has had a backlog of
// gigabytes is quicker after a new start: when the session is empty, close it
// and remove the file.
//
// Nothing is kept in memory for a record; bbolt maps the file. The package
// starts no goroutine and logs nothing.
package boltstore
