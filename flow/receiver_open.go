package flow

// earlierOpen has the deliveries of earlier connections that their consumers have not acknowledged,
// whether or not the broker still has their messages. They show whether a delivery that a consumer
// hands back was acknowledged before.
//
// It is bounded: when more than MaxUnacked deliveries are open, the oldest are forgotten.
type earlierOpen struct {
	open     map[uint64]struct{} // by number, from openFrom on
	openFrom uint64              // earlier deliveries are taken to be open
}

func (o *earlierOpen) shrink() {
	if len(o.open) == 0 {
		o.open = nil
	}
}

// Open reports whether delivery seq of any connection is still unacknowledged by its consumer.
// Unlike Pending, it includes QoS 1 and the deliveries of a lost session. It may be true for a
// delivery that was acknowledged when more than MaxUnacked deliveries were left open since.
func (r *Receiver) Open(seq uint64) bool {
	if seq >= r.connStart {
		return r.Pending(seq)
	}
	_, ok := r.open[seq]
	return ok || seq < r.openFrom
}

// keepOpen notes the unacknowledged deliveries of the connection that is lost.
func (r *Receiver) keepOpen() {
	if len(r.open)+r.unacked > MaxUnacked {
		r.open, r.openFrom = nil, r.head
	}
	for seq := r.head; seq != r.tail; seq++ {
		if d := r.at(seq); !d.acked && !d.duplicate {
			if r.open == nil {
				r.open = make(map[uint64]struct{})
			}
			r.open[seq] = struct{}{}
		}
	}
}
