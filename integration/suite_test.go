package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/go-millrace/mqtt"
)

// findings holds the results of the suite for one broker, as the table words them.
type findings struct {
	connects string // if it is not "yes", the other fields are empty
	granted  string // QoS granted to filters of QoS 0, 1 and 2
	taken    string // arrival of publications at QoS 0, 1 and 2
	retained string
	will     string
	session  string // arrival of the messages of a kept session
	copies   int    // number of copies of a message that matches two filters
	refusal  string // answer to a wrong password
}

// A visit is one run of the suite with one version of the protocol over one transport. Other visits
// may use the broker at the same time.
type visit struct {
	url      string
	setup    setup
	mutual   bool // the broker demands a client certificate
	v        mqtt.Version
	name     string // prefix of every topic and client identifier
	findings findings
}

// address returns the URL with the user and this password.
func (v *visit) address(password string) string {
	u, err := url.Parse(v.url)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(v.setup.user, password)
	return u.String()
}

func (v *visit) options(name string) mqtt.Options {
	o := mqtt.Options{Version: v.v, ClientID: v.name + name, DialContext: new(wire).DialContext}
	if u, _ := url.Parse(v.url); u.Scheme == "mqtts" || u.Scheme == "wss" {
		o.TLS = &tls.Config{RootCAs: v.setup.cert.roots}
		if v.mutual {
			o.TLS.Certificates = []tls.Certificate{v.setup.clients.tls}
		}
	}
	return o
}

func (v *visit) dial(t *testing.T, o mqtt.Options) *mqtt.Client {
	t.Helper()
	return dial(t, v.address(v.setup.password), o)
}

func (v *visit) topic(name string) string { return v.name + "/" + name }

// run runs the suite. It expects that the findings for the broker are want.
func (v *visit) run(t *testing.T, want findings) {
	c, err := mqtt.Dial(within(t), v.address(v.setup.password), withLog(t, v.options("first")))
	switch {
	case errors.Is(err, mqtt.UnsupportedProtocolVersion):
		v.findings.connects = "no: refuses"
		return
	case errors.Is(err, io.ErrUnexpectedEOF), websocket.CloseStatus(err) == websocket.StatusProtocolError,
		websocket.CloseStatus(err) == websocket.StatusInternalError:
		v.findings.connects = "no: closes"
		return
	case err != nil && strings.HasSuffix(err.Error(), `Sec-WebSocket-Protocol from server: "mqtt,mqttv3.1"`):
		v.findings.connects = "no: selects two subprotocols"
		return
	case err != nil:
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	v.findings.connects = "yes"
	v.findings.granted = v.grants(t)
	v.findings.taken = v.roundTrip(t)
	v.findings.retained = v.retains(t)
	v.findings.will = v.dies(t)
	v.findings.session = v.returns(t)
	v.findings.copies = v.overlaps(t, want.copies)
	v.findings.refusal = v.refused(t)
}

func (v *visit) grants(t *testing.T) string {
	c := v.dial(t, v.options("grants"))
	defer c.Close()
	var filters []mqtt.Filter
	for _, q := range levels {
		filters = append(filters, mqtt.Filter{Topic: v.topic("grants/" + strconv.Itoa(int(q))), QoS: q})
	}
	granted := subscribe(t, c, filters...).Granted()
	return fmt.Sprintf("%d, %d, %d", granted[0], granted[1], granted[2])
}

func (v *visit) roundTrip(t *testing.T) string {
	from, to := v.dial(t, v.options("from")), v.dial(t, v.options("to"))
	defer from.Close()
	defer to.Close()
	topic := v.topic("trip")
	sub := subscribe(t, to, mqtt.Filter{Topic: topic, QoS: mqtt.ExactlyOnce})
	taken := "arrive as sent"
	for _, q := range levels {
		m := text(topic, "at "+strconv.Itoa(int(q)), q)
		err := from.Publish(within(t), m)
		var downgraded *mqtt.DowngradedError
		var limit *mqtt.LimitError
		switch {
		case q == mqtt.ExactlyOnce && errors.As(err, &limit) && errors.Is(err, mqtt.ErrNotSent):
			return "2 is above the announced limit"
		case q == mqtt.ExactlyOnce && errors.As(err, &downgraded):
			taken, m.QoS = "2 gets PUBACK, arrives at 1", mqtt.AtLeastOnce
		case err != nil:
			t.Fatalf("publish at QoS %d: %v", q, err)
		}
		expect(t, sub.Messages(), m)
	}
	return taken
}

// retains polls until a retained message is visible, and later until it is deleted. It polls
// because NATS acknowledges before every client sees the change.
func (v *visit) retains(t *testing.T) string {
	c := v.dial(t, v.options("retains"))
	defer c.Close()
	kept := text(v.topic("retained"), "kept", 1)
	kept.Retain = true
	greets := func() (greeted bool) {
		sub := subscribe(t, c, mqtt.Filter{Topic: kept.Topic, QoS: mqtt.AtLeastOnce})
		publish(t, c, text(kept.Topic, "live", 1))
		until(t, sub.Messages(), func(m mqtt.Message) bool {
			if m.Retain && show(m) == show(kept) {
				greeted = true
			}
			return string(m.Payload) == "live"
		})
		if err := sub.Unsubscribe(within(t)); err != nil {
			t.Fatal(err)
		}
		return greeted
	}
	publish(t, c, kept)
	for !greets() {
	}
	gone := kept
	gone.Payload = nil
	publish(t, c, gone)
	for greets() {
	}
	return "yes"
}

func (v *visit) dies(t *testing.T) string {
	watcher := v.dial(t, v.options("watcher"))
	defer watcher.Close()
	will := text(v.topic("will"), "bye", 1)
	sub := subscribe(t, watcher, mqtt.Filter{Topic: will.Topic, QoS: mqtt.AtLeastOnce})
	w := new(wire)
	o := v.options("mortal")
	o.Will, o.DialContext, o.NoReconnect = &will, w.DialContext, true
	mortal := v.dial(t, o)
	w.cut()
	ends(t, mortal)
	expect(t, sub.Messages(), will)

	// The broker does not publish the will of a client that sends DISCONNECT.
	o.DialContext = nil
	will.Payload = []byte("in spite of DISCONNECT")
	if err := v.dial(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	publish(t, watcher, text(will.Topic, "after", 1))
	saw := "yes"
	until(t, sub.Messages(), func(m mqtt.Message) bool {
		if string(m.Payload) == string(will.Payload) {
			saw = "also after DISCONNECT"
		}
		return string(m.Payload) == "after"
	})
	return saw
}

// returns resumes a kept session with waiting messages, and subscribes to another topic while these
// messages are in flight.
func (v *visit) returns(t *testing.T) string {
	const n = 30
	publisher := v.dial(t, v.options("publisher"))
	defer publisher.Close()
	o := v.options("kept")
	o.KeepSession = true
	c := v.dial(t, o)
	subscribe(t, c, mqtt.Filter{Topic: v.topic("kept"), QoS: mqtt.AtLeastOnce})
	if err := c.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		publish(t, publisher, text(v.topic("kept"), strconv.Itoa(i), 1))
	}
	routed(t, publisher)
	c = v.dial(t, o)
	saw := "kept"
	if s := next(t, c.States(within(t))); s.Resumed != (v.v != mqtt.V31) { // 3.1 has no flag session present
		saw = "kept, not said to be present"
	}
	subscribe(t, c, mqtt.Filter{Topic: v.topic("other"), QoS: mqtt.AtLeastOnce})
	// Messages that were sent when the last connection ended may come twice or late. They are then
	// marked as duplicates. mochi marks nearly all messages.
	seen := make(map[int]bool)
	var first, again []int
	for len(seen) < n {
		d := next(t, c.Deliveries())
		i, err := strconv.Atoi(string(d.Payload))
		if err != nil || i < 0 || i >= n {
			t.Fatalf("%s does not belong to the session", show(d.Message))
		}
		switch {
		case seen[i]:
		case d.Duplicate:
			again = append(again, i)
		default:
			first = append(first, i)
		}
		seen[i] = true
		d.Ack()
	}
	most := first
	if len(again) > len(first) {
		most = again
	}
	if !slices.IsSorted(most) {
		saw += ", no order"
	}
	publish(t, c, text(v.topic("elsewhere"), "", 1)) // its ack shows that the broker has the earlier acks
	if err := c.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := v.dial(t, v.options("kept")).Close(); err != nil { // a clean session deletes the kept session
		t.Fatal(err)
	}
	return saw
}

// overlaps expects that a message which matches two filters of different QoS arrives want times.
func (v *visit) overlaps(t *testing.T, want int) (copies int) {
	c := v.dial(t, v.options("overlaps"))
	defer c.Close()
	sub := subscribe(t, c,
		mqtt.Filter{Topic: v.topic("over/#"), QoS: mqtt.AtMostOnce},
		mqtt.Filter{Topic: v.topic("over/+"), QoS: mqtt.AtLeastOnce})
	messages := sub.Messages()
	publish(t, c, text(v.topic("over/1"), "counts", 1), text(v.topic("over/1"), "last", 1))
	for range 2 * want {
		if m := next(t, messages); string(m.Payload) == "counts" {
			copies++
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- sub.Drain(within(t)) }() // further copies come before UNSUBACK
	for m := range messages {
		t.Errorf("one copy too many: %s", show(m))
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	return copies
}

func (v *visit) refused(t *testing.T) string {
	_, err := mqtt.Dial(within(t), v.address("chaff"), withLog(t, v.options("thief")))
	var refused *mqtt.ConnectError
	if websocket.CloseStatus(err) == websocket.StatusProtocolError {
		return "closes"
	}
	if !errors.As(err, &refused) {
		t.Fatalf("wrong password: got %v, want a rejection", err)
	}
	return refused.Code.Error()
}
