package storetest

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store with a fault.
type faulty struct {
	*flow.MemoryStore
	change   func(*flow.Change)                        // applied to each change before it is stored
	snapshot func(string, flow.Snapshot) flow.Snapshot // applied to each snapshot
}

func (s *faulty) Commit(changes []flow.Change) error {
	changes = slices.Clone(changes)
	if s.change != nil {
		for i := range changes {
			s.change(&changes[i])
		}
	}
	return s.MemoryStore.Commit(changes)
}

func (s *faulty) Attach(clientID string) (flow.Snapshot, error) {
	snap, err := s.MemoryStore.Attach(clientID)
	if s.snapshot != nil && err == nil {
		snap = s.snapshot(clientID, snap)
	}
	return snap, err
}

// failures returns the names of the cases that a store with a fault fails.
func failures(t *testing.T, fault faulty) (names []string) {
	t.Helper()
	for _, c := range cases {
		store := fault
		store.MemoryStore = flow.NewMemoryStore()
		s := &script{store: &store, again: func() flow.Store { return &store }}
		if c.run(s); s.err != nil {
			names = append(names, c.name)
		}
	}
	return names
}

func TestAStoreWithoutAFaultPassesEachCase(t *testing.T) {
	if names := failures(t, faulty{}); len(names) > 0 {
		t.Errorf("failed: %q", names)
	}
}

// TestAStoreThatDropsAPropertyFails covers stores that were written for a version before MQTT 5.
func TestAStoreThatDropsAPropertyFails(t *testing.T) {
	for name, drop := range map[string]func(p *frames.Properties){
		"Expiry":          func(p *frames.Properties) { p.Expiry = 0 },
		"ContentType":     func(p *frames.Properties) { p.ContentType = "" },
		"ResponseTopic":   func(p *frames.Properties) { p.ResponseTopic = "" },
		"Correlation":     func(p *frames.Properties) { p.Correlation = nil },
		"nil and empty":   func(p *frames.Properties) { p.Correlation = append([]byte{}, p.Correlation...) },
		"empty as nil":    func(p *frames.Properties) { p.Correlation = append([]byte(nil), p.Correlation...) },
		"Text":            func(p *frames.Properties) { p.Text = false },
		"User":            func(p *frames.Properties) { p.User = nil },
		"a repeated name": func(p *frames.Properties) { p.User = p.User[:min(len(p.User), 3)] },
		"the order of User": func(p *frames.Properties) {
			p.User = slices.SortedFunc(slices.Values(p.User), func(a, b frames.UserProperty) int { return int(a.Name[0]) - int(b.Name[0]) })
		},
		"Properties": nil,
	} {
		names := failures(t, faulty{change: func(c *flow.Change) {
			if c.Message.Properties == nil {
				return
			}
			if drop == nil {
				c.Message.Properties = nil
				return
			}
			c.Message = c.Message.Clone()
			drop(c.Message.Properties)
		}})
		if !slices.Contains(names, "each property comes back") {
			t.Errorf("without %s it passes", name)
		}
	}
}

func TestAStoreThatDropsOrChangesADeadlineFails(t *testing.T) {
	for name, change := range map[string]struct {
		failed string
		run    func(time.Time) time.Time
	}{
		"none":         {"deadlines come back", func(time.Time) time.Time { return time.Time{} }},
		"a minute off": {"deadlines come back", func(d time.Time) time.Time { return d.Add(time.Minute) }},
		"rounded down": {"fractions of a second may be rounded up", func(d time.Time) time.Time { return d.Truncate(time.Second) }},
		"zero at the start of Unix time": {"fractions of a second may be rounded up", func(d time.Time) time.Time {
			if d.Unix() == 0 {
				return time.Time{}
			}
			return d
		}},
	} {
		names := failures(t, faulty{change: func(c *flow.Change) { c.Deadline = change.run(c.Deadline) }})
		if !slices.Contains(names, change.failed) {
			t.Errorf("%s: it passes", name)
		}
	}
}

func TestAStoreThatDropsTheSessionRecordFails(t *testing.T) {
	for name, change := range map[string]func(r *flow.SessionRecord){
		"Version":  func(r *flow.SessionRecord) { r.Version = frames.V311 },
		"ClientID": func(r *flow.SessionRecord) { r.ClientID = "" },
		"Expiry":   func(r *flow.SessionRecord) { r.Expiry = 3600 },
		"Seen":     func(r *flow.SessionRecord) { r.Seen = someTime },
		"all":      nil,
	} {
		names := failures(t, faulty{change: func(c *flow.Change) {
			if c.Session == nil {
				return
			}
			if change == nil {
				*c = flow.Change{}
				return
			}
			r := *c.Session
			change(&r)
			c.Session = &r
		}})
		if !slices.Contains(names, "the session record comes back") {
			t.Errorf("without %s it passes", name)
		}
	}
}

func TestAStoreThatTakesTheWrongOwnerFails(t *testing.T) {
	for name, row := range map[string]struct {
		failed string
		fault  faulty
	}{
		"Owner missing": {"without a client identifier it takes the session of any owner",
			faulty{snapshot: func(_ string, s flow.Snapshot) flow.Snapshot { s.Owner = ""; return s }}},
		"Owner as asked": {"without a client identifier it takes the session of any owner",
			faulty{snapshot: func(id string, s flow.Snapshot) flow.Snapshot { s.Owner = id; return s }}},
		"the record of another": {"another client identifier takes an empty one without the record",
			faulty{snapshot: func(_ string, s flow.Snapshot) flow.Snapshot { s.Session = v5("x"); return s }}},
		"Cleared keeps the record": {"a cleared session has no record, and the owner stays",
			faulty{change: func(c *flow.Change) {
				if c.Kind == flow.Cleared {
					*c = flow.Change{Kind: flow.Forgotten, ID: 3}
				}
			}}},
		"no assigned owner": {"an assigned client identifier becomes the owner",
			faulty{change: func(c *flow.Change) {
				if c.Session != nil && c.Session.ClientID != "" {
					*c = opened(v5(""))
				}
			}}},
	} {
		if names := failures(t, row.fault); !slices.Contains(names, row.failed) {
			t.Errorf("%s: it passes", name)
		}
	}
}

func TestAStoreThatLosesOrConfusesContentFails(t *testing.T) {
	ignored := func(kind flow.ChangeKind, when func(c *flow.Change) bool) faulty {
		return faulty{change: func(c *flow.Change) {
			if c.Kind == kind && when(c) {
				*c = flow.Change{Kind: flow.Forgotten, ID: 9}
			}
		}}
	}
	always := func(*flow.Change) bool { return true }
	for name, row := range map[string]struct {
		failed string
		fault  faulty
	}{
		"no Accepted":       {"a publication goes from accepted to completed", ignored(flow.Accepted, always)},
		"no Completed":      {"a publication goes from accepted to completed", ignored(flow.Completed, always)},
		"no Released":       {"a publication goes from accepted to completed", ignored(flow.Released, always)},
		"no Accepted twice": {"the changes of a commit are applied in order", ignored(flow.Accepted, func(c *flow.Change) bool { return c.Seq == 2 })},
		"no Assigned to 0":  {"an identifier can be taken back", ignored(flow.Assigned, func(c *flow.Change) bool { return c.ID == 0 })},
		"no Received":       {"another client identifier is rejected by name and changes nothing", ignored(flow.Received, always)},
		"no Forgotten":      {"an empty one takes any client identifier", ignored(flow.Forgotten, always)},
		"no Cleared":        {"a cleared store is empty and accepts later changes", ignored(flow.Cleared, always)},
		"no message to no topic": {"a publication without a topic takes the place of one that was given up",
			ignored(flow.Accepted, func(c *flow.Change) bool { return c.Message.Topic == "" })},
		"no Retain": {"a publication goes from accepted to completed", faulty{change: func(c *flow.Change) { c.Message.Retain = false }}},
		"the newest first": {"the snapshot is in order of acceptance, identifiers rising",
			faulty{snapshot: func(_ string, s flow.Snapshot) flow.Snapshot { slices.Reverse(s.Publications); return s }}},
		"the owner of nobody": {"changes of unknown publications and identifiers have no effect",
			faulty{snapshot: func(_ string, s flow.Snapshot) flow.Snapshot { s.Owner = ""; return s }}},
	} {
		if names := failures(t, row.fault); !slices.Contains(names, row.failed) {
			t.Errorf("%s: it passes", name)
		}
	}
}
