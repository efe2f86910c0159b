// Package mqttotel shows MQTT clients to OpenTelemetry: metrics, spans, and the trace context in
// messages.
//
// The import path ends in otel. The package has another name, so that a file can import it beside
// package otel of OpenTelemetry.
//
// # Metrics
//
// Register makes asynchronous instruments for all fields of mqtt.Stats. They are read when the
// MeterProvider collects, and cost nothing for a message. Two follow the semantic conventions for
// messaging, and the others, one for each field, begin with millrace:
//
//	messaging.client.sent.messages        PUBLISH packets sent, without retransmissions
//	messaging.client.consumed.messages    messages handed over to consumers
//	millrace.in_flight.messages           Stats.InFlight, and so on
//
// A Producer shows the histograms of mqtt.Timings as exponential histograms of scale 2, as they are
// recorded:
//
//	messaging.client.operation.duration   publications without an error, for each QoS
//	messaging.process.duration            from the hand-over of a delivery to its ack
//	millrace.hand_over.duration           from the read of a message to its hand-over
//	millrace.connect.duration
//	millrace.store.commit.duration
//	millrace.ping.duration
//
// The API of OpenTelemetry has no asynchronous histogram. Therefore give the Producer to the reader
// of the SDK, with the option WithProducer. The temporality is cumulative. The OTLP exporters of
// version 1.43 leave out the zero threshold: durations up to 2^-20 s arrive as durations of 0.
//
// # Spans
//
// A Tracing makes spans from the events of a client; its Observer becomes Options.Observer. Names,
// kinds and attributes follow the semantic conventions for messaging:
//
//	create    PRODUCER  Inject: a message gets the trace context
//	publish   CLIENT    from the acceptance of a message to its Receipt
//	receive   CLIENT    from the read of a message to the hand-over to a consumer
//	process   CONSUMER  Process: from the call until the caller ends the span
//	connect   CLIENT    a connection attempt, with all its endpoints
//
// On MQTT 5 the trace context travels in the user properties traceparent and tracestate. So the
// spans publish, receive and process are children of the span create, also in another process. MQTT
// 3.1 and 3.1.1 have no properties, and mqttotel changes no payload: there each of these spans
// begins a trace of its own. A message whose trace is not sampled gets neither publish nor receive.
//
// A span that failed has the status Error and the attribute error.type. For publish it is not_sent,
// unconfirmed, refused or kept; for connect it is rejected (by CONNACK) or timeout. Any other error
// is _OTHER.
//
// # Export
//
// The module requires the SDK for the Producer, and no exporter. The program examples/traces
// exports the metrics and the spans of a client to a collector, by OTLP over HTTP.
package mqttotel
