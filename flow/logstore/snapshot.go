package logstore

import (
	"cmp"
	"errors"
	"slices"

	"github.com/go-millrace/mqtt/flow"
)

// readSnapshot reads the content of an index. If a publication cannot be read, bad gets the error.
// If bad returns nil, the publication is left out.
func readSnapshot(dir folder, x *index, bad func(error) error) (snap flow.Snapshot, err error) {
	type place struct {
		seq uint64
		entry
	}
	places := make([]place, 0, len(x.entries))
	for seq, e := range x.entries {
		places = append(places, place{seq, e})
	}
	slices.SortFunc(places, func(a, b place) int { // each file once, from its start
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.offset, b.offset))
	})
	var r recordReader
	defer func() { err = errors.Join(err, r.close()) }()
	for _, p := range places {
		restored, err := r.read(dir, p.seq, p.entry)
		if err == nil {
			snap.Publications = append(snap.Publications, restored)
		} else if err = bad(err); err != nil {
			return flow.Snapshot{}, err
		}
	}
	slices.SortFunc(snap.Publications, func(a, b flow.Publication) int { return cmp.Compare(a.Seq, b.Seq) })
	for id := range x.received {
		snap.Received = append(snap.Received, id)
	}
	slices.Sort(snap.Received)
	if x.session != nil {
		record := *x.session
		snap.Session = &record
	}
	snap.Owner = x.owner
	return snap, nil
}

// recordReader reads records one after another.
type recordReader struct {
	compactor
	buf   []byte
	topic string
}

func (r *recordReader) read(dir folder, seq uint64, e entry) (p flow.Publication, err error) {
	if r.dir = dir; r.f == nil || r.of != e.segment {
		if err := r.open(e.segment); err != nil {
			return p, err
		}
	}
	r.buf = slices.Grow(r.buf[:0], e.size)[:e.size]
	if err := readRecord(r.f, r.buf, seq, e); err != nil {
		return p, err
	}
	record, _, _ := parsePublication(r.buf)
	record.flight = e.flight
	if p, err = record.restore(); err != nil {
		return p, &damagedRecord{e, seq, err}
	}
	if r.topic != string(record.topic) { // neighbours often share a topic
		r.topic = string(record.topic)
	}
	p.Message.Topic = r.topic
	return p, nil
}

// damage returns a DamageError for a damaged record, and other errors as they are.
func damage(err error) error {
	r := new(damagedRecord)
	if !errors.As(err, &r) {
		return err
	}
	d := new(DamageError)
	d.add(r.segment, r.offset, "%v", r)
	return d
}
