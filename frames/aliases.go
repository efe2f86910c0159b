package frames

import "fmt"

// Aliases are the topic aliases that the peer has set on a connection (MQTT 5, section 3.3.2.3.4).
// An alias holds for one connection and one direction [MQTT-3.3.2-7]. Only one goroutine at a time
// may use an Aliases.
type Aliases struct {
	most   int
	topics []string // by alias; "" is not set
}

// NewAliases returns a table without aliases, for the topic alias maximum most. It allocates memory
// only for the aliases that the peer uses.
func NewAliases(most uint16) *Aliases { return &Aliases{most: int(most)} }

// set lets alias stand for a topic from now on.
func (a *Aliases) set(alias uint16, topic string) error {
	if err := a.check(alias); err != nil {
		return err
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
	if int(alias) >= len(a.topics) || a.topics[alias] == "" {
		return "", violation(TypePublish, fmt.Sprintf("topic alias %d is not set", alias))
	}
	return a.topics[alias], nil
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
