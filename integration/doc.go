// Package integration tests the client with real brokers: mochi and a cluster of NATS servers,
// which run in the test process, and mosquitto if it is installed. Each test starts its own brokers
// and runs in every version of the protocol. Heavy tests run at 3.1 only with the flag -full.
//
// TestTheTableOfBrokers runs one suite with all available brokers. These also include a single NATS
// server, RabbitMQ if it is installed with its MQTT and Web-MQTT plugins, and aedes, which npm
// installs once into the user's cache. With -v the test logs the table of the README. If the
// environment variable MILLRACE_BROKERS is "all", a missing broker is a failure.
//
// The tests whose names begin with TestAKilled start this binary again as a child process and kill
// it. The flag -crash.kills sets the number of kills; -crash.seed repeats the random moments of an
// earlier run.
//
// The client is not responsible for messages that a broker loses or repeats. A test that provokes
// such a fault describes the fault in a comment and checks everything else.
package integration
