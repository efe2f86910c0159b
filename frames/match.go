package frames

import "strings"

// Match reports whether topic matches filter (section 4.7). Both must be valid. A shared filter,
// $share/group/filter, matches the same topics as its part filter, and so do $queue/filter and
// $exclusive/filter. Topics are compared byte by byte
// [MQTT-4.7.3-4]: case, spaces and empty levels count.
func Match(filter, topic string) bool {
	filter = Route(filter)
	if filter == "" || topic == "" {
		return false
	}
	// [MQTT-4.7.2-1] a leading wildcard does not match topics that begin with $.
	if topic[0] == '$' && (filter[0] == '#' || filter[0] == '+') {
		return false
	}
	i := 0 // topic[:i] has been matched
	for j := 0; j < len(filter); j++ {
		switch c := filter[j]; {
		case c == '#' && j == len(filter)-1 && (j == 0 || filter[j-1] == '/'):
			return true
		case c == '+' && (j == 0 || filter[j-1] == '/'):
			for i < len(topic) && topic[i] != '/' {
				i++
			}
		case i == len(topic):
			return filter[j:] == "/#" // a/# matches a itself (section 4.7.1.2)
		case c != topic[i]:
			return false
		default:
			i++
		}
	}
	return i == len(topic)
}

// Route returns the filter to match with topics. For a shared filter, $share/group/filter, this is
// the part filter, as it is for $queue/filter and $exclusive/filter; any other filter is returned
// unchanged.
func Route(filter string) string {
	if filter == "" || filter[0] != '$' {
		return filter
	}
	for _, prefix := range plainPrefixes {
		if route, ok := strings.CutPrefix(filter, prefix); ok && route != "" {
			return route
		}
	}
	if shared, ok := strings.CutPrefix(filter, sharePrefix); ok {
		if _, route, ok := strings.Cut(shared, "/"); ok {
			return route
		}
	}
	return filter
}
