package frames

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// named returns a topic that is long enough for an alias.
func named(name string) string { return "the topic named " + name }

// use requires the answer of Use for the topic with a name.
func (o *OutboundAliases) use(t *testing.T, name string, alias uint16, known bool) {
	t.Helper()
	topic := named(name)
	if a, k := o.Use(topic); a != alias || k != known {
		t.Errorf("%s: alias %d, known %v, want %d, %v", topic, a, k, alias, known)
	}
}

func TestATopicGetsAnAliasWhenItComesAgain(t *testing.T) {
	o := NewOutboundAliases(2)
	o.use(t, "topic", 0, false)
	o.use(t, "other", 0, false)
	o.use(t, "topic", 1, false)
	o.Confirm(1)
	o.use(t, "topic", 1, true)
	o.use(t, "other", 2, false)
	o.Confirm(2)
	o.use(t, "topic", 1, true)
	o.use(t, "other", 2, true)
	o.use(t, "other", 2, true)
}

func TestAShortTopicGetsNoAlias(t *testing.T) {
	for n := range 20 {
		o, topic := NewOutboundAliases(2), strings.Repeat("x", n)
		o.Use(topic)
		if alias, _ := o.Use(topic); (alias != 0) != (n >= 16) {
			t.Errorf("%d bytes: alias %d", n, alias)
		}
	}
}

func TestAPeerWithoutAliasesGetsNone(t *testing.T) {
	for _, o := range []*OutboundAliases{nil, NewOutboundAliases(0)} {
		for range 3 {
			o.use(t, "topic", 0, false)
		}
		o.Confirm(1)
		o.Withdraw(1)
	}
}

// V34: an alias is not used until the PUBLISH that set it has been acknowledged.
func TestAnAliasIsNotUsedBeforeItIsConfirmed(t *testing.T) {
	o := NewOutboundAliases(1)
	o.use(t, "topic", 0, false)
	o.use(t, "topic", 1, false)
	o.use(t, "topic", 0, false)
	o.Withdraw(1)
	o.Confirm(1) // of nothing
	o.use(t, "topic", 1, false)
	o.Confirm(1)
	o.Withdraw(1) // of nothing
	o.Confirm(0)
	o.Confirm(65535)
	o.use(t, "topic", 1, true)
}

// Otherwise the ack of the first topic would confirm the second.
func TestAnAliasIsNotReplacedBeforeItIsConfirmed(t *testing.T) {
	o := NewOutboundAliases(1)
	o.use(t, "first", 0, false)
	o.use(t, "first", 1, false)
	for range 5 {
		o.use(t, "second", 0, false)
	}
	o.Confirm(1)
	o.use(t, "first", 1, true)
	o.use(t, "second", 0, false) // the second chance of first
	o.use(t, "second", 1, false)
	o.use(t, "first", 0, false)
	o.Withdraw(1)
	o.use(t, "second", 1, false)
}

func TestAnAliasInUseGetsASecondChance(t *testing.T) {
	o := NewOutboundAliases(2)
	for _, topic := range []string{"busy", "idle"} {
		o.Use(named(topic))
		a, _ := o.Use(named(topic))
		o.Confirm(a)
	}
	o.use(t, "idle", 2, true)
	o.use(t, "new 1", 0, false)
	o.use(t, "new 1", 0, false) // the second chance of idle
	o.use(t, "new 1", 0, false) // and of busy
	o.use(t, "busy", 1, true)
	o.use(t, "new 1", 2, false)
	o.use(t, "idle", 0, false)
	o.use(t, "new 2", 0, false)
	o.use(t, "new 2", 0, false) // another second chance of busy
	o.use(t, "busy", 1, true)
}

func TestATopicThatComesManyTimesInARowKeepsItsAlias(t *testing.T) {
	o := NewOutboundAliases(1)
	o.use(t, "busy", 0, false)
	o.use(t, "busy", 1, false)
	o.Confirm(1)
	for range 10 {
		o.use(t, "busy", 1, true)
		o.use(t, "busy", 1, true)
		o.use(t, "other", 0, false)
	}
}

func TestTopicsInALargeCircleGetNoAliases(t *testing.T) {
	o := NewOutboundAliases(16)
	for i := range 10_000 {
		if a, _ := o.Use(named(fmt.Sprint(i % 1000))); a != 0 {
			t.Fatalf("an alias for PUBLISH %d", i)
		}
	}
	if len(o.once) > 32 {
		t.Errorf("%d topics remembered", len(o.once))
	}
}

// A few more topics than aliases: part of them keep theirs.
func TestTopicsInACircleShareTheAliases(t *testing.T) {
	o := NewOutboundAliases(16)
	known := 0
	for i := range 24_000 {
		a, k := o.Use(named(fmt.Sprint(i % 24)))
		if k {
			known++
		} else if a != 0 {
			o.Confirm(a)
		}
	}
	if known < 24_000/4 {
		t.Errorf("%d of 24,000 without their topic", known)
	}
}

// A sender and a receiver agree on the topic of every PUBLISH, whatever is refused, and whether or
// not the receiver keeps the alias of a PUBLISH that it refuses.
func TestTheReceiverResolvesEveryTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Uint16Range(0, 4).Draw(t, "most")
		out, in := NewOutboundAliases(most), NewAliases(most)
		topics := rapid.IntRange(1, 12).Draw(t, "topics")
		type setting struct {
			alias   uint16
			refused bool
		}
		var open []setting // PUBLISH packets that have set an alias, and are not acknowledged
		publish := func(t *rapid.T) {
			topic := named(fmt.Sprint(rapid.IntRange(1, topics).Draw(t, "topic")))
			p := Publish{Message: Message{Topic: topic, QoS: QoS(rapid.IntRange(0, 2).Draw(t, "QoS"))}, ID: 1}
			alias, known := out.Use(topic)
			if p.Alias = alias; known {
				p.Topic = ""
			}
			refused := p.QoS > 0 && rapid.Bool().Draw(t, "refused")
			if !refused || rapid.Bool().Draw(t, "the receiver keeps the alias") || known {
				b, err := p.Append(nil, V5)
				if err != nil {
					t.Fatal(err)
				}
				f := Frame{b[0], b[2:]}
				if got, err := ParsePublish(f, V5, nil, in); err != nil || got.Topic != topic {
					t.Fatalf("%s with alias %d, known %v, is received as %q: %v", topic, alias, known, got.Topic, err)
				}
			}
			switch {
			case alias == 0 || known:
			case p.QoS == 0:
				out.Confirm(alias)
			default:
				open = append(open, setting{alias, refused})
			}
		}
		acknowledge := func(t *rapid.T) {
			if len(open) == 0 {
				t.Skip()
			}
			if s := open[0]; s.refused {
				out.Withdraw(s.alias)
			} else {
				out.Confirm(s.alias)
			}
			open = open[1:]
		}
		t.Repeat(map[string]func(*rapid.T){"publish": publish, "publish more": publish, "acknowledge": acknowledge,
			"": func(t *rapid.T) { out.check(t, len(open)) }})
	})
}

// check requires the invariant of the table.
func (o *OutboundAliases) check(t *rapid.T, open int) {
	indexed := 0
	for i, e := range o.entries {
		switch {
		case e.state == aliasFree && e.topic != "":
			t.Fatalf("free alias %d has topic %q", i+1, e.topic)
		case e.state != aliasFree && int(o.index[e.topic]) != i+1:
			t.Fatalf("alias %d of %q is indexed as %d", i+1, e.topic, o.index[e.topic])
		case e.state != aliasFree:
			indexed++
		}
		if e.state == aliasSet {
			open--
		}
	}
	if indexed != len(o.index) || open != 0 || len(o.entries) > o.most {
		t.Fatalf("%d topics for %d entries, %d unacknowledged ones too many", len(o.index), indexed, open)
	}
}

func BenchmarkOutboundAliases(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("%d topics", n), func(b *testing.B) {
			topics := make([]string, n)
			for i := range topics {
				topics[i] = fmt.Sprintf("mill/house-%d/wheel/speed", i)
			}
			o := NewOutboundAliases(16)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if a, known := o.Use(topics[i]); a != 0 && !known {
					o.Confirm(a)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}
