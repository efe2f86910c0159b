package stream

import (
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// receive handles the packets of one read. It locks the inboxes only once for consecutive PUBLISH
// packets.
func (l *loop) receive(packets []packet) {
	l.link.keepAlive.Heard(l.clock.now, l.link.conn.BytesIn())
	l.count.reads++
	l.log.received(packets)
	for i := 0; i < len(packets) && l.link.phase == phaseUp; {
		if packets[i].kind == frames.TypePublish {
			i += l.deliverRun(packets[i:])
			continue
		}
		l.count.bytesIn += uint64(packets[i].size)
		l.control(&packets[i])
		i++
	}
	clear(packets) // the inboxes hold the payloads now
	l.log.logTopics()
}

// deliverRun delivers the PUBLISH packets at the beginning of packets, and returns their number.
func (l *loop) deliverRun(packets []packet) (n int) {
	before := l.receiver.Surplus()
	l.inboxes.lockAt(l.clock.now)
	for n < len(packets) && packets[n].kind == frames.TypePublish && l.link.phase == phaseUp {
		p := &packets[n]
		n++
		l.count.bytesIn += uint64(p.size)
		if p.message.QoS > frames.AtMostOnce && !l.receiver.Admits(p.message.QoS, p.id, p.dup) {
			l.receiver.Exceed()
		}
		l.deliver(p)
	}
	l.inboxes.unlock()
	if l.receiver.Surplus() > before { // logged without the lock, since a handler is code of the user
		l.log.noteSurplus(int(l.link.terms.quota))
	}
	return n
}

// deliver routes a PUBLISH to the inboxes that want it. The inboxes are locked.
func (l *loop) deliver(p *packet) {
	l.count.received++
	if p.message.QoS == frames.AtMostOnce {
		l.throttle.qos0Read = true
	}
	if !l.ending.delivers() {
		return // without an ack, the broker sends the message again to a kept session
	}
	if p.tooLarge {
		l.count.tooLarge++
		note(&l.log.tooLarge, p.message.Topic)
		if p.message.QoS > frames.AtMostOnce {
			if first, isNew := l.receiver.Arrive(p.message.QoS, p.id, p.dup, 1); isNew {
				l.receiver.Ack(first) // or the broker would send it again at each connection
			}
		}
		return
	}
	sets := l.subs.Lookup(p.message.Topic)
	if p.message.Properties != nil {
		sets = l.subs.LookupFor(p.message.Topic, p.message.Properties.Subscriptions)
	}
	d := Delivery{Message: p.message, Duplicate: p.dup, ID: p.id}
	var was flow.Numbers // of a message that the broker sends again
	if p.message.QoS > frames.AtMostOnce {
		if p.dup && p.message.QoS == frames.AtLeastOnce {
			was = l.receiver.Repeated(p.id)
		}
		first, isNew := l.receiver.Arrive(p.message.QoS, p.id, p.dup, max(1, len(sets)))
		if !isNew {
			_, next := l.receiver.Waits()
			d.seq = next - 1
			l.receiver.delivered(&d, nil, l.clock.now)
			return
		}
		d.seq = first
	}
	switch {
	case len(sets) > 0:
		for _, set := range sets {
			l.receiver.delivered(&d, set.inbox, l.clock.now)
			kept := l.inboxes.put(set.inbox, &d, len(sets) > 1, was)
			if d.seq != 0 {
				if !kept {
					l.receiver.Ack(d.seq)
				}
				d.seq++
			}
		}
	case l.settings.discardUnclaimed || l.subs.Unsubscribed(d.Topic): // acknowledged all the same [MQTT-4.5.0-2]
		l.discard(&d)
	default:
		note(&l.log.unclaimed, d.Topic)
		l.receiver.delivered(&d, l.inboxes.unclaimed, l.clock.now)
		l.inboxes.put(l.inboxes.unclaimed, &d, false, was)
	}
}

// discard acknowledges a message that is delivered to nobody, and counts it.
func (l *loop) discard(d *Delivery) {
	l.count.discarded++
	if d.seq != 0 {
		if d.turn > 0 {
			l.inboxes.acks.forget(d.seq)
		}
		l.receiver.Ack(d.seq)
	}
}

// control takes a packet other than PUBLISH.
func (l *loop) control(p *packet) {
	switch p.kind {
	case frames.TypePuback, frames.TypePubrec, frames.TypePubcomp:
		l.acknowledged(p)
	case frames.TypePubrel:
		a := frames.Ack{Kind: frames.TypePubcomp, ID: p.id}
		if !l.receiver.Release(p.id) {
			a.Code = frames.PacketIdentifierNotFound
		}
		l.outbox.ack(a)
	case frames.TypeSuback:
		l.suback(p.id, p.rest.codes, RefusedError{Reason: p.properties().Reason})
	case frames.TypeUnsuback:
		if err := l.subs.Unsuback(p.id, p.rest.codes); err != nil {
			l.link.fail(err)
		}
	case frames.TypeAuth:
		if err := l.link.reauth.received(p.rest.auth); err != nil {
			l.link.fail(err)
		}
	case frames.TypePingresp:
		if sent, ok := l.link.keepAlive.Pending(); ok {
			l.timings.ping(l.clock.now - sent)
		}
		l.link.keepAlive.Answered()
		l.subs.Ponged()
		l.shrink()
	}
}

// takeAcks passes the acks of consumers on to the receiver.
func (l *loop) takeAcks() {
	requeues := l.inboxes.acks.takeRequeues() // first, so that an Ack before a Requeue is seen before it
	seqs, rejected := l.inboxes.acks.take()
	for _, seq := range seqs {
		if r, ok := rejected[seq]; ok && l.link.terms.version >= frames.V5 {
			l.receiver.Reject(seq, r.checked(&l.log), r.reason)
		} else {
			l.receiver.Ack(seq)
		}
	}
	oldest, _ := l.receiver.Waits()
	l.inboxes.hands.acked(seqs, rejected, oldest, l.clock.now)
	l.count.requeued += uint64(l.inboxes.postpone(requeues, l.clock.now, l.receiver.Open))
}
