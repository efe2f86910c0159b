package live

import (
	"fmt"
	"math"
	"time"

	"github.com/go-millrace/mqtt"
)

// A sampling makes the snapshots of one feed. One goroutine uses it.
type sampling struct {
	page  *Page
	known map[*mqtt.Client]*memory
}

// memory has the earlier figures of a client, from which rates and recent latencies follow.
type memory struct {
	seen  bool // in the present snapshot
	at    time.Time
	stats mqtt.Stats
	state mqtt.State
	ended bool
	recent
}

func newSampling(p *Page) *sampling {
	return &sampling{page: p, known: make(map[*mqtt.Client]*memory)}
}

// take makes a snapshot.
func (s *sampling) take(now time.Time) *snapshot {
	p := s.page
	title := p.Title
	if title == "" {
		title = "MQTT clients"
	}
	v := &snapshot{
		At: now.UnixMilli(), Title: title, Slow: p.slow().Milliseconds(), Hidden: p.Topics < 0, Clients: []clientView{},
	}
	for _, m := range s.known {
		m.seen = false
	}
	for _, c := range p.clients() {
		m := s.known[c.now]
		if m == nil {
			m = &memory{}
			s.known[c.now] = m
			c.topics.reset()
		}
		m.seen = true
		v.Clients = append(v.Clients, m.view(c, now))
	}
	for c, m := range s.known {
		if !m.seen {
			delete(s.known, c)
		}
	}
	return v
}

// view returns the present figures of a client, and keeps them.
func (m *memory) view(c sampled, now time.Time) clientView {
	p := c.page
	state, st := c.now.State(), c.now.Stats()
	v := clientView{
		Name: c.name, Online: state.Online, Endpoint: state.Endpoint, Resumed: state.Resumed,
		Attempt: state.Attempt, Error: p.errorText(state.Err), Since: state.Since.UnixMilli(),
		Gauges: gaugesOf(&st), Totals: totalsOf(&st), Observed: c.observed.Load(),
	}
	if state.Version != 0 {
		v.Version = state.Version.String()
	}
	if !state.Next.IsZero() {
		v.Next = state.Next.UnixMilli()
	}
	select {
	case <-c.now.Done():
		v.Ended, v.Online, v.Error = true, false, p.errorText(c.now.Err())
	default:
	}
	first := m.at.IsZero()
	seconds := max(now.Sub(m.at).Seconds(), 1e-3)
	if !first {
		v.Rates = rates{
			Out: rate(st.Sent, m.stats.Sent, seconds), In: rate(st.Received, m.stats.Received, seconds),
			BytesOut: rate(st.BytesOut, m.stats.BytesOut, seconds), BytesIn: rate(st.BytesIn, m.stats.BytesIn, seconds),
		}
		if p.Topics >= 0 {
			v.Topics, v.Others, v.Number = c.topics.sample(seconds, p.topics())
			v.roundTopics()
		}
	}
	m.note(c.client, v, state, st)
	m.at, m.stats, m.state, m.ended = now, st, state, v.Ended
	v.Latency = m.recent.read(c.now, now)
	v.Subs = subViews(c.now.Subscriptions(), p.Topics < 0)
	v.Alarms = alarms(&v, p.slow().Milliseconds())
	v.History = c.history.newest()
	return v
}

// note adds changes of the connection to the history. With an Observer, the history has the
// attempts already.
func (m *memory) note(c *client, v clientView, state mqtt.State, st mqtt.Stats) {
	if m.at.IsZero() {
		return
	}
	if st.Lost > m.stats.Lost && m.state.Online {
		text := v.Error
		if state.Online {
			text = "and connected again within a second"
		}
		c.history.add(time.UnixMilli(v.Since), "lost", text)
	}
	if v.Ended && !m.ended {
		c.history.add(time.UnixMilli(v.Since), "ended", v.Error)
	}
	if c.observed.Load() || state.Since.Equal(m.state.Since) {
		return
	}
	switch {
	case state.Online:
		c.history.add(state.Since, "online", online(state.Endpoint, state.Version, state.Resumed))
	case state.Attempt > m.state.Attempt:
		c.history.add(state.Since, "failed", v.Error)
	}
}

func rate(now, before uint64, seconds float64) float64 {
	if now < before { // another client of the same name
		return 0
	}
	return round(float64(now-before) / seconds)
}

func round(x float64) float64 { return math.Round(x*10) / 10 }

func (v *clientView) roundTopics() {
	for i := range v.Topics {
		v.Topics[i].In, v.Topics[i].Out = round(v.Topics[i].In), round(v.Topics[i].Out)
	}
	v.Others.In, v.Others.Out = round(v.Others.In), round(v.Others.Out)
}

// alarms returns the reasons for which a client is red.
func alarms(v *clientView, slow int64) (list []string) {
	g := &v.Gauges
	add := func(when bool, format string, args ...any) {
		if when {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	age := func(ms int64) time.Duration { return time.Duration(ms/100) * 100 * time.Millisecond }
	add(v.Ended && v.Error != "", "the client has ended: %s", v.Error)
	if v.Ended {
		return list
	}
	add(!v.Online && v.Error != "", "not connected: %s", v.Error)
	add(!v.Online && v.Error == "", "not connected")
	add(g.OldestUnacked >= slow, "a delivery has waited for its ack for %v, and the acks of later ones wait with it", age(g.OldestUnacked))
	add(g.Paused, "reading waits for consumers: %d messages wait", g.Inbox)
	add(g.OldestInFlight >= slow, "the oldest publication in flight was accepted %v ago", age(g.OldestInFlight))
	add(g.OldestQueued >= slow, "the oldest queued publication was accepted %v ago", age(g.OldestQueued))
	add(g.StoreFailing, "the last commit to the Store failed")
	add(g.StoreWaiting >= slow, "a commit to the Store has been under way for %v", age(g.StoreWaiting))
	for _, s := range v.Subs {
		add(s.State == "refused", "the broker refused a filter")
	}
	return list
}
