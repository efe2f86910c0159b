// Package watermillmqtt connects Watermill (github.com/ThreeDotsLabs/watermill) to an MQTT broker.
//
// A Watermill topic is an MQTT topic. A message travels in an envelope, as JSON, since MQTT 3.1.1
// has no place for a UUID and metadata.
//
// A Subscriber belongs to a group. For each topic, a group has one session at the broker, which
// collects the messages of that topic from the first SubscribeInitialize or Subscribe on, also
// while no Subscriber is connected. So a message that nobody has acked survives the Subscriber, and
// each group receives every message. A session has one client at a time: of two Subscribers of a
// group that subscribe to the same topic, the broker disconnects the first when the second
// connects, and each interrupts the other until one is closed.
//
// The Subscriber hands over one message of a topic at a time and waits for its Ack. A message that
// was nacked is handed over again, at once and before all others, or after NackDelay and behind the
// messages that wait.
package watermillmqtt
