package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// handovers count the messages that are handed over to consumers, and record the times of the
// hand-overs, and of the acks that follow, for Timings and for the Observer. Hand-overs are
// recorded on the goroutines of the consumers and feeders, acks on the loop.
//
// Invariant: ring has the deliveries with the numbers from first up to next that were put into an
// inbox and not acknowledged since, each at its number modulo the length of ring.
type handovers struct {
	clock    *clock // of the loop, only its epoch
	timings  *timings
	observer *observer
	count    atomic.Uint64 // messages that were handed over

	mu          sync.Mutex
	ring        []awaitedAck
	first, next uint64

	acks []Acked // scratch, owned by the loop
}

// An awaitedAck is a delivery that awaits the ack of its consumer.
type awaitedAck struct {
	topic string
	at    time.Duration // of the last hand-over; 0: none yet
	id    uint16
	qos   frames.QoS // 0: there is no such delivery
}

// wanted reports whether Timings or the Observer needs times.
func (h *handovers) wanted() bool { return h.timings.begun() != nil || h.observer.seesDeliveries() }

// arrivesAt returns the time of arrival for messages that arrive now, 0 if no times are wanted.
func (h *handovers) arrivesAt(now time.Duration) time.Duration {
	if !h.wanted() {
		return 0
	}
	return max(1, now)
}

// now reads the clock.
func (h *handovers) now() time.Duration { return max(1, time.Since(h.clock.epoch)) }

// expect adds a delivery that is put into an inbox. A delivery that was put back loses the time of
// its hand-over.
func (h *handovers) expect(d *Delivery) {
	if d.seq == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.first == h.next {
		h.first, h.next = d.seq, d.seq
	}
	if d.seq < h.first {
		return
	}
	for ; h.next <= d.seq; h.next++ {
		if h.next-h.first == uint64(len(h.ring)) {
			h.grow()
		}
		*h.place(h.next) = awaitedAck{}
	}
	*h.place(d.seq) = awaitedAck{topic: d.Topic, id: d.ID, qos: d.QoS}
}

// forget removes a delivery that no consumer acknowledges any more.
func (h *handovers) forget(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(seq)
}

// remove removes and returns a delivery. The caller holds the lock.
func (h *handovers) remove(seq uint64) (was awaitedAck) {
	if seq >= h.first && seq < h.next {
		was, *h.place(seq) = *h.place(seq), awaitedAck{}
	}
	return was
}

func (h *handovers) place(seq uint64) *awaitedAck { return &h.ring[seq&uint64(len(h.ring)-1)] }

func (h *handovers) grow() {
	old := h.ring
	h.ring = make([]awaitedAck, max(16, 2*len(old)))
	for seq := h.first; seq != h.next; seq++ {
		*h.place(seq) = old[seq&uint64(len(old)-1)]
	}
}

// over records that the first messages of a chunk, up to index to, are handed over by now.
func (h *handovers) over(c *chunk, to int) {
	from := c.over
	if from >= to {
		return
	}
	c.over = to
	h.count.Add(uint64(to - from))
	if c.times != nil {
		h.record(c.times, c.deliveries, from, to)
	}
}

func (h *handovers) record(t *chunkTimes, handed []Delivery, from, to int) {
	if len(t.copies) > 0 {
		handed = t.copies
	}
	now, handed, arrived := h.now(), handed[from:to], t.arrived[from:to]
	h.number(handed, now)
	for i, n := 0, 0; i < len(arrived); i += n {
		for n = 1; i+n < len(arrived) && arrived[i+n] == arrived[i]; n++ {
		}
		h.timings.handedOver(now, arrived[i], n)
	}
	if !h.observer.seesDelivered() {
		return
	}
	for i := range handed {
		d := &handed[i]
		t.row = append(t.row, Delivered{d.Message, d.ID, d.Duplicate, h.clock.epoch.Add(arrived[i]), now - arrived[i]})
	}
	h.show(t)
}

// show passes the row to the Observer.
func (h *handovers) show(t *chunkTimes) {
	h.observer.delivered(t.row)
	clear(t.row)
	t.row = t.row[:0]
}

// message records that a message of Latest is handed over now, without its identifier.
func (h *handovers) message(t *chunkTimes, v *newestValue) {
	h.count.Add(1)
	if t == nil || v.arrived == 0 {
		return
	}
	now := h.now()
	h.timings.handedOver(now, v.arrived, 1)
	if h.observer.seesDelivered() {
		t.row = append(t.row, Delivered{Message: v.message, Received: h.clock.epoch.Add(v.arrived), Waited: now - v.arrived})
		h.show(t)
	}
}

// number records the time of the hand-over of deliveries that need an ack.
func (h *handovers) number(handed []Delivery, now time.Duration) {
	if !needAcks(handed) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range handed {
		if seq := handed[i].seq; seq >= h.first && seq < h.next {
			h.place(seq).at = now
		}
	}
}

// acked records that consumers have acknowledged the deliveries with the numbers in seqs, or
// rejected them. The acks of all deliveries with numbers below oldest were sent before. If an ack
// comes before its hand-over is recorded, its duration is 0.
func (h *handovers) acked(seqs []uint64, rejected map[uint64]rejection, oldest uint64, now time.Duration) {
	if len(seqs) == 0 || !h.wanted() {
		return
	}
	h.mu.Lock()
	h.first = min(max(h.first, oldest), h.next)
	for _, seq := range seqs {
		was := h.remove(seq)
		if was.qos == frames.AtMostOnce {
			continue
		}
		if was.at == 0 {
			was.at = now
		}
		a := Acked{Topic: was.topic, QoS: was.qos, ID: was.id, HandedOver: h.clock.epoch.Add(was.at), Took: max(0, now-was.at)}
		h.timings.acked(a.Took)
		if h.observer.seesAcked() {
			a.Code = rejected[seq].code
			h.acks = append(h.acks, a)
		}
	}
	h.mu.Unlock()
	if len(h.acks) > 0 {
		h.observer.acked(h.acks)
		clear(h.acks)
		h.acks = h.acks[:0]
	}
}

// shrink frees the memory of an idle session, in which the acks of all deliveries with numbers
// below oldest were sent.
func (h *handovers) shrink(oldest uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.first = min(max(h.first, oldest), h.next); h.first == h.next {
		h.ring = nil
	}
}

func needAcks(deliveries []Delivery) bool {
	for i := range deliveries {
		if deliveries[i].seq != 0 {
			return true
		}
	}
	return false
}
