package integration

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// everything returns a setup with every listener that a broker can have. Shared brokers have this
// setup.
var everything = sync.OnceValue(func() setup {
	// ejabberd demands a user with the name of its virtual host.
	s := setup{user: "miller@localhost", password: "grain+flour", unix: true, webSocket: true}
	for _, c := range []**certificate{&s.cert, &s.clients} {
		var err error
		if *c, err = signOneself(time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
			panic(err)
		}
	}
	return s
})

// asStandard has the findings of a broker that meets the standard and sends one copy of each
// message (section 3.3.5 allows more).
var asStandard = findings{
	connects: "yes",
	granted:  "0, 1, 2",
	taken:    "arrive as sent",
	retained: "yes",
	will:     "yes",
	session:  "kept",
	copies:   1,
	refusal:  "not authorized",
}

// notAlways is the finding for brokers that in some runs redeliver the messages of a kept session
// out of order.
const notAlways = "kept, not always in order"

// expected returns the known findings of each kind of broker. These include the deviations from the
// standard, so the test fails if the table is wrong.
func expected(k kind, way string, v mqtt.Version) findings {
	f := asStandard
	switch {
	case v < mqtt.V5:
	case k.name == "RabbitMQ" && !k.knows5:
		return findings{connects: "no: closes"}
	case !k.knows5:
		return findings{connects: "no: refuses"}
	case k.name == "mosquitto":
		f.copies = 2 // one for each filter
	}
	overWeb := way == "ws" || way == "wss"
	switch k.name {
	case "mochi":
		f.session = "kept, no order"
		if v == mqtt.V5 {
			f.refusal = "bad user name or password"
		}
	case "ejabberd":
		switch {
		case v == mqtt.V31 && overWeb:
			return findings{connects: "no: selects two subprotocols"}
		case v == mqtt.V31:
			return findings{connects: "no: refuses"}
		}
		f.copies = 2
	case "NATS":
		if v == mqtt.V31 {
			return findings{connects: "no: closes"}
		}
		f.copies = 2
		f.session = notAlways
	case "RabbitMQ":
		f.session = notAlways
		f.granted = "0, 1, 1"
		f.taken = "2 gets PUBACK, arrives at 1"
		f.copies = 2
		f.refusal = "bad user name or password"
		switch {
		case v == mqtt.V5:
			f.taken = "2 is above the announced limit"
		case overWeb && !k.knows5 && v == mqtt.V31: // because a server must select a subprotocol
			return findings{connects: "no: selects two subprotocols"}
		case overWeb && !k.knows5:
			f.will = "also after DISCONNECT"
			f.refusal = "closes"
		}
	}
	return f
}

// The same suite runs with every available broker, over every transport, in each version. The test
// logs the rows of the table in the README.
func TestTheTableOfBrokers(t *testing.T) {
	t.Parallel()
	var table tabulation
	t.Cleanup(func() { t.Log("\n" + table.String()) })
	for i, k := range allKinds(t) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := k.start(t, everything())
			for j, w := range b.ways() {
				for _, v := range versions {
					t.Run(w.name+"/"+v.String(), func(t *testing.T) {
						t.Parallel()
						visit := visit{url: w.url, setup: everything(), mutual: w.url == b.mutualURL, v: v, name: fmt.Sprintf("b%dt%dv%d", i, j, v)}
						want := expected(k, w.name, v)
						visit.run(t, want)
						if s := visit.findings.session; want.session == notAlways && strings.HasPrefix(s, "kept") {
							visit.findings.session = notAlways
						}
						if visit.findings != want {
							t.Errorf("found %+v,\nwant %+v", visit.findings, want)
						}
						table.add(tableRun{100*i + j, b.name, b.version, w.name, v, visit.findings})
					})
				}
			}
		})
	}
}

// A route is a URL of a broker and the name of its transport.
type route struct{ name, url string }

func (b *broker) ways() (ways []route) {
	for _, w := range []route{{"TCP", b.url}, {"TLS", b.tlsURL}, {"TLS with client certificate", b.mutualURL}, {"ws", b.wsURL}, {"wss", b.wssURL}, {"unix", b.unixURL}} {
		if w.url != "" {
			ways = append(ways, w)
		}
	}
	return ways
}

// A tabulation collects the rows of the table and merges equal rows.
type tabulation struct {
	mu   sync.Mutex
	runs []tableRun
}

type tableRun struct {
	order                int
	broker, version, way string
	v                    mqtt.Version
	findings             findings
}

func (t *tabulation) add(r tableRun) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs = append(t.runs, r)
}

// String returns the table in Markdown. A row lists the transports with equal findings, and both
// versions if their findings are equal.
func (t *tabulation) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	type row struct {
		tableRun
		ways     []string
		versions []string
	}
	slices.SortStableFunc(t.runs, func(a, b tableRun) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.v, b.v))
	})
	var rows []*row
	for _, r := range t.runs {
		same := func(o *row) bool {
			return o.broker == r.broker && o.version == r.version && o.v == r.v && o.findings == r.findings
		}
		if i := slices.IndexFunc(rows, same); i >= 0 {
			rows[i].ways = append(rows[i].ways, r.way)
		} else {
			rows = append(rows, &row{r, []string{r.way}, []string{r.v.String()}})
		}
	}
	var merged []*row
	for _, r := range rows {
		same := func(o *row) bool {
			return o.broker == r.broker && o.version == r.version && o.findings == r.findings && slices.Equal(o.ways, r.ways)
		}
		if i := slices.IndexFunc(merged, same); i >= 0 {
			merged[i].versions = append(merged[i].versions, r.versions...)
		} else {
			merged = append(merged, r)
		}
	}
	var s strings.Builder
	line := func(cells ...string) { s.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line("broker", "over", "MQTT", "connects", "QoS granted to 0, 1, 2", "messages at QoS 0, 1, 2", "retained", "will", "kept session", "copies for two filters", "wrong password")
	line(slices.Repeat([]string{"---"}, 11)...)
	for _, r := range merged {
		f := r.findings
		copies := ""
		if f.copies > 0 {
			copies = strconv.Itoa(f.copies)
		}
		line(r.broker+" "+r.version, strings.Join(r.ways, ", "), strings.Join(r.versions, ", "),
			f.connects, f.granted, f.taken, f.retained, f.will, f.session, copies, f.refusal)
	}
	return s.String()
}
