// Bench compares MQTT clients: millrace in each of its ways of use, paho.mqtt.golang and others. It
// also measures the upper limit of the system, with a program that writes packets encoded before
// the run and parses no more of an answer than it must.
//
//	go run ./integration/bench          # all scenarios, about twenty minutes on two cores
//	go run ./integration/bench -quick   # the scenarios that have a target, about 90 seconds
//
//	-only REGEXP      run the scenarios whose name matches; -clients REGEXP, the clients
//	-rounds N         number of rounds; -time D, intended duration of a run
//	-json FILE        write all measurements; -chart FILE, draw some of them
//	-cpuprofile DIR   write a CPU profile of each run; -trace DIR, an execution trace
//
// # A run
//
// One run is one client in one scenario, in its own process: this program, started again. The
// broker is in the parent. It routes nothing: it counts or acknowledges inbound messages, answers
// each read with one write, and sends a subscriber as many messages as its window allows. It is so
// much cheaper than any client that the figures describe the client, as the rows of the limit show.
// The child connects and waits for the word to start. A publishing run ends when the client reports
// it complete and the broker has counted (QoS 0) or acknowledged (QoS 1 and 2) each message, a
// receiving run when the consumer has received its number of messages. A client that drops QoS 0
// messages needs more of them: the column sent/msg shows how many. A run that fails, or takes
// longer than a minute, is shown as failed.
//
// The number of messages of a run is calibrated before, for each client and scenario, so that every
// run takes about the same time. Then come the rounds, in which the clients take turns, so that
// other load on the machine affects all of them. A figure is the median of the rounds, with minimum
// and maximum in brackets, followed by the multiple of the median of paho.mqtt.golang in the same
// scenario. The window of a scenario limits the unacknowledged messages; at QoS 0 there is none.
//
// CPU is the user and system time of the process. System calls are reads and writes; wake-ups are
// voluntary context switches. The system counts both, in the same way for all clients, without a
// wrapper around the connection. At windows of 100 and less client and broker run in lock-step, and
// rates vary with the scheduler: compare the CPU there. The last line shows the share of the CPUs
// that other processes used; it should be near zero.
//
// # The clients
//
// Each client is used in the fastest way that its documents describe. PublishFrom reads from a
// buffered channel; Publishes has one buffered Ack channel; Publish is called by as many goroutines
// as the window allows. paho.mqtt.golang publishes without waiting; at QoS 1 and 2 another
// goroutine waits for the tokens. SetOrderMatters is false, except at QoS 0, where true is faster.
//
// The Publish of paho.golang and at-wat/mqtt-go returns with the ack, and is called by as many
// goroutines as the window allows. paho.golang speaks MQTT 5, and the broker answers in MQTT 5.
// libmosquitto is a C program, compiled if cc and mosquitto.h are present; its memory is not
// counted.
package main
