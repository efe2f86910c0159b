package flow

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A Store keeps the state of one session, so that the session outlives the connection, the client
// object and, if the store is durable, the process (MQTT 3.1.1, section 3.1.2.4).
//
// One session is attached at a time. The goroutine that opens and closes the session calls Attach
// and Detach, the session's writer calls Commit, and no two calls overlap.
type Store interface {
	// Attach opens the store for the session of clientID and returns the content of the store. If
	// clientID is empty, the broker assigns the identifier, and Attach opens the store for the
	// session of any owner. If a session is attached already, the error is [ErrInUse]. If the store
	// holds publications or received identifiers of another client identifier, the error is an
	// [*OwnerError] and the store does not change [MQTT-3.1.3-2]. A store without both takes any
	// client identifier and removes the record of another owner's session. The client identifier
	// becomes the owner of the store, at the latest when Commit stores something.
	Attach(clientID string) (Snapshot, error)

	// Commit applies the changes in order and atomically: after an error or a crash, the store
	// holds all changes or none. Commit keeps no reference to anything in the changes. After an
	// error the session commits the same changes again before it commits others. In the second
	// commit Completed replaces Accepted, because the accepted publications have ended with the
	// error. It does not replace the Accepted of a publication without a topic.
	//
	// The Properties of a message are kept with Expiry, ContentType, ResponseTopic, Correlation
	// (nil and empty are different), Text and User (in order, with repeated names). Since and
	// Subscriptions need not be kept. Expiry, Deadline and Seen may be rounded up to whole seconds.
	// A record without ClientID of a version before MQTT 5 need not be kept, but must replace the
	// record before it.
	Commit(changes []Change) error

	// Detach ends the session's use of the store. The content stays.
	Detach() error
}

// Snapshot is the session state in a store.
type Snapshot struct {
	Owner        string         // the client identifier of the session; "" if the store has none
	Session      *SessionRecord // nil: none
	Publications []Publication  // in ascending order of Seq
	Received     []uint16       // QoS 2 identifiers, acknowledged and not yet released by PUBREL
}

// Empty reports whether the snapshot holds no publication and no received identifier. It ignores
// Owner and Session.
func (s Snapshot) Empty() bool { return len(s.Publications) == 0 && len(s.Received) == 0 }

// SessionRecord says how the broker keeps the session of a store (MQTT 5, section 4.1).
type SessionRecord struct {
	Version  frames.Version // the session was opened with it
	ClientID string         // which the broker assigned; "" if the client chose its own
	Expiry   uint32         // seconds a session outlives its connection; 4,294,967,295: for ever
	Seen     time.Time      // when the session was last known to be alive; whole seconds
}

// Publication is an accepted QoS 1 or 2 publication that has not completed. One without a topic
// keeps the identifier of a publication that was given up, see GivenUp.
type Publication struct {
	Seq      uint64 // its position in the order of acceptance
	Message  frames.Message
	Deadline time.Time // when the message expires; zero: never
	ID       uint16    // 0: it was never in flight
	Released bool      // PUBREC was received; PUBREL is due, and PUBLISH must not be sent again
}

// ChangeKind is the kind of a [Change]. Each constant names in parentheses the fields of Change
// that it uses.
type ChangeKind byte

const (
	Accepted  ChangeKind = iota + 1 // a publication was accepted (Seq, Message, Deadline)
	Assigned                        // a publication got an ID, or lost it if ID is 0 (Seq, ID)
	Released                        // PUBREC was received for the publication (Seq)
	Completed                       // the publication ended (Seq)
	Received                        // all consumers acknowledged a QoS 2 message (ID)
	Forgotten                       // PUBREL released the identifier of a QoS 2 message (ID)
	Cleared                         // the session ended; its record is removed, the owner stays

	// The broker opened or confirmed the session (Session). Its ClientID, if any, becomes the
	// owner.
	Opened
)

// ChangeKinds is a set of kinds.
type ChangeKinds uint16

// Has reports whether the set contains k.
func (s ChangeKinds) Has(k ChangeKind) bool { return s&(1<<k) != 0 }

// Change is one change of session state.
type Change struct {
	Kind     ChangeKind
	ID       uint16
	Seq      uint64
	Message  frames.Message
	Deadline time.Time
	Session  *SessionRecord
}

// OwnerError means that a store holds the session of another client identifier.
type OwnerError struct {
	Owner string // the client identifier of the session in the store
	Asked string // the client identifier passed to Attach
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("the store holds the session of client identifier %q, not of %q", e.Owner, e.Asked)
}

// Journal collects changes until they are committed. A nil Journal, for a session without a store,
// drops them.
//
// Invariant: the Accepted changes are in ascending order of Seq. A withdrawn change has Kind 0; at
// most half of the changes are withdrawn.
type Journal struct {
	changes   []Change
	withdrawn int
	kinds     ChangeKinds // recorded since the last MoveTo
}

func (j *Journal) record(c Change) {
	if j != nil {
		j.changes = append(j.changes, c)
		j.kinds |= 1 << c.Kind
	}
}

// progress records a change that has only seq and id. Without a journal it makes no Change, since
// the size of a Change costs time on the path of each message.
func (j *Journal) progress(k ChangeKind, seq uint64, id uint16) {
	if j != nil {
		j.record(Change{Kind: k, Seq: seq, ID: id})
	}
}

// withdraw removes the Accepted change of a publication, so that other changes of the publication
// have no effect. It returns false if the journal does not have the change, since the store may
// then have the publication. However long a commit takes, publications withdrawn meanwhile take no
// memory.
func (j *Journal) withdraw(seq uint64) bool {
	if j == nil {
		return false
	}
	i := j.accepted(seq)
	if i < 0 {
		return false
	}
	j.changes[i] = Change{Seq: seq}
	if j.withdrawn++; 2*j.withdrawn >= len(j.changes) {
		j.changes = slices.DeleteFunc(j.changes, func(c Change) bool { return c.Kind == 0 })
		j.withdrawn = 0
	}
	return true
}

// accepted returns the index of the Accepted change of seq, or -1.
func (j *Journal) accepted(seq uint64) int {
	low, high := 0, len(j.changes)
	for low < high {
		middle := low + (high-low)/2
		i := middle // the first change from middle on that has a place in the order
		for i < high && j.changes[i].Kind > Accepted {
			i++
		}
		switch {
		case i == high || j.changes[i].Seq > seq:
			high = middle
		case j.changes[i].Seq < seq:
			low = i + 1
		case j.changes[i].Kind == 0:
			return -1
		default:
			return i
		}
	}
	return -1
}

// removePublications removes the changes of the publications in seqs.
func (j *Journal) removePublications(seqs map[uint64]bool) {
	j.changes = slices.DeleteFunc(j.changes, func(c Change) bool { return c.Kind == 0 || seqs[c.Seq] })
	j.withdrawn = 0
}

// Clear records that the whole session ended.
func (j *Journal) Clear() { j.record(Change{Kind: Cleared}) }

// Open records that the broker opened or confirmed the session. It rounds Seen down to whole
// seconds.
func (j *Journal) Open(r SessionRecord) {
	if j != nil {
		r.Seen = r.Seen.Truncate(time.Second)
		j.record(Change{Kind: Opened, Session: &r})
	}
}

// Len returns the number of changes in the journal.
func (j *Journal) Len() int {
	if j == nil {
		return 0
	}
	return len(j.changes) - j.withdrawn
}

// Kinds returns the kinds of the changes in the journal. A kind whose changes were all withdrawn
// may be among them.
func (j *Journal) Kinds() ChangeKinds {
	if j == nil {
		return 0
	}
	return j.kinds
}

// MoveTo appends the collected changes to dst and empties the journal.
func (j *Journal) MoveTo(dst []Change) []Change {
	if j.Len() == 0 {
		return dst
	}
	for i := range j.changes {
		if j.changes[i].Kind != 0 {
			dst = append(dst, j.changes[i])
		}
	}
	clear(j.changes)
	j.changes, j.withdrawn, j.kinds = j.changes[:0], 0, 0
	return dst
}
