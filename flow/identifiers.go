package flow

import "math"

// Identifiers hands out packet identifiers, 1 to 65,535, and remembers what
// each one in use stands for. One set serves PUBLISH, SUBSCRIBE and UNSUBSCRIBE
// together, since an identifier in use by one is not free for another
// [MQTT-2.3.1-2]. The zero value is ready to use.
type Identifiers struct {
	table table[int32]
	last  uint16 // the identifier given out last; the next is sought from here
	high  uint16 // the same for AcquireHigh, downwards
}

// Acquire takes a free identifier for ref. Identifiers rotate: one that was
// released is the last to come again, so that a late ack rarely meets a new
// owner. It reports false when all 65,535 are in use.
func (x *Identifiers) Acquire(ref int32) (id uint16, ok bool) {
	if x.table.used == math.MaxUint16 {
		return 0, false
	}
	x.last = x.next(x.last, 1, ref)
	return x.last, true
}

// AcquireHigh is Acquire from the other end, downwards from 65,535. SUBSCRIBE and
// UNSUBSCRIBE have these: the broker counts its own messages from 1, apart from
// ours [MQTT-2.3.1-4], but there are brokers (mochi) that take no SUBSCRIBE with
// the identifier of a message that they have in flight, such as those that waited
// for a kept session.
func (x *Identifiers) AcquireHigh(ref int32) (id uint16, ok bool) {
	if x.table.used == math.MaxUint16 {
		return 0, false
	}
	x.high = x.next(x.high, math.MaxUint16, ref)
	return x.high, true
}

// next takes the first free identifier after id, in steps that wrap around. One is
// free.
func (x *Identifiers) next(id, step uint16, ref int32) uint16 {
	x.table.makeRoom()
	for {
		if id += step; id == 0 { // 0 is not an identifier [MQTT-2.3.1-1]
			continue
		}
		if x.table.insert(id, ref) {
			return id
		}
	}
}

// Claim takes the identifier id itself, as a session that was stored needs; the
// next one is sought from there, so claims come in the order in which the
// identifiers were given out. It reports false when id is 0 or in use.
func (x *Identifiers) Claim(id uint16, ref int32) bool {
	if id == 0 || x.table.find(id) != nil {
		return false
	}
	x.table.force(id, ref)
	x.last = id
	return true
}

// Lookup returns what id stands for; false when it is not in use.
func (x *Identifiers) Lookup(id uint16) (ref int32, ok bool) {
	if p := x.table.find(id); p != nil {
		return *p, true
	}
	return 0, false
}

// Release frees id [MQTT-2.3.1-3].
func (x *Identifiers) Release(id uint16) { x.table.remove(id) }

// Len returns how many identifiers are in use.
func (x *Identifiers) Len() int { return x.table.used }
