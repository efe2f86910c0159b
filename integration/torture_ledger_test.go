package integration

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// A mark names a publication of the torture: the number of its publisher, its QoS, and its number
// among the publications of that publisher at that QoS. Its text is the beginning of the payload.
type mark struct {
	publisher int
	qos       mqtt.QoS
	number    int
}

func (k mark) String() string { return fmt.Sprintf("%d/%d/%d", k.publisher, k.qos, k.number) }

// message returns the publication of a mark, padded to size. On MQTT 5 two of three have
// properties.
func (k mark) message(v mqtt.Version, size int) mqtt.Message {
	payload := k.String() + " "
	m := text(fmt.Sprintf("torture/%d/%d", k.publisher, k.qos), payload+strings.Repeat(".", max(0, size-len(payload))), k.qos)
	if v >= mqtt.V5 {
		m.Properties = k.properties()
	}
	return m
}

func (k mark) properties() *mqtt.Properties {
	if k.number%3 == 0 {
		return nil
	}
	return &mqtt.Properties{Expiry: time.Hour, Correlation: []byte(k.String()),
		User: []mqtt.UserProperty{{Name: "mark", Value: k.String()}, {Name: "mark", Value: "second"}}}
}

// kept reports whether a message has arrived with the properties that its publisher has set.
func (k mark) kept(m mqtt.Message, v mqtt.Version) bool {
	want := k.properties()
	if v < mqtt.V5 || want == nil {
		return m.Properties == nil || m.Properties.User == nil && m.Properties.Correlation == nil
	}
	got := m.Properties
	return got != nil && got.Expiry > 0 && got.Expiry <= want.Expiry &&
		string(got.Correlation) == string(want.Correlation) && slices.Equal(got.User, want.User)
}

func markOf(m mqtt.Message) (k mark, ok bool) {
	name, _, _ := strings.Cut(string(m.Payload), " ")
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return k, false
	}
	var n [3]int
	for i, p := range parts {
		var err error
		if n[i], err = strconv.Atoi(p); err != nil {
			return k, false
		}
	}
	k = mark{n[0], mqtt.QoS(n[1]), n[2]}
	return k, m.Topic == fmt.Sprintf("torture/%d/%d", k.publisher, k.qos)
}

// excuses are the faults of a broker for which the client is not blamed. The zero value has none.
type excuses struct {
	doubles   bool // a QoS 2 message may be handed over twice
	loses     bool // an acknowledged message may not be handed over
	shuffle   bool // the messages of a kept session come in any order
	overtakes bool // so do those of a session that reaches its Receive Maximum
	why       string
}

// A tortureLedger knows the fate of every publication, and judges it.
type tortureLedger struct {
	t       *testing.T
	version mqtt.Version
	excuse  excuses

	mu      sync.Mutex
	faults  int
	results map[mark]result
	routed  map[mark]int // by the broker; nil if the broker does not tell
	counts  map[string]int
	readers map[string]*reader // by client identifier
}

// A result is the result of a publication.
type result struct {
	settled bool // it has its last Receipt; ErrKept is not the last one
	err     error
	killed  bool // its client was killed, so there may be two Receipts, or none
	repeats bool // its client was killed after the Receipt, and the Store may not know of the Receipt
	life    int  // of the publisher
}

// A reader is a consumer across all its lives.
type reader struct {
	name     string
	all      bool // it must get every message
	shuffled bool // its messages come in any order, which is excused
	handed   map[mark]handed
	newest   map[mark]int  // by publisher and QoS: the highest number
	ending   bool          // its client is about to end
	leaving  bool          // its Subscription is about to end
	killed   int           // the last life that ended by a kill
	acks     map[mark]bool // messages for which the consumer has called Ack, or is about to
	free     bool          // its client acknowledges each message by itself, see Messages
}

// handed is the last time that a message was handed over.
type handed struct {
	life    int
	settled bool // the consumer has acknowledged it, and its client must know
	again   bool // Requeue puts it back
}

func newTortureLedger(t *testing.T, v mqtt.Version, e excuses) *tortureLedger {
	return &tortureLedger{t: t, version: v, excuse: e, results: make(map[mark]result), counts: make(map[string]int),
		readers: make(map[string]*reader)}
}

// fault reports a broken promise, ten times at most. The caller holds the lock.
func (l *tortureLedger) fault(format string, args ...any) {
	if l.faults++; l.faults <= 10 {
		l.t.Errorf(format, args...)
	}
}

// excused reports a fault unless the broker is known for it, and counts it.
func (l *tortureLedger) excused(known bool, name, format string, args ...any) {
	l.counts[name]++
	if !known {
		l.fault(format, args...)
	}
}

// count counts an event for the summary of the test.
func (l *tortureLedger) count(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[name]++
}

// sent records that a message is about to be published. If its client was killed before, its fate
// is unknown.
func (l *tortureLedger) sent(k mark, life *publisherLife) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["published at QoS "+strconv.Itoa(int(k.qos))]++
	l.results[k] = result{killed: life.killed, life: life.number}
}

// unsent records that a message was not accepted, and does not exist.
func (l *tortureLedger) unsent(k mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["published at QoS "+strconv.Itoa(int(k.qos))]--
	delete(l.results, k)
}

// receipt records the Receipt of a publication, given in a life of its publisher. After
// ErrUnconfirmed the Store keeps the publication, and the next client gives a Receipt, too.
func (l *tortureLedger) receipt(m mqtt.Message, err error, life int) {
	k, ok := markOf(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	r, known := l.results[k]
	kept, unsent, unsure := errors.Is(err, mqtt.ErrKept), errors.Is(err, mqtt.ErrNotSent), errors.Is(err, mqtt.ErrUnconfirmed)
	switch {
	case !ok || !known:
		l.fault("a Receipt for %s, which was not published", show(m))
		return
	case r.killed:
		r.err, r.settled = nil, true // the client that was killed and the next one may both have an answer
		if l.results[k] = r; err != nil {
			l.counts["Receipts of killed clients"]++
		}
		return
	case r.settled && r.repeats:
		l.counts["Receipts of killed clients"]++
		return
	case r.settled && (life == r.life || !errors.Is(r.err, mqtt.ErrUnconfirmed)):
		l.fault("%v has a second Receipt: %v, after %v", k, err, r.err)
	case err == nil:
		l.counts["Receipts nil"]++
	case kept && k.qos > mqtt.AtMostOnce && !unsent && !unsure:
		l.counts["Receipts ErrKept"]++
	case unsent && !unsure && !kept:
		l.counts["Receipts ErrNotSent"]++
	case unsure && !unsent && !kept:
		l.counts["Receipts ErrUnconfirmed"]++
	default:
		l.fault("%v has a Receipt that says nothing of its fate: %v", k, err)
	}
	l.results[k] = result{settled: !kept, err: err, life: life}
}

// killed records that the client of a publisher was killed. The Store may lack publications without
// a Receipt, and may still hold publications that have one. Receipts that the killed client gives
// from now on prove nothing.
func (l *tortureLedger) killed(publisher int, life *publisherLife) {
	l.mu.Lock()
	defer l.mu.Unlock()
	life.killed = true
	for k, r := range l.results {
		if k.publisher == publisher && (!r.settled || errors.Is(r.err, mqtt.ErrNotSent)) {
			r.killed = true
		}
		if k.publisher == publisher && r.life == life.number {
			r.repeats = true
		}
		l.results[k] = r
	}
}

// arrivedAtBroker records that the broker has routed a message. It is given to keeper.routed.
func (l *tortureLedger) arrivedAtBroker(m mqtt.Message) {
	k, ok := markOf(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.fault("the broker got %s", show(m))
		return
	}
	if l.routed[k]++; l.routed[k] > 1 && k.qos != mqtt.AtLeastOnce {
		l.fault("%v arrived at the broker %d times", k, l.routed[k])
	}
}

// reader begins the record of a consumer. If all is set, it must get every message.
func (l *tortureLedger) reader(name string, all bool) *reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers[name] = &reader{name: name, all: all, handed: make(map[mark]handed), newest: make(map[mark]int), acks: make(map[mark]bool)}
	return l.readers[name]
}

// got records that a message was handed over in a life of its consumer.
func (l *tortureLedger) got(r *reader, life int, m mqtt.Message, settled bool) mark {
	k, ok := markOf(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.fault("handed over: %s", show(m))
		return k
	}
	if !k.kept(m, l.version) {
		l.fault("%v was handed over with the properties %+v", k, m.Properties)
	}
	l.counts["handed over"]++
	before, again := r.handed[k]
	row := mark{publisher: k.publisher, qos: k.qos}
	// A client that subscribes only now and then may get the second copy of a QoS 1 message alone,
	// after newer messages: its publisher or the broker has sent the message again.
	ordered := k.qos == mqtt.ExactlyOnce || k.qos == mqtt.AtLeastOnce && r.all
	switch {
	case !again && k.number < r.newest[row] && ordered:
		l.excused(r.shuffled, "out of order", "%s: %v was handed over after %d, in life %d", r.name, k, r.newest[row], life)
	case !again, before.again:
	case k.qos == mqtt.AtMostOnce:
		l.fault("%v was handed over twice", k)
	case k.qos == mqtt.ExactlyOnce && (before.settled || before.life == life):
		l.excused(l.excuse.doubles, "handed over twice at QoS 2", "%v was handed over twice, in lives %d and %d; acknowledged: %t", k, before.life, life, before.settled)
	default:
		l.counts["handed over again"]++
	}
	if !r.ending && !r.leaving { // the end takes messages back from the buffer of Deliveries, perhaps from before k
		r.newest[row] = max(r.newest[row], k.number)
	}
	r.handed[k] = handed{life: life, settled: settled}
	if life == r.killed { // the consumer goes on for a moment, and the next client knows nothing of that
		r.handed[k] = handed{life: -1}
	}
	if settled {
		r.acks[k] = true
	}
	return k
}

// acked records that Ack or Requeue has returned. While the client ends, the call may have no
// effect.
func (l *tortureLedger) acked(r *reader, k mark, requeued bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.ending && !requeued {
		return
	}
	h := r.handed[k]
	h.settled, h.again = !requeued, requeued
	r.handed[k] = h
}

// acks records that the consumer is about to call Ack.
func (l *tortureLedger) acks(r *reader, k mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.acks[k] = true
}

// brokerHasAck checks that a client acknowledges no message before its consumer has. It is given to
// keeper.acked.
func (l *tortureLedger) brokerHasAck(client string, m mqtt.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, _ := markOf(m); l.readers[client] != nil {
		if r := l.readers[client]; r.all && !r.free && !r.acks[k] {
			l.fault("%s: the broker has the ack of %v, which its consumer has not acknowledged", client, k)
		}
	}
}

// begins records how a consumer acknowledges in its next life.
func (l *tortureLedger) begins(r *reader, free bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.free = free
}

// ends records that the client of a consumer begins to end, or that the next one has begun.
func (l *tortureLedger) ends(r *reader, ending bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.ending = ending
}

// leaves records that the Subscription of a consumer begins to end, or that the next one has begun.
func (l *tortureLedger) leaves(r *reader, leaving bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.leaving = leaving
}

// forget records that the acks of a life may be lost, since its client was killed.
func (l *tortureLedger) forget(r *reader, life int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.killed = life
	for k, h := range r.handed {
		if h.life == life {
			h.settled, h.life = false, -1
			r.handed[k] = h
		}
	}
}

// missing returns the messages that the broker must hand to a consumer and that did not arrive.
func (l *tortureLedger) missing(r *reader) (none []mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, res := range l.results {
		if !r.all {
			break
		}
		due := l.routed[k] > 0
		if l.routed == nil {
			due = res.settled && res.err == nil && !res.killed
		}
		if _, ok := r.handed[k]; !ok && due && k.qos > mqtt.AtMostOnce {
			none = append(none, k)
		}
	}
	return none
}

// check judges all publications at the end.
func (l *tortureLedger) check() {
	l.t.Helper()
	for name, r := range l.readers {
		if none := l.missing(r); len(none) > 0 {
			l.mu.Lock()
			l.excused(l.excuse.loses, "lost by the broker", "%s: %d messages were not handed over, such as %v", name, len(none), none[0])
			l.counts["lost by the broker"] += len(none) - 1
			l.mu.Unlock()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, r := range l.results {
		arrived := l.routed[k] > 0
		if l.routed == nil {
			for _, reader := range l.readers {
				_, ok := reader.handed[k]
				arrived = arrived || ok
			}
		}
		switch {
		case r.killed:
		case !r.settled:
			l.fault("%v has no last Receipt, only %v", k, r.err)
		case r.err == nil && !arrived && l.routed != nil && k.qos > mqtt.AtMostOnce:
			l.fault("%v has the Receipt nil and did not arrive", k)
		case errors.Is(r.err, mqtt.ErrNotSent) && arrived:
			l.fault("%v arrived, and its Receipt says %v", k, r.err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.counts)) {
		l.t.Logf("%8d %s", l.counts[name], name)
	}
	if l.faults > 10 {
		l.t.Errorf("%d faults", l.faults)
	}
}
