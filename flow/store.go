package flow

import (
	"fmt"
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// A Store keeps the state of one session, so that it outlives the connection,
// the client object and, when the store is durable, the process (MQTT 3.1.1,
// section 3.1.2.4).
//
// One session is attached at a time. Attach and Detach come from the goroutine
// that opens and closes the session, Commit from the session's writer, never
// two of them at once.
type Store interface {
	// Attach opens the store for the session of clientID and returns what it
	// holds. A store that is attached gives [ErrInUse]; one that holds the
	// session of another client identifier gives an [*OwnerError] and is left
	// as it was [MQTT-3.1.3-2].
	Attach(clientID string) (Snapshot, error)

	// Commit applies the changes in order and all together: after an error, or
	// a crash, either all of them are in the store or none is. It keeps no
	// reference to the slice or to the payloads. After an error the changes come
	// again, before any other, with Completed in place of Accepted: publications
	// accepted by them have ended with the error.
	Commit(changes []Change) error

	// Detach ends the session's use of the store; its content stays.
	Detach() error
}

// Snapshot is what a store holds of a session.
type Snapshot struct {
	Publications []Publication // by rising Seq
	Received     []uint16      // identifiers of QoS 2 messages that were taken and not yet released by the sender
}

// Empty reports whether there is no session state in it.
func (s Snapshot) Empty() bool { return len(s.Publications) == 0 && len(s.Received) == 0 }

// Publication is one QoS 1 or 2 publication that was accepted and has not ended.
type Publication struct {
	Seq      uint64 // its place in the order of acceptance
	Message  frames.Message
	ID       uint16 // 0: it was never in flight
	Released bool   // PUBREC was received: PUBREL is owed, PUBLISH must not be sent again
}

// ChangeKind says what a [Change] changes.
type ChangeKind byte

const (
	Accepted  ChangeKind = iota + 1 // a publication was accepted: Seq, Message
	Assigned                        // it has a packet identifier, or with ID 0 none any more: Seq, ID
	Released                        // its PUBREC was received: Seq
	Completed                       // it has ended: Seq
	Received                        // a QoS 2 message was taken: ID
	Forgotten                       // its sender released it: ID
	Cleared                         // the whole session is gone
)

// Change is one step of a session's state.
type Change struct {
	Kind    ChangeKind
	ID      uint16
	Seq     uint64
	Message frames.Message
}

// OwnerError says that a store holds the session of another client identifier.
type OwnerError struct {
	Owner string // whose session the store holds
	Asked string // who asked for it
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("the store holds the session of client identifier %q, not of %q", e.Owner, e.Asked)
}

// Journal collects changes until they are committed. A nil Journal drops them:
// a session without a store.
type Journal struct{ changes []Change }

func (j *Journal) record(c Change) {
	if j != nil {
		j.changes = append(j.changes, c)
	}
}

// forget takes out what concerns publications.
func (j *Journal) removePublications(seqs map[uint64]bool) {
	j.changes = slices.DeleteFunc(j.changes, func(c Change) bool { return seqs[c.Seq] })
}

// Clear notes that the whole session is gone.
func (j *Journal) Clear() { j.record(Change{Kind: Cleared}) }

// Len returns how many changes wait to be taken.
func (j *Journal) Len() int {
	if j == nil {
		return 0
	}
	return len(j.changes)
}

// MoveTo appends what was collected to dst and forgets it.
func (j *Journal) MoveTo(dst []Change) []Change {
	if j.Len() == 0 {
		return dst
	}
	dst = append(dst, j.changes...)
	clear(j.changes)
	j.changes = j.changes[:0]
	return dst
}
