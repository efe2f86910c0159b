package stream

import (
	"github.com/go-millrace/mqtt/frames"
)

// event takes what the reader has for the loop.
func (l *loop) event(e event) {
	switch {
	case e.link != nil:
		l.up(e.link)
	case e.err != nil && !l.online:
		l.busy = false
		l.attemptFailed(e.err)
	case e.err != nil:
		l.busy = false
		l.fail(e.err)
	case l.failed == nil:
		l.batchIn(e.packets)
	}
}

// batchIn takes the packets of one read, the inboxes under one lock.
func (l *loop) batchIn(packets []packet) {
	l.keep.heard(l.now)
	l.keep.bytesIn = l.link.bytesIn.Load()
	l.stats.Reads++
	if l.debug { // before the lock: a log handler is code of the user
		for i := range packets {
			l.logIn(&packets[i])
		}
	}
	l.s.boxes.mu.Lock()
	locked := true
	for i := range packets {
		p := &packets[i]
		l.stats.BytesIn += uint64(p.size)
		// Only PUBLISH needs the lock; the others may want it for themselves.
		if want := p.kind == frames.TypePublish; want != locked {
			if want {
				l.s.boxes.mu.Lock()
			} else {
				l.s.boxes.unlock()
			}
			locked = want
		}
		if l.packetIn(p); l.failed != nil {
			break
		}
	}
	if locked {
		l.s.boxes.unlock()
	}
	clear(packets) // the payloads have owners now
	for _, topic := range l.subs.fresh {
		l.log.Info("no Subscription claims this topic: its messages wait for Messages, Deliveries or All of the client", "topic", topic)
	}
	l.subs.fresh = l.subs.fresh[:0]
}

// packetIn is one packet of the broker.
func (l *loop) packetIn(p *packet) {
	switch p.kind {
	case frames.TypePublish:
		l.deliver(p)
		return
	case frames.TypePuback, frames.TypePubrec, frames.TypePubcomp:
		l.acknowledged(frames.Ack{Kind: p.kind, ID: p.id})
	case frames.TypePubrel:
		l.receiver.Release(p.id)
		l.ack(frames.Ack{Kind: frames.TypePubcomp, ID: p.id})
	case frames.TypeSuback:
		l.suback(p.id, p.codes)
	case frames.TypeUnsuback:
		l.unsuback(p.id)
	case frames.TypePingresp:
		l.keep.answered()
		l.shrink()
	}
}

// deliver routes a PUBLISH to the inboxes that want it. The inboxes are locked.
func (l *loop) deliver(p *packet) {
	l.stats.Received++
	l.ease.read = l.ease.read || p.message.QoS == frames.AtMostOnce
	if l.draining != 0 {
		return // not taken, not acknowledged: a kept session gets it again
	}
	subs := l.subs.routes.lookup(p.message.Topic)
	d := Delivery{Message: p.message, Duplicate: p.dup}
	unwanted := len(subs) == 0 && l.unwanted(p.message.Topic)
	if p.message.QoS > frames.AtMostOnce {
		first, fresh := l.receiver.Arrive(p.message.QoS, p.id, p.dup, max(1, len(subs)))
		if !fresh {
			return
		}
		d.seq, d.settler = first, l.s.settler
	}
	switch {
	case unwanted: // acknowledged all the same [MQTT-4.5.0-2]
		l.stats.Discarded++
		if d.settler != nil {
			l.receiver.Settle(d.seq)
		}
	case len(subs) == 0:
		l.noteUnclaimed(d.Topic)
		l.s.boxes.push(l.s.unclaimed, &d, false)
	default:
		for _, sub := range subs {
			l.s.boxes.push(sub.box, &d, len(subs) > 1)
			d.seq++
		}
	}
}

// noteUnclaimed has it logged, once for each topic, that messages wait for nobody.
func (l *loop) noteUnclaimed(topic string) {
	if _, ok := l.subs.noted[topic]; ok || len(l.subs.noted) >= maxNoted {
		return
	}
	if l.subs.noted == nil {
		l.subs.noted = make(map[string]struct{})
	}
	l.subs.noted[topic] = struct{}{}
	l.subs.fresh = append(l.subs.fresh, topic)
}
