package frames

// OutboundAliases are the topic aliases that this side has set on a connection (MQTT 5, section
// 3.3.2.3.4). An alias holds for one connection and one direction [MQTT-3.3.2-7]. Only one
// goroutine at a time may use an OutboundAliases. A nil *OutboundAliases sets no aliases.
//
// The PUBLISH that sets an alias carries it with the topic, and may be refused; then nobody knows
// whether the alias holds. So an alias stands for its topic only after that PUBLISH was
// acknowledged with success. Until then all others carry the topic alone.
//
// Invariant: index has the topic of each entry that is set or known, and no other topics. An entry
// that is set keeps its topic until Confirm or Withdraw, so at most one PUBLISH that sets an alias
// is unacknowledged.
type OutboundAliases struct {
	most    int
	entries []outboundAlias   // alias 1 is at index 0
	index   map[string]uint16 // the alias of a topic
	once    map[string]struct{}
	hand    int // index of the entry that was looked at last for replacement

	last      string // the topic of the latest PUBLISH with a known alias
	lastAlias uint16 // 0: none
}

type outboundAlias struct {
	topic string
	state aliasState
	used  bool // since the hand has passed
}

type aliasState byte

const (
	aliasFree  aliasState = iota
	aliasSet              // by a PUBLISH that has not been acknowledged
	aliasKnown            // to the receiver
)

// leastAliased is the length of the shortest topic that gets an alias. The property of an alias has
// 3 bytes, and finding the alias takes time: publishing with a topic of 11 bytes took 6 % more CPU
// time with an alias, with one of 20 or 40 bytes it took as much as without.
const leastAliased = 16

// NewOutboundAliases returns a table without aliases, for the topic alias maximum most that the
// peer has announced. It allocates memory only as topics come.
func NewOutboundAliases(most uint16) *OutboundAliases { return &OutboundAliases{most: int(most)} }

// Use returns the Alias of the next PUBLISH with a topic, or 0 for none. If known is true, the
// PUBLISH is sent with an empty topic. If known is false and alias is not 0, the PUBLISH sets the
// alias, with its topic. Then the caller calls Confirm at once at QoS 0, and otherwise when the
// PUBLISH is acknowledged. If it is refused or not sent, the caller calls Withdraw.
//
// Use is called once for each PUBLISH, in the order in which they are written. A PUBLISH that is
// sent again must carry its topic, since the alias may stand for another topic by then.
//
// A topic gets an alias when it comes for the second time, if it has at least 16 bytes. When all
// aliases are in use, each further topic that comes again takes an alias that was not used since
// its turn came last.
func (o *OutboundAliases) Use(topic string) (alias uint16, known bool) {
	switch {
	case o == nil:
		return 0, false
	case topic == o.last && o.lastAlias != 0: // one topic many times
		o.entries[o.lastAlias-1].used = true
		return o.lastAlias, true
	case len(topic) < leastAliased || o.most == 0:
		return 0, false
	}
	if alias = o.index[topic]; alias == 0 {
		return o.set(topic), false
	}
	e := &o.entries[alias-1]
	e.used = true
	if e.state != aliasKnown {
		return 0, false
	}
	o.last, o.lastAlias = topic, alias
	return alias, true
}

// Confirm says that the receiver has taken the PUBLISH that set alias: it was sent at QoS 0, or
// acknowledged with success (PUBACK or PUBREC).
func (o *OutboundAliases) Confirm(alias uint16) {
	if e := o.unconfirmed(alias); e != nil {
		e.state = aliasKnown
	}
}

// Withdraw says that the receiver has refused the PUBLISH that set alias, or that it was not sent.
func (o *OutboundAliases) Withdraw(alias uint16) {
	if e := o.unconfirmed(alias); e != nil {
		delete(o.index, e.topic)
		*e = outboundAlias{}
	}
}

// unconfirmed returns the entry of an alias that awaits Confirm or Withdraw, or nil.
func (o *OutboundAliases) unconfirmed(alias uint16) *outboundAlias {
	if o == nil || alias == 0 || int(alias) > len(o.entries) || o.entries[alias-1].state != aliasSet {
		return nil
	}
	return &o.entries[alias-1]
}

// set gives a topic an alias, or returns 0 if it comes for the first time or if no alias is free.
func (o *OutboundAliases) set(topic string) uint16 {
	if !o.again(topic) {
		return 0
	}
	alias := o.free()
	if alias != 0 {
		if o.index == nil {
			o.index = make(map[string]uint16)
		}
		o.index[topic] = alias
		o.entries[alias-1] = outboundAlias{topic, aliasSet, true}
	}
	return alias
}

// again reports whether a topic without an alias came before, as far as the table remembers. It
// remembers twice as many topics as there are aliases, and at least 32. So topics that take turns
// in a larger circle get no aliases, which would be replaced before their first use.
func (o *OutboundAliases) again(topic string) bool {
	if _, ok := o.once[topic]; ok {
		return true
	}
	if o.once == nil {
		o.once = make(map[string]struct{})
	}
	if len(o.once) >= max(32, 2*o.most) {
		clear(o.once)
	}
	o.once[topic] = struct{}{}
	return false
}

// free returns an alias for a new topic, or 0. Each call looks at one entry at most: an entry that
// was used gets a second chance. So many topics that come once more cannot drive out all others.
func (o *OutboundAliases) free() uint16 {
	if len(o.entries) < o.most {
		o.entries = append(o.entries, outboundAlias{})
		return uint16(len(o.entries))
	}
	o.hand = (o.hand + 1) % o.most
	e := &o.entries[o.hand]
	alias := uint16(o.hand + 1)
	switch {
	case e.state == aliasSet:
		return 0
	case e.used:
		e.used = false
		return 0
	}
	if e.state == aliasKnown {
		delete(o.index, e.topic)
	}
	if alias == o.lastAlias {
		o.last, o.lastAlias = "", 0
	}
	return alias
}
