package streamtest

import "time"

// segmentBytes is the largest number of bytes that a slow line passes on at once.
const segmentBytes = 1460

// A line delays the bytes of one direction, as a line of a limited rate does. Its zero value delays
// nothing.
//
// Invariant: the segments in transit are in the order of the stream, and none arrives before an
// earlier one.
type line struct {
	rate    int // bytes per second; 0: no delay
	transit []segment
	arrived int64     // position of the last byte that has arrived, if segments are in transit
	free    time.Time // when the last segment has passed
}

// A segment is a part of the stream that arrives at once, when its last byte has passed the line.
type segment struct {
	end int64 // position after its last byte
	at  time.Time
}

// add puts n bytes on the line, the first of which is at position from.
func (l *line) add(from int64, n int) {
	if l.rate == 0 && len(l.transit) == 0 {
		return
	}
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	if len(l.transit) == 0 {
		l.arrived = from
	}
	for n > 0 {
		k := min(n, segmentBytes)
		if l.rate > 0 {
			l.free = l.free.Add(time.Duration(k) * time.Second / time.Duration(l.rate))
		}
		from += int64(k)
		n -= k
		l.transit = append(l.transit, segment{from, l.free})
	}
}

// receive returns the position up to which bytes have arrived. The parameter put is the position of
// the writer.
func (l *line) receive(put int64) int64 {
	if len(l.transit) == 0 {
		return put
	}
	now := time.Now()
	for len(l.transit) > 0 && !l.transit[0].at.After(now) {
		l.arrived = l.transit[0].end
		l.transit = l.transit[1:]
	}
	return l.arrived
}

// next returns when the next segment arrives, or the zero time if none is in transit.
func (l *line) next() time.Time {
	if len(l.transit) == 0 {
		return time.Time{}
	}
	return l.transit[0].at
}

// drop discards the segments in transit.
func (l *line) drop() { l.transit, l.free = nil, time.Time{} }
