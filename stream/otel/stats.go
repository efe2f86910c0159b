package mqttotel

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/semconv/v1.40.0/messagingconv"

	"github.com/go-millrace/mqtt"
)

// A count is a metric of a field of mqtt.Stats that is a number or a bool.
type count struct {
	field       string // of mqtt.Stats; empty if the metric is made of other fields
	name        string
	unit        string
	description string
	sum         bool // it never falls
	value       func(*mqtt.Stats) int64
	attributes  []attribute.KeyValue
}

// An age is a metric of a field of mqtt.Stats that is a time.Duration.
type age struct {
	field       string
	name        string
	description string
	value       func(*mqtt.Stats) time.Duration
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// counts are the metrics of the fields of mqtt.Stats that are numbers or bools, in their order
// there, after the two metrics that the conventions for messaging define.
var counts = []count{
	{"", messagingconv.ClientSentMessages{}.Name(), messagingconv.ClientSentMessages{}.Unit(),
		"Messages that the client has sent to the broker, without retransmissions.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Sent - s.Resent) },
		[]attribute.KeyValue{system, semconv.MessagingOperationName("publish")}},
	{"", messagingconv.ClientConsumedMessages{}.Name(), messagingconv.ClientConsumedMessages{}.Unit(),
		"Messages that were handed over to consumers.", true,
		func(s *mqtt.Stats) int64 { return int64(s.HandedOver) },
		[]attribute.KeyValue{system, semconv.MessagingOperationName("receive")}},

	{"Sent", "millrace.publishes.sent", "{packet}", "PUBLISH packets encoded to be sent, retransmissions included.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Sent) }, nil},
	{"Acknowledged", "millrace.publications.acknowledged", "{message}", "QoS 1 and 2 publications whose exchange was completed.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Acknowledged) }, nil},
	{"Received", "millrace.publishes.received", "{packet}", "PUBLISH packets received, second copies included.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Received) }, nil},
	{"Dropped", "millrace.messages.dropped", "{message}", "QoS 0 messages dropped for lack of room.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Dropped) }, nil},
	{"Discarded", "millrace.messages.discarded", "{message}", "Messages acknowledged and dropped: unclaimed, by Unsubscribe, or at the end of Latest.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Discarded) }, nil},
	{"Superseded", "millrace.messages.superseded", "{message}", "Messages acknowledged and dropped for newer ones.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Superseded) }, nil},
	{"TooLarge", "millrace.publishes.too_large", "{packet}", "PUBLISH packets received above the largest accepted size.", true,
		func(s *mqtt.Stats) int64 { return int64(s.TooLarge) }, nil},
	{"GivenUp", "millrace.publications.given_up", "{message}", "Publications given up because the broker closed every connection at them.", true,
		func(s *mqtt.Stats) int64 { return int64(s.GivenUp) }, nil},
	{"Surplus", "millrace.messages.surplus", "{message}", "Messages received in excess of the Receive Maximum.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Surplus) }, nil},
	{"NotQueued", "millrace.publications.not_queued", "{message}", "Publications refused because the queue was full.", true,
		func(s *mqtt.Stats) int64 { return int64(s.NotQueued) }, nil},
	{"Evicted", "millrace.publications.evicted", "{message}", "Queued publications that gave way to newer ones.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Evicted) }, nil},
	{"LateReplies", "millrace.replies.late", "{message}", "Replies for which no request waits.", true,
		func(s *mqtt.Stats) int64 { return int64(s.LateReplies) }, nil},
	{"Unreported", "millrace.publications.unreported", "{message}", "Failed publications without an Ack channel, or whose Receipt nobody received.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Unreported) }, nil},
	{"BytesIn", "millrace.received.size", "By", "Bytes of MQTT packets received.", true,
		func(s *mqtt.Stats) int64 { return int64(s.BytesIn) }, nil},
	{"BytesOut", "millrace.sent.size", "By", "Bytes of MQTT packets sent.", true,
		func(s *mqtt.Stats) int64 { return int64(s.BytesOut) }, nil},
	{"Writes", "millrace.writes", "{batch}", "Batches of packets handed to the connection.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Writes) }, nil},
	{"Reads", "millrace.reads", "{batch}", "Batches of packets received from the connection.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Reads) }, nil},
	{"Connections", "millrace.connections.established", "{connection}", "Connections established.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Connections) }, nil},
	{"Attempts", "millrace.connections.attempts", "{attempt}", "Connection attempts begun.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Attempts) }, nil},
	{"Lost", "millrace.connections.lost", "{connection}", "Connections lost before the end of the client.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Lost) }, nil},
	{"Resent", "millrace.publishes.resent", "{packet}", "PUBLISH packets sent with the DUP flag.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Resent) }, nil},
	{"NotSent", "millrace.publications.not_sent", "{message}", "Publications that ended with ErrNotSent.", true,
		func(s *mqtt.Stats) int64 { return int64(s.NotSent) }, nil},
	{"Unconfirmed", "millrace.publications.unconfirmed", "{message}", "Publications that ended with ErrUnconfirmed.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Unconfirmed) }, nil},
	{"Failed", "millrace.publications.failed", "{message}", "Publications that ended with any other error.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Failed) }, nil},
	{"HandedOver", "millrace.messages.handed_over", "{message}", "Messages handed over to consumers.", true,
		func(s *mqtt.Stats) int64 { return int64(s.HandedOver) }, nil},
	{"Requeued", "millrace.deliveries.requeued", "{message}", "Deliveries that consumers put back.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Requeued) }, nil},
	{"Commits", "millrace.store.commits", "{commit}", "Commits of the Store that succeeded.", true,
		func(s *mqtt.Stats) int64 { return int64(s.Commits) }, nil},

	{"Queued", "millrace.queue.messages", "{message}", "Publications accepted and not yet sent.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Queued) }, nil},
	{"QueuedBytes", "millrace.queue.size", "By", "Bytes of the queued publications; 0 without QueueBytes.", false,
		func(s *mqtt.Stats) int64 { return int64(s.QueuedBytes) }, nil},
	{"InFlight", "millrace.in_flight.messages", "{message}", "QoS 1 and 2 publications that await their ack.", false,
		func(s *mqtt.Stats) int64 { return int64(s.InFlight) }, nil},
	{"Window", "millrace.in_flight.limit", "{message}", "How many publications may be in flight.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Window) }, nil},
	{"Receipts", "millrace.receipts.waiting", "{receipt}", "Receipts that wait for room in their channels.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Receipts) }, nil},
	{"Unacked", "millrace.unacked.messages", "{message}", "QoS 1 and 2 deliveries whose ack was not yet sent.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Unacked) }, nil},
	{"Inbox", "millrace.inbox.messages", "{message}", "Messages received and not yet handed over.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Inbox) }, nil},
	{"InboxBytes", "millrace.inbox.size", "By", "Bytes of the messages in the inbox.", false,
		func(s *mqtt.Stats) int64 { return int64(s.InboxBytes) }, nil},
	{"UnreadBytes", "millrace.inbox.unread.size", "By", "Part of inbox.size that is QoS 1 and 2.", false,
		func(s *mqtt.Stats) int64 { return int64(s.UnreadBytes) }, nil},
	{"InboxMemory", "millrace.inbox.memory", "By", "Memory that the messages in the inbox keep, read buffers included.", false,
		func(s *mqtt.Stats) int64 { return int64(s.InboxMemory) }, nil},
	{"Unclaimed", "millrace.inbox.unclaimed", "{message}", "Messages in the inbox that no Subscription claims.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Unclaimed) }, nil},
	{"Paused", "millrace.reading.paused", "1", "1 while reading waits for consumers.", false,
		func(s *mqtt.Stats) int64 { return boolean(s.Paused) }, nil},
	{"Behind", "millrace.reading.behind", "1", "1 while calls end with ErrBehind, since nothing was read for a second.", false,
		func(s *mqtt.Stats) int64 { return boolean(s.Behind) }, nil},
	{"Subscribed", "millrace.subscriptions", "{subscription}", "Subscriptions granted or asked for.", false,
		func(s *mqtt.Stats) int64 { return int64(s.Subscribed) }, nil},
	{"Online", "millrace.online", "1", "1 while connected to the broker.", false,
		func(s *mqtt.Stats) int64 { return boolean(s.Online) }, nil},
	{"StoreFailing", "millrace.store.failing", "1", "1 if the last commit to the Store failed and will be repeated.", false,
		func(s *mqtt.Stats) int64 { return boolean(s.StoreFailing) }, nil},
}

// ages are the metrics of the fields of mqtt.Stats that are durations, in their order there.
var ages = []age{
	{"OldestQueued", "millrace.queue.age", "Age of the oldest queued publication.",
		func(s *mqtt.Stats) time.Duration { return s.OldestQueued }},
	{"OldestInFlight", "millrace.in_flight.age", "Age of the oldest publication in flight, since it was accepted.",
		func(s *mqtt.Stats) time.Duration { return s.OldestInFlight }},
	{"OldestUnacked", "millrace.unacked.age", "Age of the oldest unacknowledged delivery.",
		func(s *mqtt.Stats) time.Duration { return s.OldestUnacked }},
	{"PausedFor", "millrace.reading.paused.age", "How long reading has waited for consumers.",
		func(s *mqtt.Stats) time.Duration { return s.PausedFor }},
	{"StoreWaiting", "millrace.store.commit.age", "How long a commit to the Store has been under way.",
		func(s *mqtt.Stats) time.Duration { return s.StoreWaiting }},
}
