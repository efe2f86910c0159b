// Bench measures MQTT clients in Go side by side: millrace, used in each of its ways,
// paho.mqtt.golang, others, and the limit, which is no client but what the system
// gives to a program that writes packets that were encoded before and looks at no
// more of an answer than it must.
//
//	go run ./integration/bench          # all of it, about twenty minutes on two cores
//	go run ./integration/bench -quick   # the scenarios that have a target, about 90 seconds
//
//	-only REGEXP      the scenarios whose name matches, -clients the clients
//	-rounds N         how many rounds; -time D, how long a run is to take
//	-json FILE        all that was measured; -chart FILE, a part of it in a picture
//	-cpuprofile DIR   a CPU profile of each run; -trace DIR, an execution trace
//
// # A run
//
// One run is one client in one scenario, in a process of its own: this program
// started again. The broker is in the parent. It routes nothing: it counts, or
// acknowledges, what comes, answers each read with one write, and sends a subscriber
// as many messages as its window allows. It is so much cheaper than any client that
// what is measured is the client, as the rows of the limit show. The child connects,
// is told to go, and has ended when its client says so and the broker has counted
// (QoS 0) or acknowledged (QoS 1 and 2) each message; a receiving one when its
// consumer has had as many. A client that drops messages at QoS 0 just needs more of
// them: sent/msg tells how many. A run that fails, or takes longer than a minute, is
// shown as failed.
//
// How many messages a run has is found out before, for each client and scenario, so
// that it takes about the same time for all: what is slow is not measured for longer.
// Then come the rounds. In each of them the clients take turns, so that whatever
// else the machine does meets all of them. A figure is the median of the rounds, with
// the least and the most in brackets, and after it the multiple of the median of
// paho.mqtt.golang in the same scenario. The window of a scenario is how many messages
// may be unacknowledged at once; at QoS 0 there is none.
//
// CPU is that of the process, user and system. System calls are reads and writes;
// wake-ups are voluntary context switches. Both are counted by the system, the same
// for all, with nothing in between. At windows of 100 and less client and broker run
// in lock-step, and rates swing with the scheduler's mood: compare the CPU there. The
// last line tells how much of the machine others had: it should be next to nothing.
//
// # The clients
//
// Each is used in the fastest way that its documents describe. PublishFrom reads from
// a buffered channel; Publishes has one buffered Ack channel; Publish is called by as
// many goroutines as the window has room for. paho.mqtt.golang publishes without
// waiting, at QoS 1 and 2 with another goroutine that waits for the tokens; order does
// not matter to it except at QoS 0, where that is faster.
//
// The Publish of paho.golang and at-wat/mqtt-go returns with the ack, and is called by
// as many goroutines as the window has room for; paho.golang speaks MQTT 5, in which
// the broker answers it. libmosquitto is a C program, which is compiled when there are
// cc and mosquitto.h; its memory is not counted.
package main
