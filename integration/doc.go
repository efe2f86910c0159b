// Package integration tests the client with real brokers: mochi and a cluster of NATS servers,
// which run in the test process, and mosquitto if it is installed. Each test has brokers of its own
// and runs in both versions of the protocol.
//
// TestTheTableOfBrokers runs one suite with all available brokers: also a single NATS server,
// RabbitMQ, if it is installed with its MQTT and Web-MQTT plugins, and aedes, which npm installs
// once into the user's cache. With -v it logs the table of the README.
//
// The tests whose names begin with TestAKilled start this binary again as a process that they kill;
// -crash.kills sets the number of kills, -crash.seed repeats their random moments.
//
// The client is not responsible for messages that a broker loses or repeats. A test that provokes
// such a fault describes it in a comment, and checks everything else.
package integration
