package flow

import "math"

// Identifiers assigns packet identifiers, 1 to 65,535, and maps each identifier in use to a
// reference chosen by the caller. One set serves PUBLISH, SUBSCRIBE and UNSUBSCRIBE together, since
// an identifier in use by one is not free for another [MQTT-2.3.1-2]. The zero value is ready to
// use.
type Identifiers struct {
	table table[int32]
	last  uint16 // the last identifier of Acquire or Claim, after which the next search begins
	high  uint16 // the same for AcquireHigh, downwards
}

// Acquire assigns a free identifier to ref. Acquire goes through all other identifiers before it
// reuses a released one, so that a late ack rarely meets a new publication. Acquire reports false
// when all 65,535 are in use.
func (x *Identifiers) Acquire(ref int32) (id uint16, ok bool) {
	if x.table.used == math.MaxUint16 {
		return 0, false
	}
	x.last = x.next(x.last, 1, ref)
	return x.last, true
}

// AcquireHigh works like Acquire, but counts downwards from 65,535. SUBSCRIBE and UNSUBSCRIBE use
// it. The broker assigns identifiers to its own messages from 1, independently of the client
// [MQTT-2.3.1-4]. Yet some brokers (mochi) reject a SUBSCRIBE whose identifier they use for a
// message in flight to the client, such as a message queued for a kept session.
func (x *Identifiers) AcquireHigh(ref int32) (id uint16, ok bool) {
	if x.table.used == math.MaxUint16 {
		return 0, false
	}
	x.high = x.next(x.high, math.MaxUint16, ref)
	return x.high, true
}

// next assigns to ref the first free identifier among id+step, id+2*step and so on, which wrap
// around. At least one identifier must be free.
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

// Claim assigns the given id to ref, to restore a stored session. The next Acquire searches from id
// on, so call Claim in the order in which the identifiers were assigned. It reports false when id
// is 0 or in use.
func (x *Identifiers) Claim(id uint16, ref int32) bool {
	if id == 0 || x.table.find(id) != nil {
		return false
	}
	x.table.force(id, ref)
	x.last = id
	return true
}

// Reserve keeps the given id from being assigned, until Release. Its reference is 0. It reports
// false when id is 0 or in use.
func (x *Identifiers) Reserve(id uint16) bool {
	if id == 0 || x.table.find(id) != nil {
		return false
	}
	x.table.force(id, 0)
	return true
}

// Lookup returns the reference of id, or false when id is not in use.
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
