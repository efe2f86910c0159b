package stream

import "time"

// A burst decides when to free the memory that many packets needed. A PINGRESP, the sign of an idle
// session, frees it earlier, but a client that exchanges a packet now and then may never get a
// PINGRESP.
//
// Invariant: freeAt is 0 while fewer than burstPackets have passed since the memory was freed, so
// an idle client is not woken for it.
type burst struct {
	before uint64        // packets that had passed when the memory was last freed
	freeAt time.Duration // when the memory will be freed; 0 if there is little to free
}

const (
	burstPackets = 64

	// burstPeriod is how often the memory is freed while packets pass. To allocate it again takes
	// far less than a thousandth of this time.
	burstPeriod = 10 * time.Second
)

// begins reports whether the next call of over sets freeAt.
func (b *burst) begins(packets uint64) bool {
	return b.freeAt == 0 && packets >= b.before+burstPackets
}

// over reports whether memory must be freed. The parameter packets is the count of packets that
// have passed. It may fall, since publications that wait to be sent count too.
func (b *burst) over(now time.Duration, packets uint64) bool {
	if b.begins(packets) {
		b.freeAt = now + burstPeriod
	}
	return b.freeAt != 0 && now >= b.freeAt
}

// freed records that the memory was freed. If messages still wait, they keep their memory, and
// another attempt follows.
func (b *burst) freed(now time.Duration, packets uint64, waiting bool) {
	if waiting && b.freeAt != 0 {
		b.freeAt = now + burstPeriod
		return
	}
	b.before, b.freeAt = packets, 0
}
