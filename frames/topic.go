package frames

import (
	"strings"
	"unicode/utf8"
)

// maxTopic31 is the longest topic of MQTT 3.1, in characters.
const maxTopic31 = 32767

// sharePrefix begins the filter of a shared subscription, $share/group/filter. Shared subscriptions
// are standard in MQTT 5 and an extension in earlier versions.
const sharePrefix = "$share/"

// plainPrefixes begin filters of EMQX: $queue/filter is shared by all its subscribers, and
// $exclusive/filter has one subscriber. Their messages come with the plain topic, like the messages
// of a $share filter.
var plainPrefixes = [...]string{"$queue/", "$exclusive/"}

// ValidTopicName checks a topic name against section 4.7 of 3.1.1. On 3.1 the name may have at most
// 32,767 characters. Control characters and non-characters are rejected too (section 1.5.3). The
// error is an *InvalidError with Field "topic".
func ValidTopicName(topic string, v Version) error { return validTopicName("topic", topic, v) }

func validTopicName(field, topic string, v Version) error {
	seen := scan(topic)
	fault := nameFault(topic, seen)
	if fault == "" {
		fault = controlFault(topic, seen)
	}
	if fault != "" {
		return &InvalidError{Field: field, Reason: fault}
	}
	return checkTopicLength(field, topic, v)
}

// topicFault returns the rule that a topic name breaks, or "" if it breaks none. It does not check
// the length: a received topic always fits its length field, and on 3.1 a broker may forward a
// longer topic of a 3.1.1 client.
func topicFault(topic string) string { return nameFault(topic, scan(topic)) }

// nameFault is topicFault with the parameter seen, which is scan(topic).
func nameFault(topic string, seen byte) string {
	// [MQTT-4.7.3-1] a topic has at least one character.
	if topic == "" {
		return empty
	}
	if seen == 0 {
		return ""
	}
	// [MQTT-3.3.2-2] [MQTT-4.7.1-1] wildcards are for filters only.
	if seen&hasWild != 0 {
		return "wildcard in a topic name"
	}
	return stringFault(topic, seen) // [MQTT-3.3.2-1] [MQTT-4.7.3-2]
}

func checkTopicLength(field, topic string, v Version) error {
	if err := checkLength(field, len(topic)); err != nil {
		return err
	}
	if v == V31 && len(topic) > maxTopic31 {
		if n := utf8.RuneCountInString(topic); n > maxTopic31 {
			return &InvalidError{Field: field, Reason: overChars, Value: n, Limit: maxTopic31}
		}
	}
	return nil
}

// ValidTopicFilter checks a topic filter against section 4.7 of 3.1.1. On 3.1 the filter may have
// at most 32,767 characters. In $share/group/filter, the part group must be nonempty and without
// wildcards, and the part filter must be a valid filter. The error is an *InvalidError with Field
// "filter".
func ValidTopicFilter(filter string, v Version) error {
	if fault := filterFault(filter); fault != "" {
		return &InvalidError{Field: "filter", Reason: fault}
	}
	if fault := controlFault(filter, scan(filter)); fault != "" {
		return &InvalidError{Field: "filter", Reason: fault}
	}
	return checkTopicLength("filter", filter, v)
}

// filterFault returns the rule that a topic filter breaks, or "" if it breaks none.
func filterFault(filter string) string {
	if fault := stringFault(filter, scan(filter)); fault != "" {
		return fault // [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2]
	}
	if shared, ok := strings.CutPrefix(filter, sharePrefix); ok {
		var group string
		group, filter, ok = strings.Cut(shared, "/")
		switch {
		case group == "":
			return "empty group in " + sharePrefix
		case scan(group)&hasWild != 0:
			return "wildcard in the group of " + sharePrefix
		case !ok:
			return "no filter behind the group of " + sharePrefix
		}
	} else {
		for _, prefix := range plainPrefixes {
			if part, ok := strings.CutPrefix(filter, prefix); ok {
				filter = part
				break
			}
		}
	}
	// [MQTT-4.7.3-1] a filter has at least one character.
	if filter == "" {
		return empty
	}
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		switch {
		case scan(level)&hasWild == 0:
		case level == "#":
			// [MQTT-4.7.1-2] # is the last level.
			if more {
				return "# before the last level"
			}
		case level != "+":
			// [MQTT-4.7.1-2] [MQTT-4.7.1-3] a wildcard fills its whole level.
			return "wildcard that does not fill its level"
		}
	}
	return ""
}
