package mqttprom

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-millrace/mqtt"
)

const namespace = "millrace_"

// A statsMetric is a metric of one field of mqtt.Stats.
type statsMetric struct {
	field string // of mqtt.Stats
	name  string // without namespace; a counter ends in _total
	help  string
	value func(*mqtt.Stats) float64
}

// kind returns Counter or Gauge.
func (m *statsMetric) kind() prometheus.ValueType {
	if strings.HasSuffix(m.name, "_total") {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(d time.Duration) float64 { return d.Seconds() }

// statsMetrics are the metrics of all fields of mqtt.Stats, in their order there.
var statsMetrics = []statsMetric{
	{"Sent", "publishes_sent_total", "PUBLISH packets encoded to be sent, retransmissions included.",
		func(s *mqtt.Stats) float64 { return float64(s.Sent) }},
	{"Acknowledged", "publications_acknowledged_total", "QoS 1 and 2 publications whose exchange was completed.",
		func(s *mqtt.Stats) float64 { return float64(s.Acknowledged) }},
	{"Received", "publishes_received_total", "PUBLISH packets received, second copies included.",
		func(s *mqtt.Stats) float64 { return float64(s.Received) }},
	{"Dropped", "messages_dropped_total", "QoS 0 messages dropped for lack of room.",
		func(s *mqtt.Stats) float64 { return float64(s.Dropped) }},
	{"Discarded", "messages_discarded_total", "Messages acknowledged and dropped: unclaimed, by Unsubscribe, or at the end of Latest.",
		func(s *mqtt.Stats) float64 { return float64(s.Discarded) }},
	{"Superseded", "messages_superseded_total", "Messages acknowledged and dropped for newer ones.",
		func(s *mqtt.Stats) float64 { return float64(s.Superseded) }},
	{"TooLarge", "publishes_too_large_total", "PUBLISH packets received above the largest accepted size.",
		func(s *mqtt.Stats) float64 { return float64(s.TooLarge) }},
	{"GivenUp", "publications_given_up_total", "Publications given up because the broker closed every connection at them.",
		func(s *mqtt.Stats) float64 { return float64(s.GivenUp) }},
	{"Surplus", "messages_surplus_total", "Messages received in excess of the Receive Maximum.",
		func(s *mqtt.Stats) float64 { return float64(s.Surplus) }},
	{"NotQueued", "publications_not_queued_total", "Publications refused because the queue was full.",
		func(s *mqtt.Stats) float64 { return float64(s.NotQueued) }},
	{"Evicted", "publications_evicted_total", "Queued publications that gave way to newer ones.",
		func(s *mqtt.Stats) float64 { return float64(s.Evicted) }},
	{"LateReplies", "late_replies_total", "Replies for which no request waits.",
		func(s *mqtt.Stats) float64 { return float64(s.LateReplies) }},
	{"Unreported", "publications_unreported_total", "Failed publications without an Ack channel, or whose Receipt nobody received.",
		func(s *mqtt.Stats) float64 { return float64(s.Unreported) }},
	{"BytesIn", "received_bytes_total", "Bytes of MQTT packets received.",
		func(s *mqtt.Stats) float64 { return float64(s.BytesIn) }},
	{"BytesOut", "sent_bytes_total", "Bytes of MQTT packets sent.",
		func(s *mqtt.Stats) float64 { return float64(s.BytesOut) }},
	{"Writes", "writes_total", "Batches of packets handed to the connection.",
		func(s *mqtt.Stats) float64 { return float64(s.Writes) }},
	{"Reads", "reads_total", "Batches of packets received from the connection.",
		func(s *mqtt.Stats) float64 { return float64(s.Reads) }},
	{"Connections", "connections_total", "Connections established.",
		func(s *mqtt.Stats) float64 { return float64(s.Connections) }},
	{"Attempts", "connection_attempts_total", "Connection attempts begun.",
		func(s *mqtt.Stats) float64 { return float64(s.Attempts) }},
	{"Lost", "connections_lost_total", "Connections lost before the end of the client.",
		func(s *mqtt.Stats) float64 { return float64(s.Lost) }},
	{"Resent", "publishes_resent_total", "PUBLISH packets sent with the DUP flag.",
		func(s *mqtt.Stats) float64 { return float64(s.Resent) }},
	{"NotSent", "publications_not_sent_total", "Publications that ended with ErrNotSent.",
		func(s *mqtt.Stats) float64 { return float64(s.NotSent) }},
	{"Unconfirmed", "publications_unconfirmed_total", "Publications that ended with ErrUnconfirmed.",
		func(s *mqtt.Stats) float64 { return float64(s.Unconfirmed) }},
	{"Failed", "publications_failed_total", "Publications that ended with any other error.",
		func(s *mqtt.Stats) float64 { return float64(s.Failed) }},
	{"HandedOver", "messages_handed_over_total", "Messages handed over to consumers.",
		func(s *mqtt.Stats) float64 { return float64(s.HandedOver) }},
	{"Requeued", "deliveries_requeued_total", "Deliveries that consumers put back.",
		func(s *mqtt.Stats) float64 { return float64(s.Requeued) }},
	{"Commits", "store_commits_total", "Commits of the Store that succeeded.",
		func(s *mqtt.Stats) float64 { return float64(s.Commits) }},

	{"Queued", "queued_publications", "Publications accepted and not yet sent.",
		func(s *mqtt.Stats) float64 { return float64(s.Queued) }},
	{"QueuedBytes", "queued_bytes", "Bytes of the queued publications; 0 without QueueBytes.",
		func(s *mqtt.Stats) float64 { return float64(s.QueuedBytes) }},
	{"OldestQueued", "oldest_queued_age_seconds", "Age of the oldest queued publication.",
		func(s *mqtt.Stats) float64 { return seconds(s.OldestQueued) }},
	{"InFlight", "in_flight_publications", "QoS 1 and 2 publications that await their ack.",
		func(s *mqtt.Stats) float64 { return float64(s.InFlight) }},
	{"OldestInFlight", "oldest_in_flight_age_seconds", "Age of the oldest publication in flight, since it was accepted.",
		func(s *mqtt.Stats) float64 { return seconds(s.OldestInFlight) }},
	{"Window", "window_publications", "How many publications may be in flight.",
		func(s *mqtt.Stats) float64 { return float64(s.Window) }},
	{"Receipts", "waiting_receipts", "Receipts that wait for room in their channels.",
		func(s *mqtt.Stats) float64 { return float64(s.Receipts) }},
	{"Unacked", "unacked_deliveries", "QoS 1 and 2 deliveries whose ack was not yet sent.",
		func(s *mqtt.Stats) float64 { return float64(s.Unacked) }},
	{"OldestUnacked", "oldest_unacked_age_seconds", "Age of the oldest unacknowledged delivery.",
		func(s *mqtt.Stats) float64 { return seconds(s.OldestUnacked) }},
	{"Inbox", "inbox_messages", "Messages received and not yet handed over.",
		func(s *mqtt.Stats) float64 { return float64(s.Inbox) }},
	{"InboxBytes", "inbox_bytes", "Bytes of the messages in the inbox.",
		func(s *mqtt.Stats) float64 { return float64(s.InboxBytes) }},
	{"UnreadBytes", "unread_bytes", "Part of inbox_bytes that is QoS 1 and 2.",
		func(s *mqtt.Stats) float64 { return float64(s.UnreadBytes) }},
	{"InboxMemory", "inbox_memory_bytes", "Memory that the messages in the inbox keep, read buffers included.",
		func(s *mqtt.Stats) float64 { return float64(s.InboxMemory) }},
	{"Unclaimed", "unclaimed_messages", "Messages in the inbox that no Subscription claims.",
		func(s *mqtt.Stats) float64 { return float64(s.Unclaimed) }},
	{"Paused", "reading_paused", "1 while reading waits for consumers.",
		func(s *mqtt.Stats) float64 { return boolean(s.Paused) }},
	{"PausedFor", "reading_paused_age_seconds", "How long reading has waited for consumers.",
		func(s *mqtt.Stats) float64 { return seconds(s.PausedFor) }},
	{"Behind", "reading_behind", "1 while calls end with ErrBehind, since nothing was read for a second.",
		func(s *mqtt.Stats) float64 { return boolean(s.Behind) }},
	{"Subscribed", "subscriptions", "Subscriptions granted or asked for.",
		func(s *mqtt.Stats) float64 { return float64(s.Subscribed) }},
	{"Online", "online", "1 while connected to the broker.",
		func(s *mqtt.Stats) float64 { return boolean(s.Online) }},
	{"StoreWaiting", "store_commit_age_seconds", "How long a commit to the Store has been under way.",
		func(s *mqtt.Stats) float64 { return seconds(s.StoreWaiting) }},
	{"StoreFailing", "store_failing", "1 if the last commit to the Store failed and will be repeated.",
		func(s *mqtt.Stats) float64 { return boolean(s.StoreFailing) }},
}
