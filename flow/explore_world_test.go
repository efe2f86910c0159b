package flow_test

import (
	"fmt"
	"slices"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// plan is the situation that is explored.
type plan struct {
	window  int
	out, in []frames.QoS // the publications, and the messages to the client
	cuts    int          // connections that break
	crashes int          // processes that die
	losses  int          // sessions that the broker loses, while the client is not connected

	// MQTT 5
	v5       bool
	refusals int // publications that the broker refuses
	rejects  int // messages that the consumer rejects
	quota    int // Receive Maximum of the client; 0: none

	fault fault // misbehaves between client and network
}

// A fault changes the behaviour of the client, to show that the exploration finds it.
type fault struct {
	written func(w *world, packets []packet) []packet
	resumed func(w *world)
	refused func(w *world, p packet)  // by the broker
	rejects func(w *world, d waiting) // by the consumer
}

// world is the state of a client, of a broker, of the network between them, and of the history that
// the promises refer to.
//
// CONNECT and CONNACK are one step, together with the commit that follows when the broker has no
// session. A client that dies between these cannot know that the session was lost, since the next
// CONNACK has session present.
type world struct {
	plan *plan
	client
	broker   broker
	online   bool
	toBroker []packet
	toClient []packet

	added                 int
	cuts, crashes, losses int // that happened
	refusals, rejects     int // that happened

	arrived   []byte // by publication: how often the broker passed it on
	newest    int    // the publication whose PUBLISH arrived first last
	owed      []bool // by publication: it must end
	got       []bool // by message: it arrived in this process, or is held
	delivered []byte // by message: how often the consumer got it in this process
	ever      []bool // by message: the consumer got it in any process
	acked     []bool // by message: the consumer has acknowledged it
	unstored  []bool // by message: acknowledged in this process since the last commit
	settled   []bool // by message: acknowledged before the last commit
	rejected  []bool // by message: the consumer has rejected it
	refused   []bool // by publication: the broker has refused it
	latest    int    // the message that was delivered first last

	wrong string // the first broken promise
}

func newWorld(p *plan) *world {
	store := flow.NewMemoryStore()
	c, err := newClient(p.window, store, len(p.out))
	w := &world{
		plan: p, client: c, arrived: make([]byte, len(p.out)), newest: -1, owed: make([]bool, len(p.out)),
		got: make([]bool, len(p.in)), delivered: make([]byte, len(p.in)), ever: make([]bool, len(p.in)),
		acked: make([]bool, len(p.in)), unstored: make([]bool, len(p.in)), settled: make([]bool, len(p.in)), latest: -1,
		rejected: make([]bool, len(p.in)), refused: make([]bool, len(p.out)),
	}
	if err != nil {
		w.fail("%v", err)
	}
	return w
}

func (w *world) clone() *world {
	c := *w
	c.client, c.broker = w.client.clone(), w.broker.clone()
	c.toBroker, c.toClient = slices.Clone(w.toBroker), slices.Clone(w.toClient)
	c.arrived, c.owed, c.got = slices.Clone(w.arrived), slices.Clone(w.owed), slices.Clone(w.got)
	c.delivered, c.ever, c.acked = slices.Clone(w.delivered), slices.Clone(w.ever), slices.Clone(w.acked)
	c.settled, c.unstored = slices.Clone(w.settled), slices.Clone(w.unstored)
	c.rejected, c.refused = slices.Clone(w.rejected), slices.Clone(w.refused)
	return &c
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// encode returns an encoding that is equal for states that behave alike.
func (w *world) encode() []byte {
	b := make([]byte, 0, 256)
	b = w.client.appendState(b)
	b = w.broker.appendState(b)
	b = appendPackets(appendPackets(b, w.toBroker), w.toClient)
	b = append(b, byte(w.added), byte(w.cuts), byte(w.crashes), byte(w.losses), byte(w.refusals), byte(w.rejects), byte(w.newest), byte(w.latest))
	b = append(append(b, w.arrived...), w.delivered...)
	for _, list := range [][]bool{{w.online}, w.owed, w.got, w.ever, w.acked, w.unstored, w.settled, w.rejected, w.refused} {
		for _, v := range list {
			if v {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	}
	return b
}

// passOn records that the broker passes publication k on.
func (w *world) passOn(k int) {
	w.arrived[k]++
	if w.arrived[k] > 1 && w.plan.out[k] != frames.AtLeastOnce {
		w.fail("publication %d of QoS %d arrives twice", k, w.plan.out[k])
	}
	w.arrived[k] = min(w.arrived[k], 2)
}

// skipped reports whether a publication before k that has not arrived never will.
func (w *world) skipped(k int) bool {
	for i := w.newest + 1; i < k; i++ {
		if w.owed[i] && w.ended[i] == open {
			return false
		}
	}
	return true
}

// end records the end of publication k.
func (w *world) end(k int, f fate) {
	switch {
	case w.ended[k] != open:
		w.fail("publication %d ends twice", k)
	case f == confirmed && w.plan.out[k] > frames.AtMostOnce && w.arrived[k] == 0:
		w.fail("publication %d ends without an error, and has not arrived", k)
	case f == refused && !w.refused[k]:
		w.fail("publication %d ends as refused, and the broker has not refused it", k)
	}
	w.ended[k] = f
}

// accept accepts the next publication.
func (w *world) accept() {
	k := w.added
	w.added++
	w.owed[k] = true
	w.sender.Add(frames.Message{Topic: "t", QoS: w.plan.out[k], Payload: []byte{byte(k)}}, k, 0, flow.Expiry{})
	w.afterEvent()
}

func (w *world) afterEvent() {
	if w.online {
		w.turn()
	}
}

// commit commits a batch and returns the packets to write.
func (w *world) commit() []packet {
	for m, acked := range w.unstored {
		w.settled[m] = w.settled[m] || acked
	}
	clear(w.unstored)
	return w.flush()
}

func (w *world) write() {
	packets := w.commit()
	if w.plan.fault.written != nil {
		packets = w.plan.fault.written(w, packets)
	}
	w.toBroker = append(w.toBroker, packets...)
	w.sender.Written(w.handed, func(e flow.Ended[int]) { w.end(e.Owner, confirmed) })
}

func (w *world) connect() {
	present, again := w.broker.connect(w)
	w.online, w.toClient = true, again
	w.receiver.SetQuota(uint16(w.plan.quota), present)
	if !present {
		w.sender.SessionLost(func(e flow.Ended[int]) { w.end(e.Owner, sessionLost) })
		w.receiver.Clear()
		w.commit()
	} else if w.plan.fault.resumed != nil {
		w.plan.fault.resumed(w)
	}
	w.turn()
}

func (w *world) cut() {
	w.online, w.toBroker, w.toClient, w.filling = false, nil, nil, nil
	w.sender.Lost(w.handed, true, func(e flow.Ended[int]) { w.end(e.Owner, unwritten) })
	w.receiver.Lost(true)
}

// die ends the process. The next one has the committed content of the Store.
func (w *world) die() {
	clear(w.owed)
	for _, p := range snapshot(w.store).Publications {
		w.owed[p.Message.Payload[0]] = true
	}
	var err error
	if w.client, err = newClient(w.plan.window, w.store, len(w.plan.out)); err != nil {
		w.fail("%v", err)
	}
	w.online, w.toBroker, w.toClient = false, nil, nil
	clear(w.got)
	clear(w.delivered)
	clear(w.unstored)
}

// receive handles the next packet for the client.
func (w *world) receive() {
	p := w.toClient[0]
	w.toClient = w.toClient[1:]
	switch p.kind {
	case frames.TypePublish:
		if !w.receiver.Admits(w.plan.in[p.msg], p.id, p.dup) {
			w.fail("message %d exceeds the quota, which the broker keeps", p.msg)
		}
		if w.arrive(w.plan.in[p.msg], p) {
			w.got[p.msg] = true
		}
	case frames.TypePubrel:
		w.receiver.Release(p.id)
		w.filling = append(w.filling, packet{kind: frames.TypePubcomp, id: p.id})
	default:
		e, outcome := w.sender.Acknowledge(p.kind, p.id, p.code, w.handed, 0)
		switch outcome {
		case flow.Confirmed:
			w.end(e.Owner, confirmed)
		case flow.Release, flow.ReleaseUnknown:
			w.filling = append(w.filling, packet{kind: frames.TypePubrel, id: p.id})
		case flow.Refused:
			w.end(e.Owner, refused)
			if w.plan.fault.refused != nil {
				w.plan.fault.refused(w, p)
			}
		case flow.Violation, flow.Downgraded, flow.Mismatched:
			w.fail("%v is taken for a violation", p)
		}
	}
	w.turn()
}

// handOver passes the first message of the inbox to its consumer.
func (w *world) handOver() {
	d := w.inbox[0]
	w.inbox = w.inbox[1:]
	w.taken = append(w.taken, d)
	if w.plan.in[d.msg] == frames.ExactlyOnce && !w.rejected[d.msg] && (w.delivered[d.msg] > 0 || w.settled[d.msg]) {
		w.fail("message %d of QoS 2 is handed over twice", d.msg)
	}
	if !w.ever[d.msg] && d.msg < w.latest {
		w.fail("message %d is handed over after message %d", d.msg, w.latest)
	}
	w.latest, w.ever[d.msg] = max(w.latest, d.msg), true
	w.delivered[d.msg] = min(w.delivered[d.msg]+1, 2)
}

// acknowledge is the consumer's ack of delivery i that it has.
func (w *world) acknowledge(i int) {
	d := w.taken[i]
	w.taken = slices.Delete(w.taken, i, i+1)
	w.acked[d.msg], w.unstored[d.msg] = true, true
	w.receiver.Ack(d.seq)
	w.afterEvent()
}

// reject is the consumer's rejection of delivery i that it has. The broker may send the message
// again if it does not learn of it.
func (w *world) reject(i int) {
	d := w.taken[i]
	w.taken = slices.Delete(w.taken, i, i+1)
	w.rejects++
	w.rejected[d.msg] = true
	w.receiver.Reject(d.seq, frames.NotAuthorized, "")
	if w.plan.fault.rejects != nil {
		w.plan.fault.rejects(w, d)
	}
	w.afterEvent()
}

// finished compares the state with the end that everything must lead to.
func (w *world) finished() string {
	for k := range w.added {
		if w.owed[k] && w.ended[k] == open {
			return fmt.Sprintf("publication %d has not ended", k)
		}
	}
	for m, got := range w.got {
		if got && !w.ever[m] {
			return fmt.Sprintf("message %d has arrived and is never handed over", m)
		}
	}
	snap := snapshot(w.store)
	if w.sender.Len() != 0 || w.ids.Len() != 0 || w.receiver.Held() != 0 || w.receiver.Unacked() != 0 || !snap.Empty() {
		return fmt.Sprintf("left: %d publications, %d identifiers, %d inbound, %d acks, store %+v",
			w.sender.Len(), w.ids.Len(), w.receiver.Held(), w.receiver.Unacked(), snap)
	}
	if len(w.broker.inFlight)+len(w.broker.inbound) > 0 {
		return fmt.Sprintf("the broker awaits an ack for %v, or PUBREL for %v", w.broker.inFlight, w.broker.inbound)
	}
	return ""
}

func snapshot(store *flow.MemoryStore) flow.Snapshot {
	store = store.Clone()
	_ = store.Detach()
	snap, _ := store.Attach("c")
	return snap
}
