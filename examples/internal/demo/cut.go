package demo

import (
	"fmt"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// cutter is a hook of mochi that cuts all connections of the broker. It does so at the first
// publication of QoS 1 or 2 that comes when no client has connected for an interval. The broker
// does not process that publication, so that at least one is in flight at the cut.
type cutter struct {
	mochi.HookBase
	door  *door
	every time.Duration
	last  atomic.Pointer[time.Time] // of the last connection, or of a cut after it
}

func newCutter(d *door, every time.Duration) *cutter {
	c := &cutter{door: d, every: every}
	c.last.Store(new(time.Time))
	return c
}

func (c *cutter) ID() string { return "cutter" }

func (c *cutter) Provides(b byte) bool {
	return b == mochi.OnPacketRead || b == mochi.OnSessionEstablished
}

func (c *cutter) OnSessionEstablished(*mochi.Client, packets.Packet) {
	now := time.Now()
	c.last.Store(&now)
}

func (c *cutter) OnPacketRead(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	last, now := c.last.Load(), time.Now()
	if p.FixedHeader.Type != packets.Publish || p.FixedHeader.Qos == 0 || now.Sub(*last) < c.every || !c.last.CompareAndSwap(last, &now) {
		return p, nil
	}
	fmt.Printf("cut       by the broker (-cut %v)\n", c.every)
	c.door.cut()
	return p, packets.ErrRejectPacket
}
