// Package cloudeventsmqtt sends and receives CloudEvents (github.com/cloudevents/sdk-go) over MQTT.
//
// Events travel in structured mode, in the JSON format. The binary mode of the CloudEvents binding
// for MQTT puts attributes into user properties, and other formats need a content type; MQTT 5 has
// both, 3.1.1 has neither. So the Sender encodes each event as JSON, whatever the mode of the
// message, and the Receiver takes each payload for JSON.
package cloudeventsmqtt
