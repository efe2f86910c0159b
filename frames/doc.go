// Package frames turns MQTT control packets into bytes and bytes into control packets, for MQTT 3.1 (MQIsdp) and
// MQTT 3.1.1 (MQTT). It knows the layout of packets and the rules that one packet can break by itself; what packets
// mean to each other (identifiers in use, sessions, acknowledgments owed) is the business of package flow.
//
// The package imports the standard library only and holds no goroutine, channel, clock, lock or network connection.
// Values are plain structs; a [Reader] and a [Topics] belong to one goroutine at a time.
//
// # Writing
//
// Each packet has Append(dst, version), which appends its bytes to dst and returns the longer slice. On error dst
// comes back as it was. Append checks what the encoding needs and no more: QoS 0 to 2, an identifier that is not 0,
// lengths that fit, no DUP at QoS 0, lists that are not empty. The rules on content (UTF-8, U+0000, wildcards, client
// identifiers) are in the Validate methods and the Valid functions. Call them once, where a value enters the library;
// the hot path does not check twice, and a scripted broker may send bad content on purpose.
//
// # Reading
//
// A [Reader] cuts the byte stream into frames. It compares the size that a header announces with its limit before it
// allocates anything, and its buffer grows only as bytes arrive, so a header alone costs nothing. The Parse functions
// take a [Frame] apart with a cursor that remembers a short read and is asked once, at the end.
//
// Who owns the bytes: Frame.Body, and with it Publish.Payload and every other []byte of a parsed packet, points into
// the buffer of the Reader and is good until the next Fill. After [Reader.Keep] it is good for ever, because the
// Reader then leaves that memory alone. [Message.Clone] copies a payload out. Strings are always copies.
//
// # Errors
//
//   - [*InvalidError]: an argument of ours is wrong. It names the field and the limit. Nothing was appended.
//   - [*ProtocolError]: the peer broke the standard. Nothing of the packet may be delivered and the connection must be
//     closed [MQTT-4.8.0-1].
//   - [*TooLargeError]: the peer announced a frame over the limit of the Reader. The stream cannot be read further.
//   - [ReasonCode]: the broker refused the connection. The codes are errors, to be compared with errors.Is.
//   - io.EOF: the stream ended between two frames; io.ErrUnexpectedEOF: inside one.
//
// # Differences between the versions
//
// MQTT 3.1 has its own protocol name and level, client identifiers of 1 to 23 characters, topics of at most 32,767
// characters, a DUP flag on PUBREL, SUBSCRIBE and UNSUBSCRIBE, and no session-present flag in CONNACK. Where its text
// is silent (surrogates, U+0000, topics that begin with $, broken packets) the rules of 3.1.1 hold for both. A
// Version of 0 where one is asked for means 3.1.1.
package frames
