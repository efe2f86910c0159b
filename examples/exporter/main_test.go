package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// page gets the page of the program.
func page(t *testing.T, p *exampletest.Program) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	answer, err := client.Get(p.Find(`^serving   (http://.*)$`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, err)
	}
	return string(body)
}

// has checks that each pattern matches a line of the page.
func has(t *testing.T, page string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)^` + p + `$`).MatchString(page) {
			t.Errorf("no line matches %q:\n%s", p, page)
		}
	}
}

func TestThePageHasTheLastValueOfEachTopicUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t, "-listen", "127.0.0.1:0", "-every", "1h")
	p.Expect(`^found     plant/boiler/temperature$`, `^found     plant/boiler/pressure$`)
	has(t, page(t, p), `mqtt_online 1`, `mqtt_topics 2`, `mqtt_refused_filters 0`,
		`mqtt_value{topic="plant/boiler/pressure"} 2\.1`, `mqtt_value{topic="plant/boiler/temperature"} 61`,
		`mqtt_value_age_seconds{topic="plant/boiler/temperature"} [\d.e-]+`,
		`# TYPE mqtt_value gauge`, `# TYPE mqtt_left_out_messages_total counter`)
	// The broker may send the retained value twice: after SUBSCRIBE, and when it is published.
	exampletest.LastLine(t, p.Interrupt(), `^finished  [2-4] received, \d superseded$`)
}

func TestRetainedValuesCountAndTopicsBeyondTheLimitAreLeftOut(t *testing.T) {
	b, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	publish := func(topic, payload string, retain bool) {
		t.Helper()
		if err := b.Server.Publish(topic, []byte(payload), retain, 1); err != nil {
			t.Fatal(err)
		}
	}
	publish("plant/kept", "7", true)
	p := exampletest.Start(t, "-broker", b.URL, "-listen", "127.0.0.1:0", "-topics", "2")
	p.Expect(`^found     plant/kept$`)
	publish("plant/new", "8", false)
	publish("plant/more", "9", false)
	p.Expect(`^found     plant/new$`, `^left out  plant/more, since there are 2 topics already$`)
	has(t, page(t, p), `mqtt_topics 2`, `mqtt_left_out_messages_total 1`,
		`mqtt_value{topic="plant/kept"} 7`, `mqtt_value_retained{topic="plant/kept"} 1`,
		`mqtt_value{topic="plant/new"} 8`, `mqtt_value_retained{topic="plant/new"} 0`)

	publish("plant/kept", "", true) // makes room
	p.Expect(`^removed   plant/kept$`)
	publish("plant/more", "10", false)
	p.Expect(`^found     plant/more$`)
	if text := page(t, p); strings.Contains(text, "plant/kept") {
		t.Errorf("the removed topic has a value:\n%s", text)
	}
	p.Interrupt()
}

func TestTheTableKeepsTheAgeOfARetainedValueThatComesAgain(t *testing.T) {
	start := time.Now()
	tab := newTable(10)
	for i, m := range []mqtt.Message{
		{Topic: "a", Payload: []byte(" 1 ")},
		{Topic: "a", Payload: []byte("1"), Retain: true}, // after a reconnect
		{Topic: "b", Payload: []byte("2")},
		{Topic: "b", Payload: []byte("3"), Retain: true}, // missed while offline
		{Topic: "c", Payload: []byte("warm")},
		{Topic: "d\"\\\n", Payload: []byte("4")},
	} {
		tab.set(m, start.Add(time.Duration(i)*time.Second))
	}
	var text strings.Builder
	tab.print(&text, start.Add(10*time.Second))
	has(t, text.String(), `mqtt_value{topic="a"} 1`, `mqtt_value_age_seconds{topic="a"} 10`, `mqtt_value_retained{topic="a"} 0`,
		`mqtt_value{topic="b"} 3`, `mqtt_value_age_seconds{topic="b"} 7`, `mqtt_value_retained{topic="b"} 1`,
		`mqtt_not_numbers_total 1`, `mqtt_value{topic="d\\"\\\\\\n"} 4`)
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	p := exampletest.Start(t, "-listen", "127.0.0.1:0", "-every", "1h")
	address := p.Find(`^serving   http://(.*)/metrics$`)
	exampletest.Start(t, "-listen", address).Fail(`address already in use`)
	p.Interrupt()
}

func TestANumberOfTopicsBelowOneIsRefused(t *testing.T) {
	exampletest.Start(t, "-topics", "-1").Misused(`^invalid value "-1" for flag -topics: must be between 1 and 100000000\n`)
}
