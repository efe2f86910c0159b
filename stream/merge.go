package stream

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A merge is a channel of Merge. Each Subscription has a feeder of its own that sends to the
// channel. The feeder belongs to the session of the Subscription, so that the session can end while
// the others go on, and takes back the messages that were not received.
//
// Invariant: running is the number of feeders that have not ended, plus 1 while feeders are
// started. The feeder that brings it to 0 closes the channel.
type merge struct {
	inboxes []*inbox
	ch      chan Delivery
	turns   turns
	running atomic.Int32
}

// Merge returns a channel of the messages of all subs, which may belong to several sessions. Ack
// finds the session of each message.
//
// The messages of one Subscription come in order of arrival. The Subscriptions in which messages
// wait take turns, with one message each, so none starves. A Subscription misses a turn if its
// goroutine is not scheduled in time. The channel is unbuffered. While nobody receives, the
// messages wait in their Subscriptions, within MaxUnread and ReceiveBytes of each session, and no
// session is blocked.
//
// When one of subs ends, the others go on. The channel is closed when all of them have ended and
// their messages have been received or taken back, as at the end of Messages. Then Err of each
// Subscription returns its reason. Merge starts one goroutine for each Subscription. The goroutine
// belongs to the session of the Subscription, and ends with the Subscription or the session, also
// if nobody receives.
//
// Merge competes with the other ways to receive from subs. Calls with the same arguments return the
// same channel. Each of subs must occur once, must not be nil, and must have no other consumer: no
// other Merge, no receive channel and no range loop. Otherwise the channel is closed from the
// start, and Err of each Subscription returns an *OptionError. Without arguments the channel is
// closed too.
func Merge(subs ...*Subscription) <-chan Delivery {
	m := &merge{ch: make(chan Delivery)}
	err := m.set(subs)
	if err == nil {
		var same *merge
		if same, err = m.claim(); same != nil {
			return same.ch
		}
	}
	if err != nil {
		for _, b := range m.inboxes {
			b.misused(err)
		}
		close(m.ch)
		return m.ch
	}
	m.start()
	return m.ch
}

// set collects the inboxes of subs. Its error names an argument that is nil or occurs twice.
func (m *merge) set(subs []*Subscription) (err error) {
	for i, sub := range subs {
		if sub == nil || sub.set == nil {
			err = badSub(i, "is nil")
			continue
		}
		if j := slices.IndexFunc(subs[:i], func(s *Subscription) bool { return s != nil && s.set == sub.set }); j >= 0 {
			err = badSub(i, "is the same Subscription as subs[%d]", j)
		}
		m.inboxes = append(m.inboxes, sub.set.inbox)
	}
	return err
}

func badSub(i int, format string, args ...any) error {
	return link.BadOption(fmt.Sprintf("subs[%d]", i), format, args...)
}

// claim makes m the consumer of its inboxes. If a call with the same Subscriptions came first, and
// may still be under way, claim returns its merge. If one of the inboxes has another consumer, m
// claims none, and the error names it.
func (m *merge) claim() (same *merge, err error) {
	for i, b := range m.inboxes {
		is, other := b.join(m)
		if is == m {
			continue
		}
		for _, claimed := range m.inboxes[:i] {
			claimed.leaveMerge()
		}
		if is != nil && slices.Equal(is.inboxes, m.inboxes) {
			return is, nil
		}
		return nil, badSub(i, "is consumed by %s already", other)
	}
	return nil, nil
}

func (m *merge) start() {
	m.running.Store(int32(len(m.inboxes)) + 1)
	for _, b := range m.inboxes {
		ok := b.all.life.start(feeder, func() {
			defer m.ended()
			handOver(b, m.ch, &m.turns, acknowledgedByConsumer, nil)
		})
		if !ok {
			m.ended()
		}
	}
	m.ended()
}

func (m *merge) ended() {
	if m.running.Add(-1) == 0 {
		close(m.ch)
	}
}

// join makes m the consumer of the inbox. It returns m then. If the inbox has another consumer,
// join changes nothing, and returns the name of that consumer's method, and its merge if there is
// one.
func (b *inbox) join(m *merge) (is *merge, other string) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	switch {
	case b.merged != nil:
		return b.merged, "another Merge"
	case b.messages != nil:
		return nil, "Messages"
	case b.delivers != nil:
		return nil, "Deliveries"
	case b.batches != nil:
		return nil, "Batches"
	case b.latest != nil:
		return nil, "Latest"
	case b.decoded:
		return nil, "Decode"
	case b.ranges > 0:
		return nil, "a range loop"
	}
	b.begins()
	b.merged = m
	return m, ""
}

func (b *inbox) leaveMerge() {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.merged = nil
}
