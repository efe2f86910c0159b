package stream_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// wireProperties are all properties of MQTT 5 as bytes (table 2-4).
var wireProperties = []string{
	"\x01\x01", "\x02\x00\x00\x00\x05", "\x03\x00\x01c", "\x08\x00\x01r", "\x09\x00\x01d", "\x0b\x01",
	"\x11\x00\x00\x00\x05", "\x12\x00\x01i", "\x13\x00\x05", "\x15\x00\x01m", "\x16\x00\x01d", "\x17\x01",
	"\x18\x00\x00\x00\x05", "\x19\x01", "\x1a\x00\x01r", "\x1c\x00\x01s", "\x1f\x00\x01r", "\x21\x00\x05",
	"\x22\x00\x05", "\x23\x00\x01", "\x24\x01", "\x25\x01", "\x26\x00\x01n\x00\x01v", "\x27\x00\x00\x01\x00",
	"\x28\x01", "\x29\x01", "\x2a\x01",
}

// oddProperties are blocks of properties, with their length, that break a rule.
var oddProperties = []string{
	"\x02\x01\x02", "\x05\x02\xff\xff\xff\xff", "\x05\x02\x00\x00\x00\x00", // payload format 2, the longest and no expiry
	"\x02\x0b\x00", "\x06\x0b\xff\xff\xff\xff\x7f", "\x03\x0b\x81\x00", // subscription identifier 0, too long, non-minimal
	"\x03\x23\x00\x00", "\x03\x23\xff\xff", "\x03\x23\x00\x05", // topic aliases out of range, and one in range
	"\x03\x08\x00\x00", "\x05\x08\x00\x02a#", "\x05\x03\x00\x02\xc0\x80", "\x04\x03\x00\x01\x00", // texts
	"\x02\x17\x02", "\x02\x19\x02", "\x02\x24\x02", "\x02\x25\x02", "\x02\x28\x02", "\x02\x29\x02", "\x02\x2a\x02", // flags
	"\x03\x21\x00\x00", "\x05\x27\x00\x00\x00\x00", // limits of 0
	"\x02\x7f\x00", "\x01\x00", "\x02\x80\x00", "\x01\x2b", // reserved identifiers
	"\x01\x26", "\x04\x26\x00\x01n", "\x04\x03\x00\x09c", "\x04\x09\xff\xffd", "\x02\x02\x00", // values cut short
	"\x80\x00", "\xff\xff\xff\x7f", "\xff\xff\xff\xff\x01", "\x7f", // length of the block
	"\x04\x16\x00\x01d", // data without a method
}

// A coded packet is a packet of the broker up to its properties.
var codedPackets = []struct{ before, after string }{
	{"\x20\x00\x00", ""},             // CONNACK
	{"\x30\x00\x01t", "p"},           // PUBLISH
	{"\x32\x00\x03s/1\x00\x01", "p"}, // QoS 1
	{"\x40\x00\x01\x00", ""},         // PUBACK
	{"\x50\x00\x02\x00", ""},         // PUBREC
	{"\x62\x00\x02\x00", ""},         // PUBREL
	{"\x70\x00\x02\x00", ""},         // PUBCOMP
	{"\x90\x00\x01", "\x02"},         // SUBACK
	{"\xb0\x00\x01", "\x00"},         // UNSUBACK
	{"\xe0\x8b", ""},                 // DISCONNECT
	{"\xf0\x18", ""},                 // AUTH
}

// addSeedsV5 adds streams of bytes of a broker of MQTT 5. CONNACK is the first packet of a stream,
// so its seeds come without another one before it.
func addSeedsV5(f *testing.F, cuts []byte) {
	connack := []byte("\x20\x03\x00\x00\x00")
	for n, p := range codedPackets {
		add := func(block string) {
			b := body(p.before[0], p.before[1:], block, p.after)
			setup := setupV5 | uint16(n&1) | 8
			if b[0] == connack[0] {
				f.Add(append(b, "\xd0\x00"...), cuts, noConnack|setup)
				return
			}
			f.Add(b, cuts[n%len(cuts):], setup)
		}
		for i, one := range wireProperties {
			add(string(rune(len(one))) + one)
			add(string(rune(2*len(one))) + one + one)
			// The value of another property: one of another type as a rule.
			other := one[:1] + wireProperties[(i+7)%len(wireProperties)][1:]
			add(string(rune(len(other))) + other)
		}
		for _, block := range oddProperties {
			add(block)
		}
	}
	f.Add(everyConnackProperty(f), cuts, noConnack|setupV5)
	f.Add(everyConnackProperty(f), cuts[1:], noConnack|setupV5|2|4)
	for _, s := range packetsV5() {
		f.Add([]byte(s), cuts, setupV5|8)
		f.Add([]byte(s), cuts[1:], setupV5|1|2|4)
		f.Add([]byte(s), cuts, noConnack|setupV5)
	}
}

// everyConnackProperty returns a CONNACK with all properties but those of an authentication, and a
// message after it.
func everyConnackProperty(f *testing.F) []byte {
	expiry, keepAlive, q := uint32(5), uint16(7), frames.AtLeastOnce
	b, err := frames.Connack{Properties: &frames.ConnackProperties{
		SessionExpiry: &expiry, ReceiveMaximum: 1, MaximumQoS: &q, NoRetain: true, MaximumPacket: 40, AssignedClientID: "other",
		TopicAliasMaximum: 1, Reason: "r", User: []frames.UserProperty{{Name: "n", Value: "v"}, {Name: "n", Value: "v"}},
		NoWildcards: true, NoSubscriptionIDs: true, NoSharedSubscriptions: true, ServerKeepAlive: &keepAlive,
		ResponseInformation: "i", ServerReference: "s",
	}}.Append(nil, frames.V5)
	if err == nil {
		b, err = publish("u", "x", atLeast, 1, false).Append(b, frames.V5)
	}
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// packetsV5 returns packets with reserved and unexpected reason codes, truncated ones, topic
// aliases and many properties.
func packetsV5() (seeds []string) {
	for _, first := range []byte{0x40, 0x50, 0x62, 0x70} { // the code at each of its lengths
		for _, code := range []string{"", "\x00", "\x01", "\x10", "\x7f", "\x87", "\x92", "\xff", "\x87\x00", "\x00\x00\x00"} {
			seeds = append(seeds, string(body(first, 0, 1, code)), string(body(first, 0, 2, code)), string(body(first, 0, 9, code)))
		}
	}
	for _, code := range []int{0, 1, 2, 3, 0x11, 0x7F, 0x80, 0x87, 0x8F, 0x97, 0x9E, 0xA2, 0xFF} {
		seeds = append(seeds, string(body(0x90, 0, 1, 0, code)), string(body(0xB0, 0, 1, 0, code)),
			string(body(0xE0, code)), string(body(0xE0, code, 0)), string(body(0xF0, code, 0)), string(body(0x20, 0, code, 0)),
			string(body(0x20, 0, code)))
	}
	seeds = append(seeds,
		"\xe0\x00", "\xf0\x00", "\xf0\x01\x18", "\xe0\x07\x9d\x05\x1c\x00\x02b:", "\xe0\x07\x00\x05\x11\x00\x00\x00\x05",
		"\xf0\x06\x18\x04\x15\x00\x01m", "\xf0\x06\x00\x04\x15\x00\x01m", "\xf0\x06\x19\x04\x15\x00\x01m",
		"\x90\x03\x00\x01\x00", "\xb0\x03\x00\x01\x00", "\xb0\x05\x00\x01\x00\x00\x00",
		"\x30\x07\x00\x01u\x03\x23\x00\x01\x30\x06\x00\x00\x03\x23\x00\x01", // an alias is set and used
		"\x30\x06\x00\x00\x03\x23\x00\x01", "\x30\x03\x00\x00\x00", "\x30\x07\x00\x01u\x03\x23\x00\x06",
		"\x32\x09\x00\x01u\x00\x01\x03\x23\x00\x01\x32\x08\x00\x00\x00\x02\x03\x23\x00\x01",
		"\xe0\x01\x8e\x30\x04\x00\x01u\x00", // a message after DISCONNECT
		"\x20\x03\x01\x00\x00", "\x20\x03\x00\x00\x00\x20\x03\x00\x00\x00",
	)
	user := strings.Repeat("\x26\x00\x00\x00\x00", 700)
	block := binary.AppendUvarint(nil, uint64(len(user)))
	many := slices.Concat([]byte("\x00\x01u"), block, []byte(user))
	seeds = append(seeds, string(slices.Concat([]byte{0x30}, binary.AppendUvarint(nil, uint64(len(many))), many)))
	whole := "\x34\x16\x00\x03s/1\x00\x01\x0b\x01\x01\x26\x00\x01n\x00\x01v\x0b\x01p" // QoS 2 with three properties
	for n := 1; n < len(whole); n++ {
		cut := []byte(whole[:n])
		if n > 1 {
			cut[1] = byte(n - 2) // complete by its length, but the body is cut
		}
		seeds = append(seeds, string(cut))
	}
	return append(seeds, whole)
}
