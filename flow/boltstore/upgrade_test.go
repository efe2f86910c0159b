package boltstore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

var someTime = time.Unix(1_800_000_000, 0).UTC()

func opened(v frames.Version, clientID string) flow.Change {
	return flow.Change{Kind: flow.Opened,
		Session: &flow.SessionRecord{Version: v, ClientID: clientID, Expiry: 3600, Seen: someTime}}
}

// with returns an Accepted change with properties.
func with(seq uint64, p *frames.Properties) flow.Change {
	c := accepted(seq, "payload")
	c.Message.Properties = p
	return c
}

// failedCommit fails before it writes a page.
func failedCommit(tx *bbolt.Tx) error { return errors.Join(tx.Rollback(), syscall.EIO) }

func formatOf(t *testing.T, path string) uint32 {
	t.Helper()
	b := read(t, path)
	c := content{im: &image{r: bytes.NewReader(b), size: int64(len(b)), path: path}}
	if err := c.read(false); err != nil {
		t.Fatal(err)
	}
	return c.format
}

// The records were written by the first version of this package.
func TestRecordsOfFormat1AreTheSameAsEver(t *testing.T) {
	m := accepted(7, "payload").Message
	m.Retain = true
	p, err := appendPublication(nil, seqKey(7), &m, time.Time{}, flight{9, true})
	if err != nil {
		t.Fatal(err)
	}
	s := state{publications: tally{1, 2}, flight: tally{3, 4}, received: tally{5, 6}, owner: "pump"}
	for name, row := range map[string]struct {
		got  []byte
		want string
	}{
		"publication": {p, "e6e7a4c3010300090005746f7069637061796c6f6164"},
		"state":       {s.append(nil), "000000000000000100000000000000020000000000000003000000000000000400000000000000050000000000000006952aae1a70756d70"},
		"format":      {appendFormat(nil, baseFormat), "6d696c6c7261636500000001ecf1c638"},
	} {
		if got := hex.EncodeToString(row.got); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

func TestAFileStaysAtFormat1WhileNothingNewIsStored(t *testing.T) {
	for name, changes := range map[string][]flow.Change{
		"no properties":                      {accepted(9, "x")},
		"properties without values":          {with(9, &frames.Properties{User: []frames.UserProperty{}})},
		"properties of a received message":   {with(9, &frames.Properties{Since: someTime, Subscriptions: []uint32{1}})},
		"properties that have gone":          {with(9, &frames.Properties{Text: true}), {Kind: flow.Completed, Seq: 9}, accepted(9, "x")},
		"a session of 3.1.1":                 {opened(frames.V311, "")},
		"a session of MQTT 5 that has ended": {accepted(8, "x"), opened(frames.V5, ""), {Kind: flow.Cleared}, accepted(9, "x")},
		"a session that went on with 3.1.1":  {opened(frames.V5, ""), accepted(9, "x"), opened(frames.V311, "")},
		"no session record":                  {{Kind: flow.Opened}, accepted(9, "x")},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := sample(t)
			s := mustOpen(t, path, nil)
			mustAttach(t, s)
			mustCommit(t, s, changes...)
			mustClose(t, s)
			if f := formatOf(t, path); f != 1 {
				t.Errorf("format %d", f)
			}
			snap, err := load(path, nil)
			if err != nil || snap.Session != nil {
				t.Errorf("%+v, %v", snap, err)
			}
			for _, p := range snap.Publications {
				if p.Message.Properties != nil || !p.Deadline.IsZero() {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func TestTheFirstCommitThatNeedsMoreRaisesTheFormat(t *testing.T) {
	expiring := accepted(9, "x")
	expiring.Deadline = someTime
	for name, change := range map[string]flow.Change{
		"expiry":                 with(9, &frames.Properties{Expiry: time.Nanosecond}),
		"content type":           with(9, &frames.Properties{ContentType: "c"}),
		"response topic":         with(9, &frames.Properties{ResponseTopic: "r"}),
		"empty correlation data": with(9, &frames.Properties{Correlation: []byte{}}),
		"text":                   with(9, &frames.Properties{Text: true}),
		"user property":          with(9, &frames.Properties{User: make([]frames.UserProperty, 1)}),
		"deadline":               expiring,
		"MQTT 5":                 opened(frames.V5, ""),
		"assigned identifier":    opened(frames.V311, "a"),
	} {
		t.Run(name, func(t *testing.T) {
			path, before := sample(t)
			s := mustOpen(t, path, nil)
			mustAttach(t, s)
			commit := s.commit
			s.commit = failedCommit
			if err := s.Commit([]flow.Change{change}); !errors.Is(err, syscall.EIO) {
				t.Errorf("error %v", err)
			}
			if f := formatOf(t, path); f != 1 {
				t.Errorf("format %d after a commit that failed", f)
			}
			s.commit = commit
			mustClose(t, s)

			s = mustOpen(t, path, nil)
			mustAttach(t, s)
			mustCommit(t, s, change)
			mustCommit(t, s, flow.Change{Kind: flow.Completed, Seq: 9}, opened(frames.V311, ""))
			mustClose(t, s)
			if f := formatOf(t, path); f != 2 {
				t.Errorf("format %d", f)
			}
			before.Session = opened(frames.V311, "").Session // format 2 has room for it
			if snap, err := load(path, nil); err != nil || !reflect.DeepEqual(snap, before) {
				t.Errorf("%+v, %v, want %+v", snap, err, before)
			}
		})
	}
}

// The values are those that Validate refuses.
func TestPropertiesThatNoPacketHoldsFailTheCommitAndNothingOfItStays(t *testing.T) {
	for field, p := range map[string]*frames.Properties{
		"content type":            {ContentType: strings.Repeat("c", frames.MaxString+1)},
		"response topic":          {ResponseTopic: "a/#"},
		"interval -1s":            {Expiry: -time.Second},
		"interval 1193046h28m16s": {Expiry: 1 << 32 * time.Second},
		"name of user property 1": {User: []frames.UserProperty{{Name: "\xFF"}}},
		"correlation data":        {Correlation: make([]byte, frames.MaxString+1)},
	} {
		s := mustOpen(t, newPath(t), nil)
		mustAttach(t, s)
		if err := s.Commit([]flow.Change{accepted(1, "x"), with(2, p)}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
		_ = s.Detach()
		if snap := mustAttach(t, s); !snap.Empty() {
			t.Errorf("holds %+v", snap)
		}
		mustCommit(t, s, flow.Change{Kind: flow.Completed, Seq: 2}, accepted(1, "x"))
	}
}

// A crash of the system can leave any part of the pages that a commit writes. Without the header
// page the file is as before.
func TestACommitThatIsCutAtAnyPageDoesNotRaiseTheFormat(t *testing.T) {
	path, old := large(t)
	before := read(t, path)
	s := mustOpen(t, path, nil)
	mustAttach(t, s)
	var changes []flow.Change
	for i := range uint64(40) {
		changes = append(changes, with(1000+i, &frames.Properties{ContentType: strings.Repeat("c", 300)}))
	}
	mustCommit(t, s, append(changes, opened(frames.V5, ""))...)
	mustClose(t, s)
	after := read(t, path)
	updated, err := load(path, nil)
	if err != nil || len(updated.Publications) != len(old.Publications)+40 || updated.Session == nil {
		t.Fatalf("%d publications, %+v, %v", len(updated.Publications), updated.Session, err)
	}

	size := os.Getpagesize()
	file := append(bytes.Clone(before), make([]byte, len(after)-len(before))...)
	pages := 0
	for at := 2 * size; at < len(after); at += size {
		if bytes.Equal(file[at:at+size], after[at:at+size]) {
			continue
		}
		pages++
		check(t, fmt.Sprintf("without the page at %d", at), path, file, old)
		half := bytes.Clone(file)
		copy(half[at:], after[at:at+size/2])
		check(t, fmt.Sprintf("with half of the page at %d", at), path, half, old)
		copy(file[at:], after[at:at+size])
	}
	if pages < 5 {
		t.Errorf("%d pages were written", pages)
	}
	copy(file, after[:2*size])
	check(t, "with all pages", path, file, updated)
}

// edit changes the records of a closed file with bbolt.
func edit(t *testing.T, path string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsOfFormat2WithValidChecksumsThatMakeNoSenseAreDamage(t *testing.T) {
	key := seqKey(2)
	// publication returns a change of the record of the publication.
	publication := func(change func(value []byte) []byte) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(publicationsBucket))
			value := change(bytes.Clone(b.Get(key)))
			seal(key, value, 0)
			return b.Put(key, value)
		}
	}
	const extrasAt = publicationSize + len("topic")
	for name, row := range map[string]struct {
		bucket, reason string
		edit           func(tx *bbolt.Tx) error
	}{
		"properties in a file of format 1": {publicationsBucket, errFlags.Error(), func(tx *bbolt.Tx) error {
			m := tx.Bucket([]byte(metaBucket))
			return errors.Join(m.Delete(sessionKey), m.Put(formatKey, appendFormat(nil, 1)))
		}},
		"a session record in a file of format 1": {metaBucket, "it is unknown", func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket([]byte(metaBucket)).Put(formatKey, appendFormat(nil, 1)), publication(func(v []byte) []byte {
				v[5] &^= extrasFlag
				return v
			})(tx))
		}},
		"a session record of another client": {metaBucket, `"other"`, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(metaBucket)).Put(sessionKey, appendSession(nil, opened(frames.V5, "other").Session))
		}},
		"a short session record": {metaBucket, errLength.Error(), func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(metaBucket)).Put(sessionKey, make([]byte, sessionSize-1))
		}},
		"a session record with a wrong checksum": {metaBucket, errChecksum.Error(), func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(metaBucket)).Put(sessionKey, make([]byte, sessionSize))
		}},
		"extras cut short": {publicationsBucket, errLength.Error(), publication(func(v []byte) []byte { return v[:extrasAt+extrasSize-1] })},
		"properties past the end": {publicationsBucket, errLength.Error(), publication(func(v []byte) []byte {
			v[extrasAt] = 0xFF
			return v
		})},
		"properties that end within one": {publicationsBucket, errProperties.Error(), publication(func(v []byte) []byte {
			v[extrasAt+3]--
			return v
		})},
		"an unknown property": {publicationsBucket, errProperties.Error(), publication(func(v []byte) []byte {
			v[extrasAt+extrasSize] = 0x7F
			return v
		})},
		"an interval among the properties": {publicationsBucket, errProperties.Error(), publication(func(v []byte) []byte {
			v[extrasAt+extrasSize], v[extrasAt+3] = 2, 5
			return v
		})},
		"a subscription identifier": {publicationsBucket, errProperties.Error(), publication(func(v []byte) []byte {
			v[extrasAt+extrasSize], v[extrasAt+extrasSize+1], v[extrasAt+3] = 11, 1, 2
			return v
		})},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s := mustOpen(t, path, nil)
			mustAttach(t, s)
			mustCommit(t, s, accepted(1, "x"), with(2, &frames.Properties{ContentType: "text"}), opened(frames.V5, ""))
			mustClose(t, s)
			edit(t, path, row.edit)
			var damage *DamageError
			if err := refused(t, path); !errors.As(err, &damage) || damage.Total != 1 || damage.Places[0].Bucket != row.bucket ||
				!strings.Contains(damage.Places[0].Reason, row.reason) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An empty store holds the record of a session whose client is gone.
func TestTheRecordOfAnotherClientsSessionStaysIfItCannotBeRemoved(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path, nil)
	mustAttach(t, s)
	mustCommit(t, s, opened(frames.V5, ""))
	_ = s.Detach()
	commit := s.commit
	s.commit = failedCommit
	if _, err := s.Attach("b"); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
	s.commit = commit
	snap := mustAttach(t, s) // no session is attached after the error
	if snap.Owner != "a" || snap.Session == nil {
		t.Errorf("%+v", snap)
	}
	_ = s.Detach()
	if snap, err := s.Attach("b"); err != nil || snap.Owner != "b" || snap.Session != nil {
		t.Errorf("%+v, %v", snap, err)
	}
	mustClose(t, s)
	if snap, err := load(path, nil); err != nil || snap.Session != nil {
		t.Errorf("%+v, %v", snap, err)
	}
}

// A commit that fails must not change the owner, since the session repeats it or ends.
func TestACommitThatFailsDoesNotChangeTheOwner(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	mustAttach(t, s)
	commit := s.commit
	s.commit = failedCommit
	if err := s.Commit([]flow.Change{opened(frames.V5, "x")}); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
	s.commit = commit
	mustCommit(t, s, flow.Change{Kind: flow.Received, ID: 3})
	_ = s.Detach()
	if snap, err := s.Attach(""); err != nil || snap.Owner != "a" || snap.Session != nil {
		t.Errorf("%+v, %v", snap, err)
	}
}
