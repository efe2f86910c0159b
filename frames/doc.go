// Package frames encodes and decodes the control packets of MQTT 3.1 (MQIsdp), MQTT 3.1.1 and MQTT
// 5 (both MQTT). It knows the layout of packets and the rules that a single packet can break. Rules
// across packets (identifiers in use, sessions, outstanding acknowledgments) belong to package
// flow.
//
// The package imports only the standard library and uses no goroutine, channel, clock, lock or
// network connection. Values are plain structs; only one goroutine at a time may use a [Reader], an
// [Aliases], an [OutboundAliases] or a [Topics].
//
// # Writing
//
// Each packet has Append(dst, version), which appends the encoded packet to dst and returns the
// extended slice. On error it returns dst unchanged. Append checks only the encoding: the QoS, the
// identifier, the lengths, DUP at QoS 0, and that lists are not empty. The Validate methods and the
// Valid functions check the content: UTF-8, U+0000, wildcards and client identifiers. Call them
// once, where a value enters the library. Because Append leaves content unchecked, the hot path is
// fast and a scripted broker can send bad content on purpose.
//
// # Reading
//
// A [Reader] splits the byte stream into frames. It compares the size that a header announces with
// its limit before it allocates memory. Its buffer grows only as bytes arrive, so a header alone
// cannot cause a large allocation. The Parse functions decode a [Frame] with a cursor. The cursor
// records a read past the end of the frame, and the function checks this record once, at the end.
//
// Ownership: Frame.Body points into the buffer of the Reader and is valid until the next Fill. The
// same holds for Publish.Payload, the correlation data and every other []byte of a parsed packet.
// After [Reader.Keep] these slices stay valid for ever, because the Reader never writes to that
// memory again. [Message.Clone] copies them. Strings are always copies.
//
// # Errors
//
//   - [*InvalidError]: an argument is wrong. It names the field and the limit. Nothing was
//     appended.
//   - [*ProtocolError]: the peer broke the standard. No part of the packet may be delivered and the
//     connection must be closed [MQTT-4.8.0-1]. Its Code is the reason code for DISCONNECT.
//   - [*TooLargeError]: the peer announced a frame over the limit of the Reader. The stream cannot
//     be read any further.
//   - [ReasonCode]: the broker refused the connection. Codes are errors; compare them with
//     errors.Is.
//   - io.EOF: the stream ended between two frames; io.ErrUnexpectedEOF: it ended inside a frame.
//
// # Differences between the versions
//
// MQTT 3.1 has its own protocol name and level, client identifiers of 1 to 23 characters, topics of
// at most 32,767 characters, a DUP flag on PUBREL, SUBSCRIBE and UNSUBSCRIBE, and no
// session-present flag in CONNACK. Where the text of 3.1 has no rule (surrogates, U+0000, topics
// that begin with $, broken packets), the rules of 3.1.1 hold for both. As an argument, Version 0
// means 3.1.1.
//
// MQTT 5 adds properties to all packets but PINGREQ and PINGRESP, a reason code to all acks and to
// DISCONNECT, which a broker sends too, options to filters, topic aliases, and the packet AUTH.
// Call [Reader.SetVersion], since only a stream of MQTT 5 may have AUTH. A property that has the
// value which its absence means is parsed as absent. Before MQTT 5, Validate rejects properties and
// options, and Append leaves them out. [Aliases] resolves the topic aliases of the peer, and
// [OutboundAliases] chooses those of this side.
package frames
