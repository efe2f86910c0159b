// Package logstore keeps the session of an MQTT client in a folder, so that the session outlives
// the process and a power failure. It implements [flow.Store] with a log.
//
//	store, err := logstore.Open("/var/lib/pump/session", nil)
//	...
//	defer store.Close()
//	options := &mqtt.Options{ClientID: "pump-1", KeepSession: true, Store: store}
//	client, err := mqtt.Dial(ctx, url, options)
//
// The folder is locked from [Open] to [Store.Close]. The client calls Attach and Detach, which
// record whose session uses the store. After one client has closed, the next client can use the
// store, until the program calls Close.
//
// # Durability
//
// Each Commit appends one frame to the log and syncs it once, and is on disk when it returns. The
// writer of a session commits once for each batch of packets, and no two commits overlap, so all
// publications and acks of a batch share the cost of a sync. A commit without a net change (a
// publication accepted and completed in the same batch) writes nothing and syncs nothing.
//
// After an error the changes are not in the store, with one exception: if the sync fails, the disk
// may or may not have the changes. A session commits the same batch again, and the store reaches
// the same state. If the process is killed before this second commit, it may have reported
// ErrNotSent for a publication that the next process finds on disk and sends.
//
// After a failed sync nothing of the segment is trusted: the kernel counts the pages as clean
// although the disk does not have them, so that another sync would succeed and write nothing. The
// store remembers the failure. Before the next commit or Attach it opens the segment again, reads
// and checks all frames up to the last good commit, and replaces the segment by a copy of them,
// which it syncs. As long as this fails, commits and Attach fail. In the same way the first Attach
// after Open writes the last frame again and syncs it, since the process before may have been
// killed after a failed sync.
//
// With [Options.NoSync] a commit is written to the operating system and not synced. A killed
// process still loses nothing. A power failure or a crash of the system may lose the last commits,
// or the store may be damaged, since the parts of the log may reach the disk in any order. The
// creation of a store is synced in any case.
//
// # Layout
//
// The folder has a file "lock", and segments: files such as 0000000000000001.seg with consecutive
// numbers. A segment has a header and frames; each frame begins at a multiple of 8 bytes. Numbers
// are big-endian, checks are CRC-32C.
//
//	header   "millrace.log", format (4 bytes), number of the segment (8), salt (8), number of the
//	         first frame (8), size of the file (8), zero (4), check
//	frame    check of the header, check of the body, length of the body (4), zero (4), number of
//	         the frame (8), first segment that is needed (8), count and sum of the publications in
//	         the store (8 + 8), body
//
// Both checks of a frame begin with the salt, a random number, so that a payload that looks like a
// frame is never taken for one. The body of a frame is a list of operations; each begins with its
// kind (1 byte):
//
//	1 publication   check, size of the record (4), Seq (8), flags (1), identifier (2), length of
//	                topic (2), extras, topic, payload
//	2 progress      Seq (8), flags (1), identifier (2)
//	3 completed     Seq (8)
//	4 received      identifier (2)
//	5 forgotten     identifier (2)
//	6 cleared
//	7 session       version (1), expiry (4), Seen (8), assigned client identifier with its length (2)
//	8 owner         client identifier with its length (2)
//	9 base
//	10 sealed
//
// The flags are the QoS, 4 for retain, 8 for released and 16 for extras: the deadline (8), the
// message expiry interval (4), the length of the properties (4), and the properties as PUBLISH has
// them, without the interval. Deadline and Seen are Unix times in seconds; the deadline is rounded
// up, and 0 is none. The first frame of a segment begins with base and repeats owner, session and
// received identifiers, so only publications need the segments before it. Behind the last frame of
// a segment, a frame with sealed tells that the next segment exists.
//
// # Compaction
//
// A new segment reserves [Options.SegmentSize]. When the segments before the last one have more
// garbage than live records, each commit also moves live records out of the oldest segment, at most
// 64 KiB and twice its own size, in its own frame and with its own sync. A segment without live
// records is removed after the commit that says so. So the folder needs at most about three times
// the size of the live records and two segments.
//
// The log is its own code, because segment libraries truncate a log at its ends, while publications
// end out of order: finding and moving the live records would remain, and it is most of the work.
//
// # Opening
//
// [Open] locks the folder and reads all segments. It checks every number against a limit before it
// uses the number, and every checksum, the order of the frames across the segments, and the count
// and sum of the publications. A rejected store does not change, except that the file lock is
// created where it is missing. A segment is written and synced under a name with the suffix ".new",
// and then renamed, so that a segment is complete under its name.
//
// A frame that was being written during a power failure is torn. It is the only thing that is cut,
// and only if it is at the end of the last segment and no valid frame follows up to the end of the
// file. A damaged last commit differs from a torn one only if a frame follows, so Close appends an
// empty frame.
//
// # Errors
//
//   - [flow.ErrInUse]: from Open, if the folder is open in this process or another; from Attach, if
//     a session is attached. Neither call waits.
//   - [*flow.OwnerError], from Attach: the store holds the session of another client identifier. An
//     empty store accepts any client identifier.
//   - [*DamageError]: the content is damaged. The error lists the places. From Commit, if a record
//     that must be moved can no longer be read.
//   - [ErrForeign]: the folder holds other files.
//   - [*FormatError]: a later version of this package wrote the store.
//   - [errors.ErrUnsupported], from Open: the system has no locks (js, plan9, solaris, aix).
//   - errors of the system, such as fs.ErrPermission, fs.ErrNotExist (of the parent folder),
//     syscall.EROFS, syscall.ENOSPC: all match with errors.Is.
//   - [fs.ErrClosed]: after Close.
//
// If the disk is full, Commit fails and the store does not change. Commit works again once there is
// room. On Linux a segment reserves its space when it is created, so a full disk fails commits only
// when they need a new segment, which is then made as small as the commit.
//
// # A damaged store
//
// The content of a damaged store is not used, because a missing frame can make a completed
// publication look like one that waits: a session that goes on could send messages twice or out of
// order. Keep the folder for analysis, begin with a new one, and tell the people who rely on the
// messages. [Salvage] reads the sound part of a damaged store, [Create] makes a new store of it.
// [Import] takes over the session of another store.
//
// The package keeps about 60 bytes in memory for each publication in the store, and no message. It
// starts no goroutine and logs nothing.
package logstore
