// Package integration holds tests of the client with real brokers: mochi, which
// runs in the test process, always, a cluster of NATS servers there too, and
// mosquitto when it is installed. Each
// test has brokers of its own and runs in both versions of the protocol.
//
// TestTheTableOfBrokers runs one suite with all brokers that there are: NATS, which
// runs in the test process, RabbitMQ when it is installed with its MQTT and Web-MQTT
// plugins, and aedes, which npm fetches into the user's cache once. It logs the table
// of the README: go test -v -run TestTheTableOfBrokers.
//
// The tests whose names begin with TestAKilled start this binary again as a process
// that they kill; -crash.kills says how often, -crash.seed repeats the draw of the
// moments.
//
// What a broker loses or repeats by itself is not the client's to answer for. A
// test that provokes it says in a comment what that is, and checks the rest.
package integration
