package frames

import "fmt"

// Aliases are the topic aliases that the peer has set on a connection (MQTT 5, section 3.3.2.3.4).
// An alias holds for one connection and one direction [MQTT-3.3.2-7]. Only one goroutine at a time
// may use an Aliases.
type Aliases struct {
	most   int
	topics []string          // of the aliases below manyAliases, by alias; "" is not set
	high   map[uint16]string // of the other aliases
}

// manyAliases bounds the slice of topics, since the peer chooses which aliases it uses.
const manyAliases = 256

// NewAliases returns a table without aliases, for the topic alias maximum most. Beside
// 4 KiB, its memory is in proportion to the number of aliases that the peer uses.
func NewAliases(most uint16) *Aliases { return &Aliases{most: int(most)} }

// set lets alias stand for a topic from now on.
func (a *Aliases) set(alias uint16, topic string) error {
	if err := a.check(alias); err != nil {
		return err
	}
	if alias >= manyAliases {
		if a.high == nil {
			a.high = make(map[uint16]string)
		}
		a.high[alias] = topic
		return nil
	}
	for int(alias) >= len(a.topics) {
		a.topics = append(a.topics, "")
	}
	a.topics[alias] = topic
	return nil
}

// lookup returns the topic of an alias.
func (a *Aliases) lookup(alias uint16) (string, error) {
	if err := a.check(alias); err != nil {
		return "", err
	}
	topic := ""
	if alias >= manyAliases {
		topic = a.high[alias]
	} else if int(alias) < len(a.topics) {
		topic = a.topics[alias]
	}
	if topic == "" {
		return "", violation(TypePublish, fmt.Sprintf("topic alias %d is not set", alias))
	}
	return topic, nil
}

func (a *Aliases) check(alias uint16) error {
	if a == nil || int(alias) > a.most {
		return aliasInvalid(fmt.Sprint(alias)) // [MQTT-3.3.2-9]
	}
	return nil
}

func aliasInvalid(alias string) error {
	return &ProtocolError{Type: TypePublish, Reason: "topic alias " + alias + " is out of range", code: TopicAliasInvalid}
}
