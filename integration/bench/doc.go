// Bench compares MQTT clients: millrace with each of its methods, paho.mqtt.golang and others. It
// also measures the upper limit of the system with minimal programs. They write packets that were
// encoded before the run, and parse only the necessary parts of the answers.
//
//	go run ./integration/bench          # all scenarios, about an hour on two cores
//	go run ./integration/bench -quick   # the scenarios that have a target, a few minutes
//
//	-only REGEXP      run only scenarios whose name matches
//	-clients REGEXP   run only clients whose name matches
//	-peers LIST       run beside millrace only these peers, such as at-wat, separated by commas,
//	                  or "none"
//	-rounds N         number of rounds, at least 1, by default 10
//	-time D           intended duration of a run, at least 1ms
//	-json FILE        write the conditions and all measurements
//	-chart FILE       draw a chart of some measurements
//	-cpuprofile DIR   write a CPU profile of each run
//	-trace DIR        write an execution trace of each run
//
// # A run
//
// One run measures one client in one scenario. The client runs in a child process of this program,
// and the broker in this process. The broker does not route messages. It counts or acknowledges
// inbound messages, answers each read with one write, and sends a subscriber as many messages as
// the window allows. The broker needs far less CPU than any client, as the rows of the limit show,
// so the figures describe the client. The child connects and waits for the parent to write "go". A
// publishing run ends when the client reports it complete and the broker has counted (QoS 0) or
// acknowledged (QoS 1 and 2) each message. A receiving run ends when the consumer has received its
// number of messages. If a client drops QoS 0 messages, the broker sends more; the column sent/msg
// shows how many per received message. A run that fails, or takes longer than a minute, is shown as
// failed.
//
// First a calibration finds the number of messages for each client and scenario, so that every run
// takes about the same time. Then the rounds begin. The clients take turns in each round, so that
// other load on the machine affects all clients. The window of a scenario limits the unacknowledged
// messages; QoS 0 has no window.
//
// CPU is the user and system time of the process. System calls are reads and writes; wake-ups are
// voluntary context switches. The operating system counts both, so the connection needs no wrapper
// and all clients are measured in the same way. At windows of 100 or less, client and broker wait
// for each other, so the rates vary with the scheduler. Compare the CPU there.
//
// # A report
//
// A report begins with the conditions: the machine, the versions, the commit, the date and the load
// average. It ends with the load average after the last run and the share of the CPUs that other
// processes used meanwhile, which should be near zero.
//
// A figure is the median of the rounds, with its 95 % interval in brackets, for which six rounds
// are needed. The multiple behind it compares the median with that of paho.mqtt.golang in the same
// scenario. It is "~" if the Mann-Whitney U test shows no difference (p is 0.05 or more), and ends
// with a question mark if one of both has fewer than four rounds, which are too few for the test.
// The last column compares in the same way with the best peer of the scenario: the client, other
// than millrace, with the highest rate, the shortest time, or the least CPU or memory.
//
// A target that is a multiple is also tested: "~ the limit" tells that the figures show no
// difference from the limit. The chart has the ways to use millrace, the best peer of each scenario
// with its name, and the fastest limit. A scenario that a peer wins is never left out.
//
// # The clients
//
// The program uses each client in the fastest way that its documents describe. PublishFrom reads
// from a buffered channel. Publishes has one buffered Ack channel. An echo of millrace publishes
// with Publish at QoS 0 and with Publishes at QoS 1 and 2. As many goroutines as the window allows
// call Publish. paho.mqtt.golang publishes without waiting; at QoS 1 and 2 another goroutine waits
// for the tokens. SetOrderMatters is false, except at QoS 0, where true is faster.
//
// The rows of millrace have the names of its methods. It speaks 3.1.1, and with a 5 behind the name
// MQTT 5, like paho.golang. In the scenarios named durable it syncs the session to the store behind
// the name, before it sends; paho.mqtt.golang writes files and does not sync them. In the scenario
// "one goroutine", one goroutine calls Publish.
//
// In paho.golang and at-wat/mqtt-go, Publish returns when the ack has come, and as many goroutines
// as the window allows call it. paho.golang speaks MQTT 5, and the broker answers in MQTT 5.
// libmosquitto is a C program, compiled if cc and mosquitto.h are present; its memory is not
// counted.
package main
