package live

import "github.com/go-millrace/mqtt"

// A snapshot is the event that viewers get each second. Times are ms since 1970, durations ms, and
// rates are per second.
type snapshot struct {
	At      int64        `json:"at"`
	Title   string       `json:"title"`
	Slow    int64        `json:"slow"`
	Hidden  bool         `json:"hidden"` // topics and filters
	Clients []clientView `json:"clients"`
}

// A clientView is a client at one moment.
type clientView struct {
	Name     string   `json:"name"`
	Online   bool     `json:"online"`
	Ended    bool     `json:"ended"`
	Endpoint string   `json:"endpoint"`
	Version  string   `json:"version"`
	Resumed  bool     `json:"resumed"`
	Attempt  int      `json:"attempt"`
	Error    string   `json:"error"`
	Since    int64    `json:"since"`
	Next     int64    `json:"next"` // 0: no attempt is planned
	Alarms   []string `json:"alarms"`

	Rates    rates     `json:"rates"`
	Gauges   gauges    `json:"gauges"`
	Totals   []total   `json:"totals"`
	Latency  []latency `json:"latency"`
	Observed bool      `json:"observed"` // topics and attempts come from an Observer

	Topics  []topicRow `json:"topics"`
	Others  topicRow   `json:"others"`
	Number  int        `json:"number"` // of topics
	Subs    []subView  `json:"subs"`
	History []entry    `json:"history"`
}

type rates struct {
	Out      float64 `json:"out"` // PUBLISH packets
	In       float64 `json:"in"`
	BytesOut float64 `json:"bytesOut"`
	BytesIn  float64 `json:"bytesIn"`
}

// gauges are the gauges of mqtt.Stats.
type gauges struct {
	Window         int   `json:"window"`
	InFlight       int   `json:"inFlight"`
	OldestInFlight int64 `json:"oldestInFlight"`
	Queued         int   `json:"queued"`
	OldestQueued   int64 `json:"oldestQueued"`
	Receipts       int   `json:"receipts"`
	Unacked        int   `json:"unacked"`
	OldestUnacked  int64 `json:"oldestUnacked"`
	Inbox          int   `json:"inbox"`
	InboxBytes     int   `json:"inboxBytes"`
	Unclaimed      int   `json:"unclaimed"`
	Paused         bool  `json:"paused"`
	StoreWaiting   int64 `json:"storeWaiting"`
	StoreFailing   bool  `json:"storeFailing"`
}

// A total is a counter of mqtt.Stats.
type total struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// latency has the percentiles of a histogram, in µs.
type latency struct {
	Name  string  `json:"name"`
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
}

type topicRow struct {
	Topic string  `json:"topic"`
	In    float64 `json:"in"`
	Out   float64 `json:"out"`
}

func (r *topicRow) sum() float64 { return r.In + r.Out }

func (r *topicRow) add(o topicRow) { r.In, r.Out = r.In+o.In, r.Out+o.Out }

// A subView is a Subscription.
type subView struct {
	Filters []filterView `json:"filters"`
	State   string       `json:"state"`
	Inbox   int          `json:"inbox"`
	Bytes   int          `json:"bytes"`
	Unacked int          `json:"unacked"`
	Oldest  int64        `json:"oldest"`
}

type filterView struct {
	Topic   string `json:"topic"`
	QoS     int    `json:"qos"`
	Granted int    `json:"granted"`
}

// subViews returns the Subscriptions of a client, without filters if hidden is set.
func subViews(infos []mqtt.SubscriptionInfo, hidden bool) []subView {
	views := make([]subView, 0, len(infos))
	for _, s := range infos {
		v := subView{Inbox: s.Inbox, Bytes: s.InboxBytes, Unacked: s.Unacked, Oldest: s.OldestUnacked.Milliseconds()}
		switch {
		case s.Leaving:
			v.State = "leaving"
		case s.Asking:
			v.State = "asking"
		case len(s.Refused) > 0:
			v.State = "refused"
		default:
			v.State = "granted"
		}
		for i, f := range s.Filters {
			if hidden {
				f.Topic = "hidden"
			}
			v.Filters = append(v.Filters, filterView{f.Topic, int(f.QoS), int(s.Granted[i])})
		}
		views = append(views, v)
	}
	return views
}
