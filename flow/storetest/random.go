package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// asInMemory applies the same changes to a store and to a [flow.MemoryStore], and compares their
// snapshots.
func asInMemory(t *testing.T, rnd *rand.Rand, open, again func(t *testing.T) flow.Store) {
	model, s := flow.NewMemoryStore(), open(t)
	attach := func() {
		t.Helper()
		for _, clientID := range []string{[]string{"a", "", "x"}[rnd.IntN(3)], ""} {
			got, err := s.Attach(clientID)
			want, wantErr := model.Attach(clientID)
			var owner, wantOwner *flow.OwnerError
			if errors.As(err, &owner) && errors.As(wantErr, &wantOwner) && *owner == *wantOwner {
				continue // without a client identifier it takes the session
			}
			if diff := difference(got, want); err != nil || wantErr != nil || diff != "" {
				t.Fatalf("client identifier %q: %s, error %v, want %v", clientID, diff, err, wantErr)
			}
			return
		}
	}
	commit := func(changes []flow.Change) {
		t.Helper()
		for range 1 + rnd.IntN(2) { // a session repeats a failed commit, which may have been applied
			if err := s.Commit(changes); err != nil {
				t.Fatal(err)
			}
		}
		_ = model.Commit(changes)
	}
	detach := func() {
		t.Helper()
		if err := s.Detach(); err != nil {
			t.Fatal(err)
		}
		_ = model.Detach()
	}
	attach()
	var seq uint64
	for range 10 {
		commit([]flow.Change{{Kind: flow.Opened, Session: randomRecord(rnd)}}) // stores the owner
		for range rnd.IntN(10) {
			changes := make([]flow.Change, rnd.IntN(1<<rnd.IntN(8)+1))
			for i := range changes {
				changes[i] = randomChange(rnd, &seq)
			}
			commit(changes)
		}
		detach()
		if rnd.IntN(2) == 0 {
			s = again(t)
		}
		attach()
	}
	detach()
}

// randomChange returns a random change. Most of its changes could come from a session.
func randomChange(rnd *rand.Rand, seq *uint64) flow.Change {
	old := *seq - min(*seq, rnd.Uint64N(24)) // a recent publication, ended or not
	id := uint16(rnd.IntN(20))
	switch n := rnd.IntN(1000); {
	case n < 300:
		*seq += 1 + rnd.Uint64N(3)/2
		return flow.Change{Kind: flow.Accepted, Seq: *seq, Message: randomMessage(rnd), Deadline: randomDeadline(rnd)}
	case n < 310:
		return flow.Change{Kind: flow.Accepted, Seq: rnd.Uint64N(*seq + 5), Message: randomMessage(rnd)}
	case n < 500:
		return flow.Change{Kind: flow.Assigned, Seq: old, ID: id}
	case n < 600:
		return flow.Change{Kind: flow.Released, Seq: old}
	case n < 840:
		return flow.Change{Kind: flow.Completed, Seq: old}
	case n < 920:
		return flow.Change{Kind: flow.Received, ID: id}
	case n < 987:
		return flow.Change{Kind: flow.Forgotten, ID: id}
	case n < 997:
		return flow.Change{Kind: flow.Opened, Session: randomRecord(rnd)}
	default:
		return flow.Change{Kind: flow.Cleared}
	}
}

func randomMessage(rnd *rand.Rand) frames.Message {
	m := frames.Message{Topic: fmt.Sprint("topic/", rnd.IntN(3)), QoS: frames.QoS(1 + rnd.IntN(2)), Retain: rnd.IntN(2) == 0}
	m.Payload = make([]byte, rnd.IntN(1<<rnd.IntN(15)))
	for i := range m.Payload {
		m.Payload[i] = byte(rnd.Uint32())
	}
	if rnd.IntN(3) == 0 {
		m.Properties = randomProperties(rnd)
	}
	return m
}

func randomProperties(rnd *rand.Rand) *frames.Properties {
	p := &frames.Properties{Text: rnd.IntN(2) == 0}
	if rnd.IntN(2) == 0 {
		p.Expiry = time.Duration(rnd.Uint32()) * time.Second
	}
	if rnd.IntN(2) == 0 {
		p.ContentType, p.ResponseTopic = strings.Repeat("c", rnd.IntN(300)), fmt.Sprint("reply/", rnd.IntN(3))
	}
	if rnd.IntN(2) == 0 {
		p.Correlation = make([]byte, rnd.IntN(20))
	}
	for range rnd.IntN(4) {
		p.User = append(p.User, frames.UserProperty{Name: fmt.Sprint(rnd.IntN(2)), Value: fmt.Sprint(rnd.IntN(2))})
	}
	return p
}

func randomDeadline(rnd *rand.Rand) time.Time {
	if rnd.IntN(3) > 0 {
		return time.Time{}
	}
	return time.Unix(1+rnd.Int64N(1<<33), 0)
}

func randomRecord(rnd *rand.Rand) *flow.SessionRecord {
	r := &flow.SessionRecord{Version: frames.V31 + frames.Version(rnd.IntN(3)), Expiry: rnd.Uint32(), Seen: time.Unix(rnd.Int64N(1<<33), 0)}
	if rnd.IntN(3) == 0 {
		r.ClientID = "x"
	}
	return r
}
