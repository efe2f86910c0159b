package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
)

// A table has the last value of each topic, for at most limit topics.
type table struct {
	limit int

	mu         sync.Mutex
	values     map[string]value
	leftOut    int // messages of topics beyond limit
	notNumbers int // messages with another payload
}

type value struct {
	topic    string
	number   float64
	arrived  time.Time
	retained bool
}

func newTable(limit int) *table { return &table{limit: limit, values: make(map[string]value)} }

// set puts the value of m into the table. It returns a line to print if the topic is new or
// removed, or is the first topic beyond the limit.
func (t *table) set(m mqtt.Message, now time.Time) (line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.values[m.Topic]
	if len(m.Payload) == 0 {
		delete(t.values, m.Topic)
		if known {
			return "removed   " + m.Topic
		}
		return ""
	}
	number, err := strconv.ParseFloat(string(bytes.TrimSpace(m.Payload)), 64)
	switch {
	case err != nil:
		t.notNumbers++
		return ""
	case !known && len(t.values) >= t.limit:
		if t.leftOut++; t.leftOut == 1 {
			return fmt.Sprintf("left out  %s, since there are %d topics already", m.Topic, t.limit)
		}
		return ""
	case known && m.Retain && old.number == number: // sent again after a reconnect, with the same value
		return ""
	}
	t.values[m.Topic] = value{m.Topic, number, now, m.Retain}
	if !known {
		return "found     " + m.Topic
	}
	return ""
}

// print writes the table in the text format of Prometheus. It copies the values first, so that a
// slow reader of the page does not hold up the messages.
func (t *table) print(w io.Writer, now time.Time) {
	t.mu.Lock()
	rows := make([]value, 0, len(t.values))
	for _, v := range t.values {
		rows = append(rows, v)
	}
	leftOut, notNumbers := t.leftOut, t.notNumbers
	t.mu.Unlock()

	slices.SortFunc(rows, func(a, b value) int { return strings.Compare(a.topic, b.topic) })
	metric(w, "mqtt_topics", "gauge", "Topics with a value.", float64(len(rows)))
	metric(w, "mqtt_left_out_messages_total", "counter", "Messages of topics beyond the limit.", float64(leftOut))
	metric(w, "mqtt_not_numbers_total", "counter", "Messages whose payload is no number.", float64(notNumbers))
	perTopic(w, rows, "mqtt_value", "Last value of the topic.", func(v value) float64 { return v.number })
	perTopic(w, rows, "mqtt_value_age_seconds", "Time since the arrival of the value.",
		func(v value) float64 { return now.Sub(v.arrived).Seconds() })
	perTopic(w, rows, "mqtt_value_retained", "1 if the broker had kept the value, which may be older than its age.",
		func(v value) float64 { return oneIf(v.retained) })
}

// connection is the state of the client on the page.
type connection struct {
	online  bool
	refused int // filters
}

func (c connection) print(w io.Writer) {
	metric(w, "mqtt_online", "gauge", "1 while the client is connected to the broker.", oneIf(c.online))
	metric(w, "mqtt_refused_filters", "gauge", "Topic filters that the broker has refused.", float64(c.refused))
}

func metric(w io.Writer, name, kind, help string, number float64) {
	fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[1]s %[4]v\n", name, help, kind, number)
}

func perTopic(w io.Writer, rows []value, name, help string, number func(value) float64) {
	fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s gauge\n", name, help)
	for _, v := range rows {
		fmt.Fprintf(w, "%s{topic=\"%s\"} %v\n", name, escape.Replace(v.topic), number(v))
	}
}

// escape makes a topic name a label value of Prometheus.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
