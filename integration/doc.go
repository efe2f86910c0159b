// Package integration holds tests of the client with real brokers: mochi, which
// runs in the test process, always, and mosquitto when it is installed. Each
// test has brokers of its own and runs in both versions of the protocol.
//
// What a broker loses or repeats by itself is not the client's to answer for. A
// test that provokes it says in a comment what that is, and checks the rest.
package integration
