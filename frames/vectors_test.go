package frames

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A vector is one packet in a file of testdata:
//
//	version way text
//	bytes
//
// The version is 3.1, 3.1.1, both (of these) or 5. The way is "=" if the bytes parse to the packet
// in text and this packet encodes to the bytes. It is "<" if the bytes parse to the packet but are
// not its encoding, and "!" if parsing fails with an error that contains text. Bytes are hex digits
// and Go strings, on any number of lines; an empty line ends them. Lines that begin with # are
// comments.
type vector struct {
	line      int
	version   Version
	way, text string
	bytes     []byte
}

func readVectors(t *testing.T, file string) (vectors []vector) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var open []vector // the vectors that the next bytes belong to, one for each version
	for i, line := range strings.Split(string(text)+"\n", "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			vectors, open = append(vectors, open...), nil
		case open == nil:
			version, rest, _ := strings.Cut(line, " ")
			way, text, _ := strings.Cut(rest, " ")
			for _, v := range versions {
				if version == "both" && v < V5 || version == v.String() {
					open = append(open, vector{line: i + 1, version: v, way: way, text: text})
				}
			}
			if open == nil || !strings.Contains("=<!", way) || text == "" {
				t.Fatalf("%s:%d: %q does not begin a vector", file, i+1, line)
			}
		default:
			b, err := readBytes(line)
			if err != nil {
				t.Fatalf("%s:%d: %v", file, i+1, err)
			}
			for j := range open {
				open[j].bytes = append(open[j].bytes, b...)
			}
		}
	}
	return vectors
}

func readBytes(line string) (b []byte, err error) {
	for line = strings.TrimSpace(line); line != "" && err == nil; line = strings.TrimSpace(line) {
		var token string
		if line[0] == '"' {
			if token, err = strconv.QuotedPrefix(line); err != nil {
				return nil, err
			}
			var s string
			s, err = strconv.Unquote(token)
			b = append(b, s...)
		} else {
			token, _, _ = strings.Cut(line, " ")
			b, err = hex.AppendDecode(b, []byte(token))
		}
		line = line[len(token):]
	}
	return b, err
}

// describe returns a packet as text, in the form that the vectors use.
func describe(p Packet) string {
	b := []byte(p.Type().String())
	add := func(format string, args ...any) { b = fmt.Appendf(b, " "+format, args...) }
	flag := func(set bool, name string) {
		if set {
			add("%s", name)
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			add("%s %d", name, n)
		}
	}
	text := func(name, s string) {
		if s != "" {
			add("%s %q", name, s)
		}
	}
	data := func(name string, b []byte) {
		if b != nil {
			add("%s %q", name, b)
		}
	}
	user := func(list []UserProperty) {
		for _, u := range list {
			add("%q=%q", u.Name, u.Value)
		}
	}
	ack := func(p *AckProperties) {
		if p != nil {
			text("reason", p.Reason)
			user(p.User)
		}
	}
	properties := func(p *Properties) {
		if p == nil {
			return
		}
		flag(p.Text, "text")
		if left, ok := p.Left(time.Time{}); ok {
			add("expiry %v", left)
		}
		text("type", p.ContentType)
		text("response", p.ResponseTopic)
		data("correlation", p.Correlation)
		user(p.User)
		for _, id := range p.Subscriptions {
			add("subscription %d", id)
		}
	}
	switch p := p.(type) {
	case Connect:
		add("%v %q, %d s", p.Version, p.ClientID, p.KeepAlive)
		flag(p.CleanSession, "clean")
		if c := p.Properties; c != nil {
			number("session expiry", int(c.SessionExpiry))
			number("receive maximum", int(c.ReceiveMaximum))
			number("maximum packet", int(c.MaximumPacket))
			number("alias maximum", int(c.TopicAliasMaximum))
			flag(c.RequestResponseInformation, "response information")
			flag(c.NoProblemInformation, "no problem information")
			user(c.User)
			text("method", c.AuthMethod)
			data("data", c.AuthData)
		}
		if p.Will != nil {
			add("will %q %q %v", p.Will.Topic, p.Will.Payload, p.Will.QoS)
			flag(p.Will.Retain, "retain")
			if p.Properties != nil {
				number("delay", int(p.Properties.WillDelay))
			}
			properties(p.Will.Properties)
		}
		if p.UserNameFlag {
			add("user %q", p.UserName)
		}
		if p.PasswordFlag {
			add("password %q", p.Password)
		}
	case Connack:
		add("%v", p.Code)
		flag(p.SessionPresent, "session present")
		if c := p.Properties; c != nil {
			if c.SessionExpiry != nil {
				add("session expiry %d", *c.SessionExpiry)
			}
			number("receive maximum", int(c.ReceiveMaximum))
			if c.MaximumQoS != nil {
				add("maximum QoS %d", *c.MaximumQoS)
			}
			flag(c.NoRetain, "no retain")
			number("maximum packet", int(c.MaximumPacket))
			text("assigned", c.AssignedClientID)
			number("alias maximum", int(c.TopicAliasMaximum))
			text("reason", c.Reason)
			user(c.User)
			flag(c.NoWildcards, "no wildcards")
			flag(c.NoSubscriptionIDs, "no subscription identifiers")
			flag(c.NoSharedSubscriptions, "no shared subscriptions")
			if c.ServerKeepAlive != nil {
				add("keep alive %d", *c.ServerKeepAlive)
			}
			text("response information", c.ResponseInformation)
			text("reference", c.ServerReference)
			text("method", c.AuthMethod)
			data("data", c.AuthData)
		}
	case Publish:
		add("%q %q %v", p.Topic, p.Payload, p.QoS)
		if p.QoS > AtMostOnce {
			add("%d", p.ID)
		}
		flag(p.DUP, "dup")
		flag(p.Retain, "retain")
		number("alias", int(p.Alias))
		properties(p.Properties)
	case Ack:
		add("%d", p.ID)
		flag(p.DUP, "dup")
		if p.Code != Success {
			add("%v", p.Code)
		}
		ack(p.Properties)
	case Subscribe:
		add("%d", p.ID)
		flag(p.DUP, "dup")
		number("identifier", int(p.Identifier))
		user(p.User)
		for _, f := range p.Filters {
			add("%q %v", f.Topic, f.QoS)
			flag(f.NoLocal, "no local")
			flag(f.RetainAsPublished, "retain as published")
			if f.RetainHandling != SendRetained {
				add("%v", f.RetainHandling)
			}
		}
	case Unsuback:
		add("%d", p.ID)
		ack(p.Properties)
		for _, code := range p.Codes {
			add("%v", code)
		}
	case Disconnect:
		if p.Code != Success {
			add("%v", p.Code)
		}
		if p.SessionExpiry != nil {
			add("session expiry %d", *p.SessionExpiry)
		}
		text("reason", p.Reason)
		text("reference", p.ServerReference)
		user(p.User)
	case Auth:
		add("%v", p.Code)
		text("method", p.Method)
		data("data", p.Data)
		text("reason", p.Reason)
		user(p.User)
	case Suback:
		add("%d", p.ID)
		ack(p.Properties)
		for _, code := range p.Codes {
			if code < UnspecifiedError {
				add("%v", QoS(code))
			} else {
				add("%v", code)
			}
		}
	case Unsubscribe:
		add("%d", p.ID)
		flag(p.DUP, "dup")
		user(p.User)
		for _, topic := range p.Topics {
			add("%q", topic)
		}
	}
	return string(b)
}

func TestVectorsBothWays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	good, bad := map[string]int{}, map[string]int{}
	for _, file := range files {
		for _, v := range readVectors(t, file) {
			t.Run(fmt.Sprintf("%s:%d/%v", filepath.Base(file), v.line, v.version), func(t *testing.T) {
				r := NewReader(bytes.NewReader(v.bytes), 0)
				r.SetVersion(v.version)
				f, err := ReadFrame(r)
				var p Packet
				if err == nil {
					if r.Buffered() != 0 {
						t.Fatalf("%d bytes after the packet", r.Buffered())
					}
					if f.Size() != len(v.bytes) {
						t.Errorf("Size is %d, want %d", f.Size(), len(v.bytes))
					}
					p, err = Parse(f, v.version)
				}
				if v.way == "!" {
					var violation *ProtocolError
					if !errors.As(err, &violation) || !strings.Contains(err.Error(), v.text) {
						t.Errorf("error %v, want a violation with %q", err, v.text)
					}
					if p != nil {
						t.Errorf("a packet came with the error: %+v", p)
					}
					bad[Type(v.bytes[0]>>4).String()]++
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				good[fmt.Sprint(p.Type(), " in ", v.version)]++
				if got := describe(p); got != v.text {
					t.Errorf("parsed\n%s, want\n%s", got, v.text)
				}
				if v.way == "<" {
					return
				}
				got, err := p.Append([]byte("before"), v.version)
				if want := append([]byte("before"), v.bytes...); err != nil || !bytes.Equal(got, want) {
					t.Errorf("appended % x, %v\nwant     % x", got, err, want)
				}
			})
		}
	}
	for kind := TypeConnect; kind <= TypeAuth; kind++ {
		for _, v := range versions {
			if kind.knownIn(v) && good[fmt.Sprint(kind, " in ", v)] == 0 {
				t.Errorf("no vector for %v in %v", kind, v)
			}
		}
		if bad[kind.String()] == 0 {
			t.Errorf("no bad vector for %v", kind)
		}
	}
}
