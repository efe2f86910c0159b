package live

import (
	"time"

	"github.com/go-millrace/mqtt"
)

// recentSpan is the time after which the span of recent begins anew.
const recentSpan = 10 * time.Second

// recent has the durations of the last 10 to 20 seconds.
type recent struct {
	older, newer mqtt.Timings // at the beginning of the span, and at its middle
	turned       time.Time    // when newer was read
}

// read returns the percentiles of the durations since older. Connections and pings are rare, so all
// of them count.
func (r *recent) read(c *mqtt.Client, now time.Time) []latency {
	var t mqtt.Timings
	c.Timings(&t)
	present := t
	if r.turned.IsZero() {
		r.older, r.newer, r.turned = present, present, now
	}
	for q := range t.Published {
		t.Published[q].Sub(&r.older.Published[q])
	}
	t.HandedOver.Sub(&r.older.HandedOver)
	t.Acked.Sub(&r.older.Acked)
	t.Commit.Sub(&r.older.Commit)
	if now.Sub(r.turned) >= recentSpan {
		r.older, r.newer, r.turned = r.newer, present, now
	}
	list := []latency{}
	for _, h := range []struct {
		name string
		of   *mqtt.Histogram
	}{
		{"publish at QoS 0", &t.Published[0]},
		{"publish at QoS 1", &t.Published[1]},
		{"publish at QoS 2", &t.Published[2]},
		{"received to handed over", &t.HandedOver},
		{"handed over to acked", &t.Acked},
		{"commit of the Store", &t.Commit},
		{"ping", &t.Ping},
		{"connect", &t.Connect},
	} {
		if h.of.Count > 0 {
			list = append(list, latency{h.name, h.of.Count, micros(h.of, 0.5), micros(h.of, 0.9), micros(h.of, 0.99)})
		}
	}
	return list
}

func micros(h *mqtt.Histogram, q float64) float64 {
	return round(float64(h.Quantile(q)) / float64(time.Microsecond))
}

func gaugesOf(st *mqtt.Stats) gauges {
	return gauges{
		Window: st.Window, InFlight: st.InFlight, OldestInFlight: st.OldestInFlight.Milliseconds(),
		Queued: st.Queued, OldestQueued: st.OldestQueued.Milliseconds(), Receipts: st.Receipts,
		Unacked: st.Unacked, OldestUnacked: st.OldestUnacked.Milliseconds(),
		Inbox: st.Inbox, InboxBytes: st.InboxBytes, Unclaimed: st.Unclaimed, Paused: st.Paused,
		StoreWaiting: st.StoreWaiting.Milliseconds(), StoreFailing: st.StoreFailing,
	}
}

// totalsOf returns the counters of st that are not 0, and the most important counters in any case.
func totalsOf(st *mqtt.Stats) (list []total) {
	for i, t := range []total{
		{"sent", st.Sent}, {"acknowledged", st.Acknowledged}, {"received", st.Received}, {"handed over", st.HandedOver},
		{"connections", st.Connections}, {"attempts", st.Attempts}, {"lost", st.Lost}, {"resent", st.Resent},
		{"not sent", st.NotSent}, {"unconfirmed", st.Unconfirmed}, {"failed", st.Failed}, {"not queued", st.NotQueued},
		{"evicted", st.Evicted}, {"given up", st.GivenUp}, {"unreported", st.Unreported}, {"dropped", st.Dropped},
		{"discarded", st.Discarded}, {"superseded", st.Superseded}, {"too large", st.TooLarge}, {"surplus", st.Surplus},
		{"late replies", st.LateReplies}, {"requeued", st.Requeued}, {"commits", st.Commits},
	} {
		if i < 8 || t.Count > 0 {
			list = append(list, t)
		}
	}
	return list
}
