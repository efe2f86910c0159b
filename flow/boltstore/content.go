//go:build !wasm

package boltstore

import (
	"bytes"
	"maps"
	"slices"

	"github.com/go-millrace/mqtt/flow"
)

const (
	metaBucket         = "meta"
	publicationsBucket = "publications"
	flightBucket       = "flight"
	receivedBucket     = "received"
)

var (
	formatKey  = []byte("format")
	sessionKey = []byte("session") // in files of format 2 only
	stateKey   = []byte("state")
)

// content is the checked content of a store file.
type content struct {
	im *image

	format    uint32 // 0: missing
	state     *state // nil: missing
	found     state  // the tallies of the records in the file
	unmatched map[uint64]flightEntry

	keep    bool // whether to fill snap
	salvage bool // whether to read on behind a damaged part of the tree of buckets
	topic   string
	snap    flow.Snapshot
}

// flightEntry is an entry of the flight bucket whose publication has not been read yet.
type flightEntry struct {
	flight
	offset int64
}

// root is the entry of a bucket in the tree of buckets.
type root struct {
	name   string
	value  []byte
	offset int64
}

// read reads the whole file, reports every damage, and, if keep is set, fills the snapshot.
func (c *content) read(fallback bool) error {
	if err := c.im.header(fallback); err != nil {
		return err
	}
	var roots []root
	c.im.tree(c.im.meta.root, nil, nil, 0, func(flags uint32, key, value []byte, offset int64) {
		if flags != 1 || len(value) < bucketHeader {
			c.im.report(key, offset, "it is not a bucket")
			return
		}
		roots = append(roots, root{string(key), bytes.Clone(value), offset})
	})
	if err := c.im.err(); err != nil && !c.salvage {
		return err
	}
	// Read the format first, since the other buckets of a later format are unknown.
	known := map[string]visitor{
		metaBucket: c.meta, flightBucket: c.flight, publicationsBucket: c.publication, receivedBucket: c.received,
	}
	order := []string{metaBucket, flightBucket, publicationsBucket, receivedBucket}
	for _, name := range order {
		i := slices.IndexFunc(roots, func(r root) bool { return r.name == name })
		if i < 0 {
			continue
		}
		c.bucket(roots[i], known[name])
		roots = slices.Delete(roots, i, i+1)
		delete(known, name)
		if c.format > version {
			return &FormatError{Path: c.im.path, Format: c.format, Known: version}
		}
	}
	if c.format == 0 && len(known) > 0 && c.im.err() == nil {
		return foreign(c.im.path)
	}
	for _, r := range roots {
		c.im.bucket = r.name
		c.im.report(nil, r.offset, "the bucket is unknown")
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		c.im.bucket = name
		c.im.report(nil, int64(c.im.meta.root)*c.im.meta.pageSize, "the bucket is missing")
	}
	c.checkTallies()
	c.im.bucket = ""
	if c.im.err() == nil { // otherwise pages below a damaged branch would be reported, too
		c.im.freelist()
	}
	if c.im.err() == nil {
		c.im.checkAllPages()
	}
	return c.im.err()
}

func (c *content) bucket(r root, visit visitor) {
	c.im.bucket, c.im.last = r.name, nil
	defer func() { c.im.bucket = "" }()
	records := func(flags uint32, key, value []byte, offset int64) {
		if flags != 0 {
			c.im.report(key, offset, "it is not a record")
			return
		}
		visit(flags, key, value, offset)
	}
	if id := native.Uint64(r.value); id != 0 {
		c.im.tree(id, nil, nil, 0, records)
		return
	}
	page := r.value[bucketHeader:] // the page of a small bucket is part of its entry
	switch {
	case len(page) < pageHeader || native.Uint16(page[8:]) != leafPage:
		c.im.report(nil, r.offset, "the bucket has no page")
		return
	case native.Uint64(page) != 0 || native.Uint32(page[12:]) != 0: // bbolt would free the pages of this number
		c.im.report(nil, r.offset, "the page in the bucket has the number %d and %d overflow pages", native.Uint64(page), native.Uint32(page[12:]))
		return
	}
	c.im.entries(page, r.offset+bucketHeader, nil, nil, records)
}

// checkTallies compares the records in the file with the state.
func (c *content) checkTallies() {
	for _, seq := range slices.Sorted(maps.Keys(c.unmatched)) {
		c.im.bucket = flightBucket
		c.im.report(seqKey(seq), c.unmatched[seq].offset, "it belongs to no publication")
	}
	if c.im.damage.Total > 0 {
		return
	}
	if c.state == nil || c.format == 0 {
		c.im.bucket = metaBucket
		c.im.report(nil, 0, "the format or the state is missing")
		return
	}
	if r := c.snap.Session; r != nil && r.ClientID != "" && r.ClientID != c.state.owner {
		c.im.bucket = metaBucket
		c.im.report(sessionKey, 0, "it has the client identifier %q, the state has %q", r.ClientID, c.state.owner)
	}
	for _, b := range []struct {
		name        string
		found, want tally
	}{
		{publicationsBucket, c.found.publications, c.state.publications},
		{flightBucket, c.found.flight, c.state.flight},
		{receivedBucket, c.found.received, c.state.received},
	} {
		if b.found != b.want {
			c.im.bucket = b.name
			c.im.report(nil, 0, "it has %d records with the sum of keys %d instead of %d with %d",
				b.found.count, b.found.sum, b.want.count, b.want.sum)
		}
	}
}

func (c *content) meta(_ uint32, key, value []byte, offset int64) {
	var err error
	switch {
	case bytes.Equal(key, formatKey):
		c.format, err = parseFormat(value)
	case bytes.Equal(key, stateKey):
		var s state
		if s, err = parseState(value); err == nil {
			c.state, c.snap.Owner = &s, s.owner
		}
	case bytes.Equal(key, sessionKey) && c.format != baseFormat: // the format precedes it
		c.snap.Session, err = parseSession(value)
	default:
		c.im.report(key, offset, "it is unknown")
	}
	if err != nil {
		c.format = min(c.format, version) // believe a later format only if its checksum is valid
		c.im.report(key, offset, "%v", err)
	}
}

func (c *content) flight(_ uint32, key, value []byte, offset int64) {
	f, err := parseFlight(key, value)
	if err != nil {
		c.im.report(key, offset, "%v", err)
		return
	}
	c.found.flight.add(key)
	if c.unmatched == nil {
		c.unmatched = make(map[uint64]flightEntry)
	}
	c.unmatched[keyNumber(key)] = flightEntry{f, offset}
}

func (c *content) publication(_ uint32, key, value []byte, offset int64) {
	seq := keyNumber(key)
	p, err := parsePublication(key, value)
	if err == nil && p.extras && c.format == baseFormat {
		err = errFlags
	}
	if err == nil {
		p.message.Properties, err = p.properties()
	}
	if err != nil {
		delete(c.unmatched, seq) // so that the same damage is not reported twice
		c.im.report(key, offset, "%v", err)
		return
	}
	c.found.publications.add(key)
	if later, ok := c.unmatched[seq]; ok {
		p.flight = later.flight
		delete(c.unmatched, seq)
	}
	if !c.keep {
		return
	}
	if c.topic != string(p.topic) { // neighbours often share a topic
		c.topic = string(p.topic)
	}
	m := p.message
	m.Topic, m.Payload = c.topic, bytes.Clone(m.Payload)
	c.snap.Publications = append(c.snap.Publications,
		flow.Publication{Seq: seq, Message: m, Deadline: fromUnix(p.deadline), ID: p.id, Released: p.released})
}

func (c *content) received(_ uint32, key, value []byte, offset int64) {
	id, err := parseReceived(key, value)
	if err != nil {
		c.im.report(key, offset, "%v", err)
		return
	}
	c.found.received.add(key)
	if c.keep {
		c.snap.Received = append(c.snap.Received, id)
	}
}
