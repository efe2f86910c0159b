package stream

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// postponed are the requeued deliveries that wait for their time. A nil postponed has none.
//
// Invariant: list is in order of due, and of Requeue where due is the same. qos0 is how many of the
// deliveries are QoS 0.
type postponed struct {
	list []requeue
	qos0 int
}

// add inserts a delivery behind all that are due at the same time or before.
func (p *postponed) add(r requeue) {
	at, _ := slices.BinarySearchFunc(p.list, r.due+1, func(r requeue, due time.Duration) int { return int(r.due - due) })
	p.list = slices.Insert(p.list, at, r)
	p.count(&r, 1)
}

func (p *postponed) count(r *requeue, n int) {
	if r.delivery.QoS == frames.AtMostOnce {
		p.qos0 += n
	}
}

// take removes the delivery at an index of list, and returns it.
func (p *postponed) take(at int) requeue {
	r := p.list[at]
	p.list = slices.Delete(p.list, at, at+1)
	p.count(&r, -1)
	return r
}

// oldest returns the index of the QoS 0 delivery that arrived first, -1 for none.
func (p *postponed) oldest() (oldest int) {
	oldest = -1
	if p == nil || p.qos0 == 0 {
		return oldest
	}
	for i := range p.list {
		d := &p.list[i].delivery
		if d.QoS == frames.AtMostOnce && (oldest < 0 || d.arrivedBefore(&p.list[oldest].delivery)) {
			oldest = i
		}
	}
	return oldest
}

// due returns when the first delivery is due, 0 for none.
func (p *postponed) due() time.Duration {
	if p == nil || len(p.list) == 0 {
		return 0
	}
	return p.list[0].due
}

// takeDue removes the deliveries that are due, and returns them in their order.
func (p *postponed) takeDue(now time.Duration) []requeue {
	n := 0
	for ; n < len(p.list) && p.list[n].due <= now; n++ {
		p.count(&p.list[n], -1)
	}
	due := slices.Clone(p.list[:n])
	p.list = slices.Delete(p.list, 0, n)
	return due
}

// takeFrom removes the deliveries of an inbox, and returns them in their order.
func (p *postponed) takeFrom(box *inbox) (taken []requeue) {
	if p == nil {
		return nil
	}
	p.list = slices.DeleteFunc(p.list, func(r requeue) bool {
		if r.delivery.from != box {
			return false
		}
		p.count(&r, -1)
		taken = append(taken, r)
		return true
	})
	return taken
}

// all returns the deliveries. The slice is valid until the next change.
func (p *postponed) all() []requeue {
	if p == nil {
		return nil
	}
	return p.list
}
