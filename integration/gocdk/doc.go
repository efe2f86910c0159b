// Package gocdk is a driver of the Go CDK's pubsub over this client, so that the Go CDK's
// conformance tests judge it. These tests run with mochi and, if it is installed, mosquitto, both
// straight and through a proxy that cuts every connection each 200 ms.
//
// A topic of the Go CDK is an MQTT topic. A subscription is a kept session with its filters, so it
// survives its connections. Nack is Delivery.Requeue. MQTT 3.1.1 has no properties, so that body
// and metadata travel in JSON. It knows no topic that does not exist either: NotFound stands for a
// name that can be no topic, and for a filter that the broker refuses.
package gocdk
