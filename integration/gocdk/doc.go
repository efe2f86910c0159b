// Package gocdk is a driver of the Go CDK's pubsub over this client, so that the Go CDK's
// conformance tests judge it. These tests run with mochi and, if it is installed, mosquitto, both
// directly and through a proxy that cuts all connections every 200 ms.
//
// A topic of the Go CDK is an MQTT topic. A subscription is a kept session with its filters, so it
// survives its connections. Nack is Delivery.Requeue. MQTT 3.1.1 has no properties, so body and
// metadata travel in JSON. In MQTT every valid topic exists, so NotFound stands for an invalid
// topic name and for a filter that the broker refuses.
package gocdk
